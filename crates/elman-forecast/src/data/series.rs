//! A series: one number for each step of a regular grid of times.

use crate::outcome::Fact;
use crate::time::TimeAxis;

/// One column of a table on its grid of times.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// The name of the column.
    pub name: String,
    /// The times, one for each value.
    pub axis: TimeAxis,
    /// The values, NaN where missing.
    pub values: Vec<f64>,
    /// The steps that have no row in the table, ascending; they are missing.
    /// Other missing values are cells left blank.
    pub absent: Vec<usize>,
}

impl Series {
    /// Number of steps.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// True where there is no step.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Missing values, blank cells and absent rows together.
    pub fn missing(&self) -> usize {
        self.values.iter().filter(|value| value.is_nan()).count()
    }

    /// The longest run of missing values as a range of steps, the first one of
    /// equals; `None` where nothing is missing.
    pub fn longest_gap(&self) -> Option<std::ops::Range<usize>> {
        let mut longest: Option<std::ops::Range<usize>> = None;
        let mut start = 0;
        for run in self.values.chunk_by(|a, b| a.is_nan() == b.is_nan()) {
            let gap = start..start + run.len();
            start = gap.end;
            let missing = run.first().is_some_and(|value| value.is_nan());
            if missing && longest.as_ref().is_none_or(|other| gap.len() > other.len()) {
                longest = Some(gap);
            }
        }
        longest
    }

    /// What is missing, for the summary of the data.
    pub fn facts(&self) -> Vec<Fact> {
        let steps = |n: usize| match n {
            1 => "1 step".to_string(),
            n => format!("{n} steps"),
        };
        let mut facts = vec![Fact {
            label: "missing cells".to_string(),
            value: (self.missing().saturating_sub(self.absent.len())).to_string(),
        }];
        if let Some(gap) = self.longest_gap() {
            let (from, to) = (self.axis.label(gap.start), self.axis.label(gap.end - 1));
            facts.push(Fact {
                label: "longest gap".to_string(),
                value: match gap.len() {
                    1 => format!("1 step, {from}"),
                    n => format!("{}, {from} to {to}", steps(n)),
                },
            });
        }
        facts
    }
}
