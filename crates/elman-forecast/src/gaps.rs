//! Missing values: what stands in for them.
//!
//! Filling sees the slice it is given and nothing else. Whoever forecasts cuts
//! the series at the origin first, and then fills: so a gap that spans the
//! origin is filled from what was known before it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// How missing values are filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GapFill {
    /// On the straight line between the neighbours. After the last value it is
    /// carried on, before the first one that one is taken.
    #[default]
    Interpolate,
    /// The value before the gap; before the first value, that one.
    Previous,
    /// The mean of all values of the slice.
    Mean,
    /// Zero: where no row means that nothing happened.
    Zero,
    /// The value one season earlier, itself filled where it was missing. In
    /// the first season as [`Previous`](Self::Previous).
    Season,
    /// Nothing: a missing value is an error.
    Refuse,
}

impl GapFill {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Interpolate,
        Self::Previous,
        Self::Mean,
        Self::Zero,
        Self::Season,
        Self::Refuse,
    ];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Interpolate => "interpolate",
            Self::Previous => "previous",
            Self::Mean => "mean",
            Self::Zero => "zero",
            Self::Season => "season",
            Self::Refuse => "refuse",
        }
    }
}

impl fmt::Display for GapFill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for GapFill {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|how| how.name() == text)
            .ok_or_else(|| {
                let names = Self::ALL.map(Self::name).join(", ");
                Error::input(format!("`{text}` fills no gaps; expected one of {names}"))
            })
    }
}

/// A copy of `values` without a NaN. Values that are there stay as they are,
/// bit for bit. `season` is used by [`GapFill::Season`] only; 0 counts as 1.
///
/// ```
/// use elman_forecast::gaps::{GapFill, fill};
///
/// let nan = f64::NAN;
/// let filled = fill(&[nan, 1.0, nan, nan, 4.0, nan], GapFill::Interpolate, 1)?;
/// assert_eq!(filled, [1.0, 1.0, 2.0, 3.0, 4.0, 4.0]);
/// # Ok::<(), elman_forecast::Error>(())
/// ```
///
/// # Errors
///
/// Where something is missing under [`GapFill::Refuse`], and where every value
/// of a slice that is not empty is missing (under `Zero` too: a series of
/// nothing is no series).
pub fn fill(values: &[f64], how: GapFill, season: usize) -> Result<Vec<f64>> {
    let mut filled = values.to_vec();
    let Some(first_gap) = values.iter().position(|value| value.is_nan()) else {
        return Ok(filled);
    };
    if how == GapFill::Refuse {
        let missing = values.iter().filter(|value| value.is_nan()).count();
        return Err(Error::input(format!(
            "{missing} of {} values are missing, the first at step {}; fill them in, or choose another way than `refuse`",
            values.len(),
            first_gap + 1,
        )));
    }
    let Some(first) = values.iter().copied().find(|value| !value.is_nan()) else {
        return Err(Error::input(format!(
            "all {} values are missing; expected one at least",
            values.len()
        )));
    };
    let constant = match how {
        GapFill::Zero => Some(0.0),
        GapFill::Mean => Some(mean(values)),
        _ => None,
    };
    let season = season.max(1);
    let mut start = 0;
    for run in values.chunk_by(|a, b| a.is_nan() == b.is_nan()) {
        let gap = start..start + run.len();
        start = gap.end;
        if !run.first().is_some_and(|value| value.is_nan()) {
            continue;
        }
        let before = gap.start.checked_sub(1).map_or(first, |i| values[i]);
        let after = match how {
            GapFill::Interpolate => values.get(gap.end).copied().unwrap_or(before),
            _ => before,
        };
        let steps = (gap.len() + 1) as f64;
        for i in gap.clone() {
            let part = (i - gap.start + 1) as f64 / steps;
            filled[i] = match (constant, how) {
                (Some(constant), _) => constant,
                (None, GapFill::Season) if i >= season => filled[i - season],
                _ if before == after => before,
                _ => before * (1.0 - part) + after * part,
            };
        }
    }
    Ok(filled)
}

/// The mean of the values that are there. Each is divided on its own, so that
/// large ones do not overflow.
fn mean(values: &[f64]) -> f64 {
    let present = || values.iter().filter(|value| !value.is_nan());
    let count = present().count() as f64;
    present().map(|value| value / count).sum()
}
