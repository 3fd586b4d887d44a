//! How the cells of a file are set apart, found from its first lines, and the
//! rows read so.

use csv::{ReaderBuilder, StringRecord};

use super::cell::{Shape, shape};
use crate::time::TimeFormat;
use crate::{Error, Result};

/// What is looked at to find the dialect.
const SAMPLE: usize = 64 * 1024;
/// In order of preference: where all cells are set apart equally well by two
/// of them, a comma stands inside numbers.
const DELIMITERS: [u8; 4] = [b';', b'\t', b'|', b','];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dialect {
    pub delimiter: u8,
    pub quote: u8,
    pub header: bool,
}

impl Dialect {
    /// Finds what is not given.
    pub fn find(text: &str, delimiter: Option<u8>, header: Option<bool>) -> Self {
        let sample = sample(text);
        let quote = if single_quoted(sample) { b'\'' } else { b'"' };
        let with = |delimiter| Self {
            delimiter,
            quote,
            header: true,
        };
        let delimiter = delimiter.unwrap_or_else(|| {
            // The last of equals is the greatest.
            let most = DELIMITERS
                .into_iter()
                .rev()
                .map(|delimiter| (with(delimiter).regularity(sample), delimiter))
                .max_by_key(|(cells, _)| *cells);
            match most {
                Some((1.., delimiter)) => delimiter,
                _ => b',',
            }
        });
        let mut dialect = with(delimiter);
        dialect.header = header.unwrap_or_else(|| dialect.starts_with_header(sample));
        dialect
    }

    pub fn delimiter_name(self) -> &'static str {
        match self.delimiter {
            b',' => "comma",
            b';' => "semicolon",
            b'\t' => "tab",
            b'|' => "vertical bar",
            _ => "another character",
        }
    }

    /// Cells that this delimiter sets apart, in rows as wide as the first one.
    fn regularity(self, sample: &str) -> usize {
        let mut rows = Rows::new(sample, self);
        let Ok(Some(first)) = rows.next() else {
            return 0;
        };
        let width = first.cells.len();
        if width < 2 {
            return 0;
        }
        let mut alike = 1;
        while let Ok(Some(row)) = rows.next() {
            alike += usize::from(row.cells.len() == width);
        }
        alike * width
    }

    /// A first row is a header where a column turns from words into numbers or
    /// times below it, and where no number or time is in it at all.
    fn starts_with_header(self, sample: &str) -> bool {
        let mut rows = Rows::new(sample, self);
        let kinds = |row: Row| -> Vec<Kind> { row.cells.iter().map(kind).collect() };
        let Ok(Some(first)) = rows.next() else {
            return true;
        };
        let first = kinds(first);
        if !first.contains(&Kind::Value) {
            return true;
        }
        while let Ok(Some(row)) = rows.next() {
            let below = kinds(row);
            if first
                .iter()
                .zip(&below)
                .any(|pair| pair == (&Kind::Words, &Kind::Value))
            {
                return true;
            }
        }
        false
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Blank,
    Words,
    Value,
}

fn kind(cell: &str) -> Kind {
    let cell = cell.trim();
    match shape(cell) {
        Shape::Missing => Kind::Blank,
        Shape::Text if TimeFormat::fitting(cell).is_empty() => Kind::Words,
        _ => Kind::Value,
    }
}

/// The first lines, whole ones where there is more than one.
fn sample(text: &str) -> &str {
    if text.len() <= SAMPLE {
        return text;
    }
    let mut end = SAMPLE;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let head = &text[..end];
    &head[..head.rfind('\n').map_or(end, |newline| newline + 1)]
}

/// True where the first line quotes with `'` and nothing quotes with `"`.
fn single_quoted(sample: &str) -> bool {
    let Some(first) = sample.lines().find(|line| !line.is_empty()) else {
        return false;
    };
    !sample.contains('"')
        && first
            .split(|c: char| {
                DELIMITERS
                    .iter()
                    .any(|delimiter| char::from(*delimiter) == c)
            })
            .any(|cell| cell.len() > 1 && cell.starts_with('\'') && cell.ends_with('\''))
}

/// One row of the file, wherever its cells break lines.
pub(super) struct Row<'a> {
    /// The line it starts on, counted from 1.
    pub line: u64,
    pub cells: &'a StringRecord,
}

impl Row<'_> {
    /// A cell without blanks around it.
    pub fn cell(&self, column: usize) -> &str {
        self.cells.get(column).unwrap_or("").trim()
    }

    pub fn is_blank(&self) -> bool {
        self.cells.iter().all(|cell| cell.trim().is_empty())
    }
}

/// The rows of a file in order, the header too; rows without any content are
/// passed over.
pub(super) struct Rows<'a> {
    text: &'a [u8],
    reader: csv::Reader<&'a [u8]>,
    record: StringRecord,
    line: u64,
    /// Lines are counted up to here.
    counted: usize,
}

impl<'a> Rows<'a> {
    pub fn new(text: &'a str, dialect: Dialect) -> Self {
        let reader = ReaderBuilder::new()
            .delimiter(dialect.delimiter)
            .quote(dialect.quote)
            .has_headers(false)
            .flexible(true)
            .from_reader(text.as_bytes());
        Self {
            text: text.as_bytes(),
            reader,
            record: StringRecord::new(),
            line: 1,
            counted: 0,
        }
    }

    pub fn next(&mut self) -> Result<Option<Row<'_>>> {
        loop {
            let read = self.reader.read_record(&mut self.record);
            if !read.map_err(|e| Error::input(format!("line {}: {e}", self.line)))? {
                return Ok(None);
            }
            self.count_lines();
            let row = Row {
                line: self.line,
                cells: &self.record,
            };
            if !row.is_blank() {
                break;
            }
        }
        Ok(Some(Row {
            line: self.line,
            cells: &self.record,
        }))
    }

    /// Advances `line` to the start of the record just read. A record's
    /// position is that of the empty lines before it.
    fn count_lines(&mut self) {
        let byte = self.record.position().map_or(0, csv::Position::byte);
        let mut start = usize::try_from(byte)
            .unwrap_or(usize::MAX)
            .min(self.text.len());
        while matches!(self.text.get(start), Some(b'\n' | b'\r')) {
            start += 1;
        }
        let passed = self.text.get(self.counted..start).unwrap_or(&[]);
        for (i, byte) in passed.iter().enumerate() {
            let ends = match byte {
                b'\n' => true,
                b'\r' => self.text.get(self.counted + i + 1) != Some(&b'\n'),
                _ => false,
            };
            self.line += u64::from(ends);
        }
        self.counted = self.counted.max(start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, delimiter: u8, header: bool, lines: &[u64]) {
        let dialect = Dialect::find(text, None, None);
        assert_eq!(
            (dialect.delimiter, dialect.header),
            (delimiter, header),
            "{text:?}"
        );
        let mut rows = Rows::new(text, dialect);
        let mut found = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            found.push(row.line);
        }
        assert_eq!(found, lines, "{text:?}");
    }

    #[test]
    fn delimiters_headers_and_lines() {
        check("a,b\n1,2\n3,4\n", b',', true, &[1, 2, 3]);
        check("a;b\r\n1,5;2\r\n\r\n3,5;4", b';', true, &[1, 2, 4]);
        check("2024-01-01;1,5\n2024-01-02;2,5\n", b';', false, &[1, 2]);
        check("a\tb\r1\t2\r3\t4\r", b'\t', true, &[1, 2, 3]);
        check("a|b\n\n\n1|2\n", b'|', true, &[1, 4]);
        check(
            "\n\nt,\"a\nb\"\n1,\"x\n\ny\"\n2,z\n",
            b',',
            true,
            &[3, 5, 8],
        );
        check("day,2023,2024\n2024-01-01,5,6\n", b',', true, &[1, 2]);
        check("1,2\n2,3\n,,\n3,4\n", b',', false, &[1, 2, 4]);
        check("'d;x';'v'\n'a;b';1\n", b';', true, &[1, 2]);
        check("value\n1\n2\n", b',', true, &[1, 2, 3]);
        check("", b',', true, &[]);
    }
}
