//! Numbers as people give them: in words, and in files.

use crate::text::count;
use elman::ndarray::Array2;
use elman::{Error, Result};

/// A sequence, and what the features of a step are called.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Names of the features; none where they have none.
    pub features: Vec<String>,
    /// The sequence, (T, I).
    pub numbers: Array2<f64>,
}

impl From<Array2<f64>> for Table {
    fn from(numbers: Array2<f64>) -> Self {
        Self {
            features: Vec::new(),
            numbers,
        }
    }
}

/// A number, also with the minus sign that is not the hyphen, as numbers are
/// printed.
pub(crate) fn number(word: &str) -> Option<f64> {
    let word = word.replace('\u{2212}', "-");
    word.parse().ok().filter(|x: &f64| x.is_finite())
}

/// Rows of the same width as (T, I).
fn steps(what: &str, rows: &[Vec<f64>]) -> Result<Array2<f64>> {
    let Some(width) = rows.first().map(Vec::len) else {
        return Err(Error::option(format!(
            "{what}: expected numbers, like \"10 20 30\", got nothing"
        )));
    };
    if let Some(at) = rows.iter().position(|r| r.len() != width) {
        return Err(Error::shape(format!(
            "{what}: step {}: expected {} as in step 1, got {}",
            at + 1,
            count(width, "feature"),
            rows[at].len()
        )));
    }
    Array2::from_shape_vec((rows.len(), width), rows.concat())
        .map_err(|e| Error::shape(format!("{what}: {e}")))
}

/// Refuses a mark with nothing before it; after the last one nothing may stand.
fn complete(what: &str, text: &str, mark: char) -> Result<()> {
    let mut parts: Vec<&str> = text.split(mark).collect();
    parts.pop();
    match parts.iter().position(|p| p.trim().is_empty()) {
        None => Ok(()),
        Some(at) => Err(Error::option(format!(
            "{what}: expected a number before each `{mark}`, got none before number {} of them; put one there, or take the mark out",
            at + 1
        ))),
    }
}

/// Reads numbers: `10 20 30` are three steps of one feature. Where semicolons, or
/// commas, or line breaks part them, each part is a step and its numbers are the
/// features: `1 2; 3 4` are two steps of two, `1 2;` is one step of two. Brackets
/// around all of it, as vectors are printed, are passed over.
///
/// # Errors
/// Where something is no number, or steps have different features.
///
/// ```
/// use elman_explain::numbers::parse_input;
///
/// assert_eq!(parse_input("--input", "10 20 30")?.dim(), (3, 1));
/// assert_eq!(parse_input("--input", "1 2; 3 4")?.dim(), (2, 2));
/// assert_eq!(parse_input("--input", "1 2;")?.dim(), (1, 2));
/// # Ok::<(), elman::Error>(())
/// ```
pub fn parse_input(what: &str, text: &str) -> Result<Array2<f64>> {
    let inner = text.trim().strip_prefix('[');
    let text = inner.and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    let parted = text.contains(';');
    let (between, inside): (&[char], &[char]) = match parted {
        true => (&[';', '\n'], &[',']),
        false => (&[',', '\n'], &[]),
    };
    let row = |part: &str| {
        complete(what, part, ',')?;
        let words = part.split(|c: char| c.is_whitespace() || inside.contains(&c));
        let words = words.filter(|w| !w.is_empty());
        let each = words.map(|word| {
            number(word).ok_or_else(|| {
                Error::option(format!(
                    "{what}: expected numbers, like \"10 20 30\", got `{word}`"
                ))
            })
        });
        each.collect::<Result<Vec<_>>>()
    };
    complete(what, text, if parted { ';' } else { ',' })?;
    let parts = text.split(between).filter(|p| !p.trim().is_empty());
    let mut rows = parts.map(row).collect::<Result<Vec<_>>>()?;
    if let ([one], false) = (rows.as_slice(), parted) {
        rows = one.iter().map(|x| vec![*x]).collect();
    }
    steps(what, &rows)
}

/// Reads a file of numbers: each line is a step, its fields the features, parted by
/// semicolons, tabs, commas or spaces. A first line without a number has their
/// names. A file of one line without names, or one whose commas part several
/// numbers each, is read as [`parse_input`] reads words.
///
/// # Errors
/// Where a field is no number, a line has other fields than the first, or names
/// stand for nothing.
///
/// ```
/// use elman_explain::numbers::parse_table;
///
/// let table = parse_table("energy.csv", "load,wind\n1,2\n3,4\n5,6\n")?;
/// assert_eq!(table.numbers.dim(), (3, 2));
/// assert_eq!(table.features, ["load", "wind"]);
/// # Ok::<(), elman::Error>(())
/// ```
pub fn parse_table(what: &str, text: &str) -> Result<Table> {
    let text = text.trim_start_matches('\u{feff}');
    let lines = (1..)
        .zip(text.lines())
        .filter(|(_, l)| !l.trim().is_empty());
    let lines: Vec<(usize, &str)> = lines.collect();
    let Some((_, first)) = lines.first() else {
        return Err(Error::option(format!(
            "{what}: the file is empty; expected a line of numbers for each step"
        )));
    };
    let delimiter = [';', '\t', ','].into_iter().find(|c| first.contains(*c));
    let fields = |line: &str| -> Vec<String> {
        let own = |field: &str| field.trim().trim_matches('"').trim().to_owned();
        match delimiter {
            Some(c) => line.trim().split(c).map(own).collect(),
            None => line.split_whitespace().map(own).collect(),
        }
    };
    let head = fields(first);
    let named = head.iter().all(|f| number(f).is_none());
    let several = |f: &String| f.split_whitespace().filter_map(number).count() > 1;
    if (lines.len() == 1 && !named) || head.iter().any(several) {
        return Ok(parse_input(what, text)?.into());
    }
    let features = if named { head } else { Vec::new() };
    if named && lines.len() == 1 {
        return Err(Error::option(format!(
            "{what}: line {} has the names {} but no line of numbers follows; add one for each step, like 0.1{}0.2",
            lines[0].0,
            features
                .iter()
                .map(|n| format!("`{n}`"))
                .collect::<Vec<_>>()
                .join(", "),
            delimiter.unwrap_or(' ')
        )));
    }
    let mut rows = Vec::new();
    for (at, line) in &lines[usize::from(named)..] {
        let own = fields(line);
        let width = match rows.first() {
            _ if named => features.len(),
            Some(row) => Vec::len(row),
            None => own.len(),
        };
        if own.len() != width {
            let (whose, mend) = match named {
                true => (
                    "names of line 1",
                    "name every column once, or take the names out",
                ),
                false => ("numbers of the first line", "give every step as many"),
            };
            return Err(Error::shape(format!(
                "{what}, line {at}: expected {} for the {width} {whose}, got {}; {mend}",
                count(width, "number"),
                own.len()
            )));
        }
        let each = own.iter().enumerate().map(|(k, field)| {
            number(field).ok_or_else(|| {
                let column = features.get(k).map_or(format!("{}", k + 1), |n| format!("`{n}`"));
                Error::option(format!(
                    "{what}, line {at}, column {column}: expected a number, got `{field}`; leave out what the network does not read, like a time, and write 0.5 with a point"
                ))
            })
        });
        rows.push(each.collect::<Result<Vec<f64>>>()?);
    }
    let numbers = steps(what, &rows)?;
    Ok(Table { features, numbers })
}
