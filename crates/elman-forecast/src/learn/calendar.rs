//! What the calendar tells the network of past and future steps.

use crate::time::{CalendarPoint, TimeAxis, Unit};
use serde::{Deserialize, Serialize};
use std::f64::consts::TAU;
use std::fmt;

/// One kind of calendar input; each is one or more columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Feature {
    /// Seven columns, one of them 1.
    Weekday,
    /// Sine and cosine of the time of day and its multiples.
    TimeOfDay(u8),
    /// Sine and cosine of the time of year and its multiples.
    TimeOfYear(u8),
    /// Sine and cosine of the place in a season of so many steps, and its
    /// multiples.
    Phase(usize, u8),
}

impl Feature {
    fn width(self) -> usize {
        match self {
            Self::Weekday => 7,
            Self::TimeOfDay(n) | Self::TimeOfYear(n) | Self::Phase(_, n) => 2 * usize::from(n),
        }
    }

    fn push(self, step: i64, point: Option<&CalendarPoint>, row: &mut Vec<f32>) {
        let part = match (self, point) {
            (Self::Phase(season, _), _) => {
                let season = season.max(1) as i64;
                step.rem_euclid(season) as f64 / season as f64
            }
            (Self::TimeOfDay(_), Some(point)) => point.day_fraction,
            (Self::TimeOfYear(_), Some(point)) => point.year_fraction,
            (Self::Weekday, Some(point)) => {
                row.extend((0..7).map(|day| f32::from(u8::from(day == point.weekday))));
                return;
            }
            (_, None) => {
                row.extend(std::iter::repeat_n(0.0, self.width()));
                return;
            }
        };
        for multiple in 1..=self.width() / 2 {
            let angle = TAU * part * multiple as f64;
            row.extend([angle.sin() as f32, angle.cos() as f32]);
        }
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Weekday => f.write_str("weekday"),
            Self::TimeOfDay(_) => f.write_str("time of day"),
            Self::TimeOfYear(_) => f.write_str("time of year"),
            Self::Phase(season, _) => write!(f, "place in a season of {season} steps"),
        }
    }
}

/// The calendar inputs of a series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calendar(Vec<Feature>);

impl Calendar {
    /// What fits the frequency: below a day the time of day, up to a day the
    /// weekday, below a year the time of year where the series has at least
    /// two; the place in the season where the calendar does not know it.
    pub fn of(axis: &TimeAxis, season: usize) -> Self {
        let frequency = axis.frequency();
        let unit = frequency.unit();
        let below_day = matches!(
            unit,
            Unit::Millisecond | Unit::Second | Unit::Minute | Unit::Hour
        );
        let daily = matches!(unit, Unit::Day | Unit::BusinessDay);
        let mut features = Vec::new();
        if below_day {
            features.push(Feature::TimeOfDay(4));
        }
        if below_day || daily {
            features.push(Feature::Weekday);
        }
        let below_year = !matches!(unit, Unit::Year | Unit::Step);
        if below_year && years(axis) >= 2.0 {
            features.push(Feature::TimeOfYear(2));
        }
        if season > 1 && season != frequency.season() {
            let multiples = (season / 2).min(3) as u8;
            features.push(Feature::Phase(season, multiples));
        }
        Self(features)
    }

    /// No calendar inputs.
    pub fn none() -> Self {
        Self(Vec::new())
    }

    /// Columns in all.
    pub fn width(&self) -> usize {
        self.0.iter().map(|f| f.width()).sum()
    }

    /// What each column is.
    pub fn columns(&self) -> Vec<String> {
        let name = |feature: &Feature, column: usize| match feature {
            Feature::Weekday => format!("weekday {}", column + 1),
            other => {
                let wave = if column.is_multiple_of(2) {
                    "sin"
                } else {
                    "cos"
                };
                format!("{other}, {wave} {}", column / 2 + 1)
            }
        };
        let all = self.0.iter();
        all.flat_map(|f| (0..f.width()).map(move |column| name(f, column)))
            .collect()
    }

    /// The columns of one step after the other, for `len` steps; `first` is the
    /// number of the first one in the series that a season is counted from.
    pub fn rows(&self, axis: &TimeAxis, first: i64, len: usize) -> Vec<f32> {
        let mut rows = Vec::with_capacity(len * self.width());
        for step in 0..len {
            let point = axis.calendar(step);
            for feature in &self.0 {
                feature.push(first + step as i64, point.as_ref(), &mut rows);
            }
        }
        rows
    }
}

impl fmt::Display for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        let names: Vec<_> = self.0.iter().map(Feature::to_string).collect();
        f.write_str(&names.join(", "))
    }
}

/// Years from the first step to the last.
fn years(axis: &TimeAxis) -> f64 {
    let at = |step| {
        let point: CalendarPoint = axis.calendar(step)?;
        Some(f64::from(point.year) + point.year_fraction)
    };
    match (at(0), at(axis.len().saturating_sub(1))) {
        (Some(first), Some(last)) => last - first,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_every_column() {
        let features = [
            Feature::Weekday,
            Feature::TimeOfDay(4),
            Feature::TimeOfYear(2),
            Feature::Phase(5, 2),
        ];
        let axis = TimeAxis::steps(3);
        let calendar = Calendar(features.to_vec());
        let rows = calendar.rows(&axis, 0, 11);
        assert_eq!(rows.len(), 11 * calendar.width());
        assert_eq!(calendar.columns().len(), calendar.width());
        // Integer steps have a phase and nothing else.
        let phase = |step: usize| &rows[step * calendar.width() + 19..][..4];
        assert_eq!(phase(0), phase(5));
        let later = calendar.rows(&axis, -3, 4);
        assert_eq!(&later[3 * calendar.width() + 19..], phase(0));
        assert_ne!(phase(0), phase(1));
        assert!(rows[..19].iter().all(|x| *x == 0.0));
    }

    #[test]
    fn steps_have_a_phase_only_where_a_season_is_given() {
        let axis = TimeAxis::steps(100);
        assert_eq!(Calendar::of(&axis, 1).width(), 0);
        assert_eq!(Calendar::of(&axis, 7).width(), 6);
    }
}
