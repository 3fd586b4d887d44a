//! What a column holds, learnt in one pass over the file.

use super::cell::{Shape, shape};
use crate::time::TimeFormat;

/// A cell worth quoting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cell {
    pub line: u64,
    pub text: String,
}

/// What all cells of a column have in common.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub name: String,
    pub missing: usize,
    pub whole: usize,
    /// Cells with a decimal point, and the first of them.
    pub points: usize,
    pub first_point: Option<Cell>,
    /// Cells with a decimal comma, and the first of them.
    pub commas: usize,
    pub first_comma: Option<Cell>,
    pub infinite: Option<Cell>,
    pub text: Option<Cell>,
    pub times: Times,
    pub run: Run,
}

/// The ways of writing times that fit every cell so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Times {
    pub formats: Vec<TimeFormat>,
    pub first: Option<Cell>,
    pub fitting: usize,
    /// Cells that no format of the others fits, and the first of them.
    pub odd: usize,
    pub first_odd: Option<Cell>,
}

/// Whole numbers in the order of the rows.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Run {
    pub low: i64,
    pub high: i64,
    last: Option<i64>,
    /// Each is larger than the one before it.
    pub ascends: bool,
    /// Each is the one before it plus 1.
    pub counts: bool,
}

impl Column {
    pub fn new(name: String) -> Self {
        Self {
            name,
            missing: 0,
            whole: 0,
            points: 0,
            first_point: None,
            commas: 0,
            first_comma: None,
            infinite: None,
            text: None,
            times: Times::default(),
            run: Run::default(),
        }
    }

    /// Learns from the next cell, which has no blanks around it.
    pub fn see(&mut self, line: u64, cell: &str) {
        let quoted = || {
            Some(Cell {
                line,
                text: cell.to_string(),
            })
        };
        match shape(cell) {
            Shape::Missing => {
                self.missing += 1;
                return;
            }
            Shape::Whole => {
                self.whole += 1;
                self.run.see(cell.parse().ok());
            }
            Shape::Point => {
                self.points += 1;
                if self.first_point.is_none() {
                    self.first_point = quoted();
                }
                return;
            }
            Shape::Comma => {
                self.commas += 1;
                if self.first_comma.is_none() {
                    self.first_comma = quoted();
                }
                return;
            }
            Shape::Infinite => {
                if self.infinite.is_none() {
                    self.infinite = quoted();
                }
                return;
            }
            Shape::Text => {
                if self.text.is_none() {
                    self.text = quoted();
                }
            }
        }
        self.times.see(line, cell);
    }

    /// Cells with a value.
    pub fn values(&self, rows: usize) -> usize {
        rows - self.missing
    }

    pub fn is_numeric(&self) -> bool {
        self.text.is_none() && self.infinite.is_none() && self.whole + self.points + self.commas > 0
    }

    /// True where every value is a whole number.
    pub fn is_whole(&self) -> bool {
        self.is_numeric() && self.points + self.commas == 0
    }

    /// True where every value is a time of the calendar.
    pub fn is_time(&self) -> bool {
        self.times.fitting > 0
            && self.times.odd == 0
            && self.points + self.commas == 0
            && self.infinite.is_none()
    }

    /// True where most values are times, yet not all.
    pub fn is_nearly_time(&self) -> bool {
        !self.is_time() && self.times.fitting > 0 && {
            let others = self.times.odd + self.points + self.commas;
            self.times.fitting >= others
        }
    }
}

impl Times {
    fn see(&mut self, line: u64, cell: &str) {
        if self.first.is_none() {
            self.first = Some(Cell {
                line,
                text: cell.to_string(),
            });
            self.formats = TimeFormat::fitting(cell);
            self.fitting = usize::from(!self.formats.is_empty());
            return;
        }
        if self.formats.is_empty() {
            return;
        }
        // Only where some fit and some do not is there anything to sort out.
        let fitting = self
            .formats
            .iter()
            .filter(|format| format.read(cell).is_some())
            .count();
        if fitting == 0 {
            self.odd += 1;
            if self.first_odd.is_none() {
                self.first_odd = Some(Cell {
                    line,
                    text: cell.to_string(),
                });
            }
            return;
        }
        self.fitting += 1;
        if fitting < self.formats.len() {
            self.formats.retain(|format| format.read(cell).is_some());
        }
    }
}

impl Run {
    fn see(&mut self, number: Option<i64>) {
        let Some(number) = number else {
            (self.ascends, self.counts) = (false, false);
            return;
        };
        match self.last {
            None => {
                *self = Self {
                    low: number,
                    high: number,
                    last: None,
                    ascends: true,
                    counts: true,
                }
            }
            Some(last) => {
                self.ascends &= number > last;
                self.counts &= last.checked_add(1) == Some(number);
                self.low = self.low.min(number);
                self.high = self.high.max(number);
            }
        }
        self.last = Some(number);
    }
}
