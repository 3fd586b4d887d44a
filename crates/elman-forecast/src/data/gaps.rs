//! Missing values: what stands in for them.
//!
//! Filling sees the slice it is given and nothing else. Whoever forecasts cuts
//! the series at the origin first, and then fills: so a gap that spans the
//! origin is filled from what was known before it.

use std::borrow::Cow;

use crate::options::Gaps;
use crate::{Error, Result};

/// A copy of `values` without a NaN. Values that are there stay as they are,
/// bit for bit. `season` is used by [`Gaps::Season`] only; 0 counts as 1.
///
/// ```
/// use elman_forecast::gaps::fill;
/// use elman_forecast::options::Gaps;
///
/// let nan = f64::NAN;
/// let filled = fill(&[nan, 1.0, nan, nan, 4.0, nan], Gaps::Interpolate, 1)?;
/// assert_eq!(filled, [1.0, 1.0, 2.0, 3.0, 4.0, 4.0]);
/// # Ok::<(), elman_forecast::Error>(())
/// ```
///
/// # Errors
///
/// Where something is missing under [`Gaps::Refuse`], and where every value
/// of a slice that is not empty is missing (under `Zero` too: a series of
/// nothing is no series).
pub fn fill(values: &[f64], how: Gaps, season: usize) -> Result<Vec<f64>> {
    let mut filled = values.to_vec();
    let Some(first_gap) = values.iter().position(|value| value.is_nan()) else {
        return Ok(filled);
    };
    if how == Gaps::Refuse {
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
        Gaps::Zero => Some(0.0),
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
            Gaps::Interpolate => values.get(gap.end).copied().unwrap_or(before),
            _ => before,
        };
        let steps = (gap.len() + 1) as f64;
        for i in gap.clone() {
            let part = (i - gap.start + 1) as f64 / steps;
            filled[i] = match (constant, how) {
                (Some(constant), _) => constant,
                (None, Gaps::Season) if i >= season => filled[i - season],
                _ if before == after => before,
                _ => before * (1.0 - part) + after * part,
            };
        }
    }
    Ok(filled)
}

/// A series as it is known at each origin: [`fill`] of every prefix, without
/// filling each anew.
///
/// A value inside a gap may depend on the value after it; it counts from the
/// origin on at which that one is known, and until then the gap reaches the end
/// of what is known.
#[derive(Debug, Clone)]
pub struct Filled {
    /// Filled with all values known.
    settled: Vec<f64>,
    /// Filled as if every gap reached the end.
    open: Vec<f64>,
    /// For every step, the number of steps up to the last value known there.
    known: Vec<usize>,
}

impl Filled {
    /// Fills a series whose first value is there.
    ///
    /// # Errors
    ///
    /// As [`fill`].
    pub fn new(values: &[f64], how: Gaps, season: usize) -> Result<Self> {
        let settled = fill(values, how, season)?;
        let open = match how {
            Gaps::Interpolate => fill(values, Gaps::Previous, season)?,
            _ => settled.clone(),
        };
        let mut last = 0;
        let known = values.iter().enumerate().map(|(i, value)| {
            if !value.is_nan() {
                last = i + 1;
            }
            last
        });
        Ok(Self {
            known: known.collect(),
            settled,
            open,
        })
    }

    /// Number of steps.
    pub fn len(&self) -> usize {
        self.settled.len()
    }

    /// True where there is no step.
    pub fn is_empty(&self) -> bool {
        self.settled.is_empty()
    }

    /// The first `origin` steps as known at their end: `fill(&values[..origin])`.
    pub fn until(&self, origin: usize) -> Cow<'_, [f64]> {
        let origin = origin.min(self.len());
        let known = origin.checked_sub(1).map_or(0, |last| self.known[last]);
        if known == origin {
            return Cow::Borrowed(&self.settled[..origin]);
        }
        let mut history = self.settled[..origin].to_vec();
        history[known..].copy_from_slice(&self.open[known..origin]);
        Cow::Owned(history)
    }

    /// The last `out.len()` steps before `origin`, as known there.
    ///
    /// # Panics
    ///
    /// Where there are not as many steps.
    pub fn window(&self, origin: usize, out: &mut [f64]) {
        let start = origin - out.len();
        let known = origin.checked_sub(1).map_or(0, |last| self.known[last]);
        for (i, out) in (start..origin).zip(out) {
            *out = if i < known {
                self.settled[i]
            } else {
                self.open[i]
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Named;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_prefix_is_filled_as_if_it_were_all(
            values in prop::collection::vec(prop_oneof![2 => -9.0..9.0, 1 => Just(f64::NAN)], 0..30),
            season in 1_usize..5,
        ) {
            let mut values = values;
            values.insert(0, 1.0);
            for how in Gaps::ALL.iter().filter(|how| **how != Gaps::Refuse) {
                let filled = Filled::new(&values, *how, season).unwrap();
                for origin in 1..=values.len() {
                    let direct = fill(&values[..origin], *how, season).unwrap();
                    prop_assert_eq!(&*filled.until(origin), &direct[..]);
                    let mut window = vec![0.0; origin.min(3)];
                    filled.window(origin, &mut window);
                    prop_assert_eq!(&window[..], &direct[origin - window.len()..]);
                }
            }
        }
    }
}
