//! Tables: a CSV file becomes series on a regular grid of times.
//!
//! What a file does not say is found, and said: [`Table::facts`] and
//! [`Table::notes`] tell what was found, every error tells the line and the
//! mend. Nothing is guessed where two readings are possible.
//!
//! - Cells are set apart by comma, semicolon, tab or vertical bar, and quoted
//!   with `"` (or `'`, where the first line does). Text is UTF-8.
//! - Decimals have a point. In a file that is not set apart by commas they may
//!   have a comma; a file that has both is refused. Marks of thousands are
//!   never read: `1,234` in a comma-separated file is no number.
//! - A value is missing where its cell is empty or one of [`MISSING`].
//!   Infinities are refused.
//! - Times are dates (year first with `-`, `/`, `.` or without marks; day or
//!   month first, where the column decides which; with points always day
//!   first), date-times (`T` or a blank before the time of day), months, years,
//!   seconds or milliseconds since 1970, and whole-number steps. All cells of
//!   the column are written alike.
//! - Date-times without a zone are a clock on the wall; those that all carry
//!   one offset, too. Where offsets change within the column the zone has to be
//!   known, from `[Europe/Paris]` after each offset or from
//!   [`ReadOptions::zone`]; else they are refused as mixed. With a zone, hours
//!   follow time as it passes and days follow the calendar.

mod cell;
mod column;
mod dialect;
mod source;
mod times;

use std::path::Path;

pub use cell::MISSING;

use crate::outcome::Fact;
use crate::series::Series;
use crate::time::{Frequency, Pace, TimeAxis};
use crate::{Error, Result};

use cell::Shape;
use column::{Cell, Column};
use dialect::{Dialect, Row, Rows};

/// What is known of a file beforehand; `None` has to be found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReadOptions {
    /// The name of the time column.
    pub time: Option<String>,
    /// The distance between steps, as [`Frequency`] reads it. Steps 1, 2, 3, ...
    /// may be given one too; they are still counted as they are.
    pub frequency: Option<String>,
    /// The IANA zone of the times: the one whose clock they show where they
    /// carry no offset, and whose days and hours count in any case.
    pub zone: Option<String>,
    /// What sets cells apart.
    pub delimiter: Option<char>,
    /// Whether the first row names the columns.
    pub header: Option<bool>,
    /// The grid that the rows continue. Their times have to be on it; what a
    /// few rows cannot decide (day before month, frequency, zone) is as there.
    pub like: Option<TimeAxis>,
}

/// A table of one row for each time.
///
/// The text of the file is kept, a column becomes numbers when it is asked for.
///
/// ```
/// use elman_forecast::table::{ReadOptions, Table};
///
/// let file = "date;kWh;note\n2024-02-27;1,5;\n2024-02-28;NA;away\n2024-03-01;2,5;\n";
/// let table = Table::read(file.as_bytes(), "energy.csv", &ReadOptions::default())?;
/// assert_eq!(table.numeric_columns(), ["kWh"]);
///
/// let series = table.series("kWh")?;
/// assert_eq!(series.axis.frequency().to_string(), "daily");
/// assert_eq!(series.axis.label(4), "2024-03-02");
/// // The 28th is blank, the 29th has no row.
/// assert!(series.values[1].is_nan() && series.values[2].is_nan());
/// assert_eq!((series.values[3], series.absent.as_slice()), (2.5, &[2][..]));
///
/// let error = table.series("kwh").unwrap_err();
/// assert!(error.to_string().contains("did you mean `kWh`"));
/// # Ok::<(), elman_forecast::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Table {
    name: String,
    text: String,
    dialect: Dialect,
    columns: Vec<Column>,
    rows: usize,
    time: usize,
    axis: TimeAxis,
    order: Order,
    decimals: Decimals,
    /// The step of each row, in the order of the file.
    places: Vec<u32>,
    notes: Vec<String>,
}

/// The order of the rows in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Ascending,
    Descending,
    None,
}

/// How the file writes decimals.
#[derive(Debug, Clone)]
enum Decimals {
    Point,
    Comma,
    /// One column has points, another one commas.
    Both {
        point: String,
        comma: String,
    },
}

impl Table {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// Where the file cannot be read, and as [`read`](Self::read).
    pub fn open(path: impl AsRef<Path>, options: &ReadOptions) -> Result<Self> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let bytes = source::load(path).map_err(|e| e.at(&name))?;
        Self::from_bytes(bytes, &name, options).map_err(|e| e.at(&name))
    }

    /// Reads the bytes of a file; `name` stands before every error.
    ///
    /// # Errors
    ///
    /// Where the bytes are no UTF-8 text or hold no row; a row is wider or
    /// narrower than the first; no column holds times; a time is missing,
    /// unreadable, ambiguous between day and month, in another zone than the
    /// others, or there twice; times are not regular; an option does not fit.
    pub fn read(bytes: &[u8], name: &str, options: &ReadOptions) -> Result<Self> {
        Self::from_bytes(bytes.to_vec(), name, options).map_err(|e| e.at(name))
    }

    fn from_bytes(bytes: Vec<u8>, name: &str, options: &ReadOptions) -> Result<Self> {
        let pace_given = options
            .frequency
            .as_ref()
            .map(|text| text.parse::<Frequency>())
            .transpose()
            .map_err(|e| e.at("--frequency"))?;
        let delimiter = options.delimiter.map(delimiter_byte).transpose()?;
        let text = source::text(bytes)?;
        let dialect = Dialect::find(&text, delimiter, options.header);
        let (columns, rows) = learn(&text, dialect)?;

        let choice = match &options.time {
            Some(named) => times::Choice {
                column: find(&columns, named, &[]).map_err(|e| match options.like {
                    None => e.at("--time"),
                    Some(_) => e.at("the time column"),
                })?,
                note: None,
            },
            None => times::choose(&columns, rows, |column| {
                mostly_distinct(&text, dialect, column, rows)
            })?,
        };
        let time = choice.column;
        let mut reader = times::Reader::new(&columns[time], options)?;
        each_row(&text, dialect, |row| reader.see(&row, row.cell(time)))?;
        let found = reader.finish();

        let order = order(&found.times);
        let mut by_time: Vec<u32> = (0..u32::try_from(rows).map_err(|_| too_long())?).collect();
        if order != Order::Ascending {
            by_time.sort_by_key(|row| found.times[*row as usize]);
        }
        let sorted: Vec<i64> = by_time
            .iter()
            .map(|row| found.times[*row as usize])
            .collect();
        let lines: Vec<u32> = by_time
            .iter()
            .map(|row| found.lines[*row as usize])
            .collect();
        let pace = match (&options.like, pace_given) {
            (_, Some(frequency)) => Pace::Given(frequency),
            (Some(like), None) => Pace::Like(like),
            (None, None) => Pace::Found,
        };
        let (axis, steps) = times::grid(&found, &columns[time].name, &sorted, &lines, pace)?;
        if let Some(like) = &options.like {
            like.check_same_grid(&axis)?;
        }
        let mut places = vec![0; rows];
        for (row, step) in by_time.iter().zip(steps) {
            places[*row as usize] = step;
        }

        let mut table = Self {
            name: name.to_string(),
            decimals: decimals(&columns, time, dialect),
            text,
            dialect,
            columns,
            rows,
            time,
            axis,
            order,
            places,
            notes: Vec::new(),
        };
        table.notes = table.remarks(choice.note);
        Ok(table)
    }

    /// All columns, in the order of the file. In a file without a header they
    /// are `column_1`, `column_2`, ...
    pub fn columns(&self) -> Vec<&str> {
        self.columns
            .iter()
            .map(|column| column.name.as_str())
            .collect()
    }

    /// The time column.
    pub fn time_column(&self) -> &str {
        &self.columns[self.time].name
    }

    /// The columns that can be forecast: all values are numbers, and there is
    /// one at least.
    pub fn numeric_columns(&self) -> Vec<&str> {
        let fits = |column: &Column| match self.decimals {
            Decimals::Point => column.commas == 0,
            Decimals::Comma => column.points == 0,
            Decimals::Both { .. } => column.points + column.commas == 0,
        };
        self.columns
            .iter()
            .enumerate()
            .filter(|(i, column)| *i != self.time && column.is_numeric() && fits(column))
            .map(|(_, column)| column.name.as_str())
            .collect()
    }

    /// The columns besides the time that `used` does not name.
    pub fn ignored(&self, used: &[&str]) -> Vec<String> {
        self.columns()
            .into_iter()
            .enumerate()
            .filter(|(i, name)| *i != self.time && !used.contains(name))
            .map(|(_, name)| name.to_string())
            .collect()
    }

    /// Rows with content, without the header.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The grid of times.
    pub fn axis(&self) -> &TimeAxis {
        &self.axis
    }

    /// The series in column `target`.
    ///
    /// # Errors
    ///
    /// Where there is no such column (the nearest name is offered), or several;
    /// it holds the times; it has no value; a cell of it is no number or
    /// infinite (line, column and text are named).
    pub fn series(&self, target: &str) -> Result<Series> {
        self.column_series(target).map_err(|e| e.at(&self.name))
    }

    fn column_series(&self, target: &str) -> Result<Series> {
        let index = find(&self.columns, target, &self.numeric_columns())?;
        let column = &self.columns[index];
        if index == self.time {
            return Err(Error::input(format!(
                "column `{target}` holds the times; columns that can be forecast: {}; name another time column with --time",
                lists(&self.numeric_columns())
            )));
        }
        self.refuse(column)?;
        if column.values(self.rows) == 0 {
            return Err(Error::input(format!(
                "column `{target}` has no values; columns that can be forecast: {}",
                lists(&self.numeric_columns())
            )));
        }
        let mut values = vec![f64::NAN; self.axis.len()];
        let mut places = self.places.iter();
        each_row(&self.text, self.dialect, |row| {
            let cell = row.cell(index);
            let value = cell::number(cell, cell::shape(cell));
            if value.is_some_and(f64::is_infinite) {
                return Err(infinite(row.line, &column.name, cell));
            }
            if let (Some(value), Some(place)) = (value, places.next())
                && let Some(slot) = values.get_mut(*place as usize)
            {
                *slot = value;
            }
            Ok(())
        })?;
        Ok(Series {
            name: column.name.clone(),
            axis: self.axis.clone(),
            values,
            absent: self.absent(),
        })
    }

    /// What was found in the file, in reading order; that of a column is in
    /// [`Series::facts`].
    pub fn facts(&self) -> Vec<Fact> {
        let fact = |label: &str, value: String| Fact {
            label: label.to_string(),
            value,
        };
        let header = match self.dialect.header {
            true => "with a header",
            false => "without a header",
        };
        let quote = match self.dialect.quote {
            b'\'' => ", quoted with '",
            _ => "",
        };
        let decimals = match self.decimals {
            Decimals::Point => "",
            Decimals::Comma => ", decimal commas",
            Decimals::Both { .. } => ", decimal points and commas",
        };
        let order = match self.order {
            Order::Ascending => "in order",
            Order::Descending => "newest first, sorted",
            Order::None => "out of order, sorted",
        };
        let last = self.axis.label(self.axis.len().saturating_sub(1));
        let mut facts = vec![
            fact("rows", self.rows.to_string()),
            fact(
                "format",
                format!(
                    "{} separated, {header}{quote}{decimals}",
                    self.dialect.delimiter_name()
                ),
            ),
            fact(
                "time",
                format!(
                    "`{}`, {} to {last}, {order}",
                    self.time_column(),
                    self.axis.label(0)
                ),
            ),
            fact("frequency", self.axis.frequency().to_string()),
        ];
        if let Some(zone) = self.axis.zone() {
            facts.push(fact("zone", zone.name().to_string()));
        }
        facts.push(fact(
            "absent rows",
            (self.axis.len() - self.rows).to_string(),
        ));
        facts
    }

    /// What a reader should know beyond the facts, each a sentence.
    pub fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }

    fn remarks(&self, choice: Option<String>) -> Vec<String> {
        let mut notes = Vec::from_iter(choice);
        if !self.dialect.header {
            notes.push(format!(
                "the file has no header; its columns are named {}",
                lists(&self.columns())
            ));
        }
        match &self.decimals {
            Decimals::Point => {}
            Decimals::Comma => notes.push("commas in numbers were read as decimal commas".to_string()),
            Decimals::Both { point, comma } => notes.push(format!(
                "numbers have decimal points in one column ({point}) and commas in another ({comma}): neither can be forecast"
            )),
        }
        match self.order {
            Order::Ascending => {}
            Order::Descending => {
                notes.push("the newest row came first; rows were sorted by time".to_string())
            }
            Order::None => {
                notes.push("rows were out of order; they were sorted by time".to_string())
            }
        }
        notes
    }

    /// Steps without a row.
    fn absent(&self) -> Vec<usize> {
        if self.axis.len() == self.rows {
            return Vec::new();
        }
        let mut present = vec![false; self.axis.len()];
        for place in &self.places {
            if let Some(slot) = present.get_mut(*place as usize) {
                *slot = true;
            }
        }
        let steps = present.iter().enumerate();
        steps
            .filter(|(_, present)| !**present)
            .map(|(i, _)| i)
            .collect()
    }

    /// Refuses the first cell that is no number as the file writes them.
    fn refuse(&self, column: &Column) -> Result<()> {
        let (mark, why) = match &self.decimals {
            Decimals::Point => (
                &column.first_comma,
                "a comma in a number is read neither as a mark of thousands nor, here, as a decimal comma; write 1234.5".to_string(),
            ),
            Decimals::Comma => (
                &column.first_point,
                "the file has decimal commas, and a point is not read as a mark of thousands; write 1234,5".to_string(),
            ),
            Decimals::Both { point, comma } => (
                [&column.first_point, &column.first_comma]
                    .into_iter()
                    .find(|cell| cell.is_some())
                    .unwrap_or(&None),
                format!("the file has decimal points ({point}) and decimal commas ({comma}); write all of them in one way"),
            ),
        };
        // A number with both marks tells what all of them mean.
        let both = column.text.as_ref().filter(|cell| {
            cell.text.contains('.') && cell.text.contains(',') && broken(&cell.text).is_empty()
        });
        if let Some(Cell { line, text }) = both {
            return Err(Error::input(format!(
                "line {line}, column `{}`: `{}`: marks of thousands are not read; take them out of the column",
                column.name,
                shorten(text)
            )));
        }
        let candidates = [
            column.text.as_ref().map(|cell| (cell, Shape::Text)),
            column.infinite.as_ref().map(|cell| (cell, Shape::Infinite)),
            mark.as_ref().map(|cell| (cell, Shape::Comma)),
        ];
        let first = candidates
            .into_iter()
            .flatten()
            .min_by_key(|(cell, _)| cell.line);
        let Some((Cell { line, text }, shape)) = first else {
            return Ok(());
        };
        Err(match shape {
            Shape::Infinite => infinite(*line, &column.name, text),
            Shape::Comma => Error::input(format!(
                "line {line}, column `{}`: `{text}`: {why}",
                column.name
            )),
            _ => Error::input(format!(
                "line {line}, column `{}`: `{}` is no number{}; mend the cell, or leave it empty where the value is missing{}",
                column.name,
                shorten(text),
                broken(text),
                match self.numeric_columns().as_slice() {
                    [] => String::new(),
                    names => format!(" (columns of numbers: {})", lists(names)),
                }
            )),
        })
    }
}

/// One pass over the file: what each column holds, and the number of rows.
fn learn(text: &str, dialect: Dialect) -> Result<(Vec<Column>, usize)> {
    let mut rows = Rows::new(text, dialect);
    let Some(first) = rows.next()? else {
        return Err(Error::input(
            "the file is empty; expected a header and rows",
        ));
    };
    let first_line = first.line;
    let mut columns: Vec<Column> = (0..first.cells.len())
        .map(|i| {
            let name = match first.cell(i) {
                name if dialect.header && !name.is_empty() => name.to_string(),
                _ => format!("column_{}", i + 1),
            };
            Column::new(name)
        })
        .collect();
    let mut count = 0;
    each_row(text, dialect, |row| {
        if row.cells.len() != columns.len() {
            return Err(Error::input(format!(
                "line {}: {} cells, but line {first_line} has {}{}; mend the row",
                row.line,
                row.cells.len(),
                columns.len(),
                row.cells.iter().map(broken).collect::<String>(),
            )));
        }
        count += 1;
        for (i, column) in columns.iter_mut().enumerate() {
            column.see(row.line, row.cell(i));
        }
        Ok(())
    })?;
    if count == 0 {
        return Err(Error::input(
            "the file has a header and no rows; expected at least one row below it",
        ));
    }
    Ok((columns, count))
}

/// Calls `see` with every row below the header.
fn each_row(text: &str, dialect: Dialect, mut see: impl FnMut(Row) -> Result<()>) -> Result<()> {
    let mut rows = Rows::new(text, dialect);
    if dialect.header {
        rows.next()?;
    }
    while let Some(row) = rows.next()? {
        see(row)?;
    }
    Ok(())
}

/// True where more than half of the cells of a column differ from all others.
fn mostly_distinct(text: &str, dialect: Dialect, column: usize, rows: usize) -> Result<bool> {
    let mut seen = std::collections::HashSet::new();
    each_row(text, dialect, |row| {
        seen.insert(row.cell(column).parse::<i64>().ok());
        Ok(())
    })?;
    Ok(2 * seen.len() > rows)
}

/// The column of that name; else an error with the nearest one and `offers`,
/// or all of them.
fn find(columns: &[Column], name: &str, offers: &[&str]) -> Result<usize> {
    let mut matches = (0..columns.len()).filter(|i| columns[*i].name == name);
    match (matches.next(), matches.next()) {
        (Some(index), None) => return Ok(index),
        (Some(first), Some(second)) => {
            return Err(Error::input(format!(
                "columns {} and {} are both named `{name}`; rename one of them",
                first + 1,
                second + 1
            )));
        }
        (None, _) => {}
    }
    let all: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let distance =
        |other: &str| strsim::damerau_levenshtein(&name.to_lowercase(), &other.to_lowercase());
    let part = name.to_lowercase();
    let near = all
        .iter()
        .min_by_key(|other| (distance(other), !offers.contains(other)))
        .filter(|other| distance(other) <= 1 + name.chars().count() / 3)
        .or_else(|| {
            all.iter()
                .find(|other| !part.is_empty() && other.to_lowercase().contains(&part))
        });
    let question = near.map_or_else(String::new, |other| format!("did you mean `{other}`? "));
    let (what, names) = match offers {
        [] => ("columns", all.as_slice()),
        offers => ("columns that can be forecast", offers),
    };
    Err(Error::input(format!(
        "there is no column `{}`; {question}{what}: {}",
        shorten(name),
        lists(names)
    )))
}

fn decimals(columns: &[Column], time: usize, dialect: Dialect) -> Decimals {
    let numeric = || {
        columns
            .iter()
            .enumerate()
            .filter(|(i, column)| *i != time && column.is_numeric())
    };
    let quote = |column: &Column, cell: &Option<Cell>| match cell {
        Some(cell) => format!("`{}` in `{}`, line {}", cell.text, column.name, cell.line),
        None => format!("`{}`", column.name),
    };
    let comma = numeric().find(|(_, column)| column.commas > 0 && column.points == 0);
    let point = numeric().find(|(_, column)| column.points > 0);
    match (comma, point) {
        _ if dialect.delimiter == b',' => Decimals::Point,
        (None, _) => Decimals::Point,
        (Some(_), None) => Decimals::Comma,
        (Some((_, comma)), Some((_, point))) => Decimals::Both {
            point: quote(point, &point.first_point),
            comma: quote(comma, &comma.first_comma),
        },
    }
}

fn order(times: &[i64]) -> Order {
    if times.is_sorted() {
        Order::Ascending
    } else if times.iter().rev().is_sorted() {
        Order::Descending
    } else {
        Order::None
    }
}

fn delimiter_byte(delimiter: char) -> Result<u8> {
    match u8::try_from(delimiter) {
        Ok(byte) if byte.is_ascii() && !matches!(byte, b'"' | b'\'' | b'\n' | b'\r' | 0) => {
            Ok(byte)
        }
        _ => Err(Error::input(format!(
            "--delimiter {delimiter:?}: expected one character such as , ; | or a tab"
        ))),
    }
}

fn infinite(line: u64, column: &str, text: &str) -> Error {
    Error::input(format!(
        "line {line}, column `{column}`: `{}` is infinite or too large; mend the cell, or leave it empty where the value is missing",
        shorten(text)
    ))
}

fn too_long() -> Error {
    Error::input(format!("more than {} rows; cut the file", u32::MAX))
}

/// A remark on a cell that goes on below its line.
fn broken(cell: &str) -> String {
    match cell.matches('\n').count() {
        0 => String::new(),
        1 => " (a quote on this line is closed on the next one)".to_string(),
        lines => format!(" (a quote on this line is closed {lines} lines further down, or never)"),
    }
}

/// Names in one line, at most twenty.
pub(crate) fn lists(names: &[&str]) -> String {
    const SHOWN: usize = 20;
    if names.is_empty() {
        return "none".to_string();
    }
    let shown: Vec<String> = names
        .iter()
        .take(SHOWN)
        .map(|name| format!("`{}`", shorten(name)))
        .collect();
    match names.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// The start of a long text, in one line.
fn shorten(text: &str) -> String {
    const SHOWN: usize = 60;
    let line: String = text
        .chars()
        .take(SHOWN)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    match text.chars().nth(SHOWN) {
        Some(_) => format!("{line}..."),
        None => line,
    }
}
