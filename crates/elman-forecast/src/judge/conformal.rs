//! Prediction intervals by split conformal prediction, one half width a step
//! ahead.
//!
//! Forecasts made at origins that the network was not trained on leave
//! residuals r = truth - forecast. With n of them at a step ahead, the interval
//! at level 1 - α is the forecast plus and minus the k-th smallest |r|, where
//! k = ceil((n + 1)(1 - α)). If the next residual is exchangeable with these,
//! it falls inside with a probability of at least 1 - α and, without ties, of
//! at most 1 - α + 1/(n + 1), whatever the distribution and however good the
//! forecast (Vovk, Gammerman and Shafer, *Algorithmic Learning in a Random
//! World*, 2005; Lei et al., *Distribution-Free Predictive Inference for
//! Regression*, JASA 113, 2018). One calibration a step ahead, as in
//! Stankevičiūtė, Alaa and van der Schaar, *Conformal Time-Series Forecasting*
//! (NeurIPS 2021), but without their correction for the whole path: a level
//! holds for each step by itself, not for all steps at once.
//!
//! Two choices, made for the small calibration sets of real tables:
//!
//! - Intervals are symmetric. Bounds from both tails of r would follow skewed
//!   errors, but each bound then needs its own α/2 tail: 39 residuals instead
//!   of 19 at 95 %, and twice the noise.
//! - Steps ahead are not pooled. Residuals of different steps are neither
//!   exchangeable nor independent, and a pooled set would claim a certainty
//!   that a few origins do not give. Where residuals are too few there is no
//!   interval, and [`Bands::notes`] says so.
//!
//! Series drift, and residuals of overlapping windows are related, so that
//! exchangeability holds only roughly. Therefore the coverage is measured on
//! the test part and printed beside the intervals.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A closed interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub lo: f64,
    /// Upper end.
    pub hi: f64,
}

impl Interval {
    /// True where `value` lies inside or on a bound.
    pub fn contains(&self, value: f64) -> bool {
        (self.lo..=self.hi).contains(&value)
    }
}

/// The intervals around one forecast; `None` where there were too few
/// residuals.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Intervals {
    /// Holds the truth with a probability of 80 %.
    pub at_80: Option<Interval>,
    /// Holds the truth with a probability of 95 %; contains `at_80`.
    pub at_95: Option<Interval>,
}

/// The half widths of the intervals at every step ahead.
///
/// ```
/// use elman_forecast::conformal::Bands;
///
/// // Nine residuals at one step ahead: enough for 80 %, not for 95 %.
/// let residuals = vec![-4.0, 1.0, -2.0, 0.5, 3.0, -1.5, 2.5, 0.0, -3.5];
/// let bands = Bands::calibrate(&[residuals]);
///
/// let intervals = bands.apply(0, 10.0);
/// let at_80 = intervals.at_80.unwrap();
/// assert_eq!((at_80.lo, at_80.hi), (6.5, 13.5)); // the 8th smallest of nine
/// assert_eq!(intervals.at_95, None);
/// assert_eq!(
///     bands.notes(),
///     ["no 95 % interval: 19 residuals are needed at a step ahead to calibrate it, there are 9"],
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Step>", into = "Vec<Step>")]
pub struct Bands {
    steps: Vec<Step>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Step {
    residuals: usize,
    half_80: Option<f64>,
    half_95: Option<f64>,
}

impl Bands {
    /// Calibrates the intervals on the residuals of each step ahead; entry `k`
    /// belongs to the step `k + 1` ahead, in any order, and a residual that is
    /// not finite (a missing truth) does not count.
    pub fn calibrate(residuals_by_step: &[Vec<f64>]) -> Self {
        let steps = residuals_by_step.iter().map(|residuals| {
            let mut sizes: Vec<f64> = residuals.iter().map(|r| r.abs()).collect();
            sizes.retain(|size| size.is_finite());
            sizes.sort_unstable_by(f64::total_cmp);
            Step {
                residuals: sizes.len(),
                half_80: half_width(&sizes, 80),
                half_95: half_width(&sizes, 95),
            }
        });
        Self {
            steps: steps.collect(),
        }
    }

    /// Number of steps ahead.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// True where there is no step.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The intervals around the forecast `value` made `step + 1` steps ahead;
    /// none past the calibrated steps.
    pub fn apply(&self, step: usize, value: f64) -> Intervals {
        let around = |half: f64| Interval {
            lo: value - half,
            hi: value + half,
        };
        self.steps
            .get(step)
            .map_or(Intervals::default(), |step| Intervals {
                at_80: step.half_80.map(around),
                at_95: step.half_95.map(around),
            })
    }

    /// What is missing and why, a sentence a level; empty where every step has
    /// both intervals.
    pub fn notes(&self) -> Vec<String> {
        let note = |percent, half: fn(&Step) -> Option<f64>| {
            let without = || self.steps.iter().filter(|step| half(step).is_none());
            let fewest = without().map(|step| step.residuals).min()?;
            let most = without().map(|step| step.residuals).max()?;
            let place = match without().count() {
                all if all == self.steps.len() => String::new(),
                some => format!(" at {some} of {} steps ahead", self.steps.len()),
            };
            let found = if fewest == most {
                fewest.to_string()
            } else {
                format!("{fewest} to {most}")
            };
            Some(format!(
                "no {percent} % interval{place}: {} residuals are needed at a step ahead to \
                 calibrate it, there are {found}",
                needed(percent)
            ))
        };
        [note(80, |s| s.half_80), note(95, |s| s.half_95)]
            .into_iter()
            .flatten()
            .collect()
    }
}

/// The k-th smallest of n sizes, k = ceil((n + 1) percent / 100); `None` where
/// k exceeds n.
fn half_width(sorted: &[f64], percent: usize) -> Option<f64> {
    let k = ((sorted.len() + 1) * percent).div_ceil(100);
    sorted.get(k - 1).copied()
}

/// The least n for which [`half_width`] exists: n ≥ ceil(1/α) - 1.
fn needed(percent: usize) -> usize {
    percent.div_ceil(100 - percent)
}

impl TryFrom<Vec<Step>> for Bands {
    type Error = Error;

    fn try_from(steps: Vec<Step>) -> Result<Self> {
        for (i, step) in steps.iter().enumerate() {
            let narrow = step.half_80.unwrap_or(0.0);
            let wide = step.half_95.unwrap_or(narrow);
            if !(0.0 <= narrow && narrow <= wide && wide.is_finite()) {
                return Err(Error::input(format!(
                    "intervals, step {} ahead: expected half widths 0 <= half_80 <= half_95, got \
                     {:?} and {:?}; the file is damaged, train the model again",
                    i + 1,
                    step.half_80,
                    step.half_95
                )));
            }
        }
        Ok(Self { steps })
    }
}

impl From<Bands> for Vec<Step> {
    fn from(bands: Bands) -> Self {
        bands.steps
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::*;

    fn halves(residuals: &[f64]) -> [Option<f64>; 2] {
        let intervals = Bands::calibrate(&[residuals.to_vec()]).apply(0, 0.0);
        [intervals.at_80, intervals.at_95].map(|i| i.map(|i| i.hi))
    }

    #[test]
    fn order_statistics_of_the_finite_sample() {
        let check = |n: usize, expected| {
            let residuals: Vec<f64> = (1..=n)
                .map(|r| if r % 2 == 0 { r as f64 } else { -(r as f64) })
                .collect();
            assert_eq!(halves(&residuals), expected, "{n} residuals");
        };
        check(0, [None, None]);
        check(3, [None, None]);
        check(4, [Some(4.0), None]);
        check(9, [Some(8.0), None]);
        check(18, [Some(16.0), None]);
        check(19, [Some(16.0), Some(19.0)]);
        check(99, [Some(80.0), Some(95.0)]);
        check(100, [Some(81.0), Some(96.0)]);
    }

    #[test]
    fn missing_residuals_do_not_count() {
        let missing = [1.0, f64::NAN, -2.0, f64::NAN, 3.0];
        assert_eq!(halves(&missing), [None, None]);
        let enough = [1.0, f64::NAN, -2.0, 4.0, 3.0];
        assert_eq!(halves(&enough), [Some(4.0), None]);
    }

    #[test]
    fn notes_count_steps_and_residuals() {
        let check = |counts: &[usize], expected: &[&str]| {
            let residuals: Vec<_> = counts.iter().map(|&n| vec![1.0; n]).collect();
            assert_eq!(Bands::calibrate(&residuals).notes(), expected);
        };
        check(&[19, 30], &[]);
        check(&[], &[]);
        check(
            &[30, 18, 3],
            &[
                "no 80 % interval at 1 of 3 steps ahead: 4 residuals are needed at a step ahead \
                 to calibrate it, there are 3",
                "no 95 % interval at 2 of 3 steps ahead: 19 residuals are needed at a step ahead \
                 to calibrate it, there are 3 to 18",
            ],
        );
    }

    #[test]
    fn past_the_calibrated_steps_there_is_no_interval() {
        let bands = Bands::calibrate(&[vec![1.0; 20]]);
        assert_eq!(bands.apply(1, 5.0), Intervals::default());
    }

    #[test]
    fn the_file_keeps_them_and_damage_is_refused() {
        let bands = Bands::calibrate(&[vec![0.1; 20], vec![0.3; 5], vec![]]);
        let text = serde_json::to_string(&bands).unwrap();
        assert_eq!(serde_json::from_str::<Bands>(&text).unwrap(), bands);
        for (half_80, half_95) in [("-1", "2"), ("2", "1"), ("null", "-1")] {
            let damaged =
                format!(r#"[{{"residuals":20,"half_80":{half_80},"half_95":{half_95}}}]"#);
            let error = serde_json::from_str::<Bands>(&damaged).unwrap_err();
            assert!(error.to_string().contains("step 1 ahead"), "{error}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            rng_seed: RngSeed::Fixed(0),
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        // Exchangeability says that each of n + 1 residuals is equally likely
        // to be the one that is forecast. So the probability of coverage is the
        // share of them that the interval of the other n holds, and it has to
        // reach the level for every single draw, ties included.
        #[test]
        fn exchangeable_residuals_are_covered(
            residuals in prop::collection::vec(
                prop_oneof![-5.0..5.0_f64, -1e3..1e3_f64, (-3..3_i32).prop_map(f64::from)],
                5..60,
            )
        ) {
            let mut held = [0; 2];
            for left_out in 0..residuals.len() {
                let mut others = residuals.clone();
                let truth = others.remove(left_out);
                let intervals = Bands::calibrate(&[others]).apply(0, 0.0);
                for (held, interval) in held.iter_mut().zip([intervals.at_80, intervals.at_95]) {
                    *held += usize::from(interval.is_none_or(|i| i.contains(truth)));
                }
            }
            for (held, percent) in held.into_iter().zip([80, 95]) {
                prop_assert!(held * 100 >= percent * residuals.len(), "{percent}: {held}");
            }
        }

        #[test]
        fn intervals_are_nested(
            residuals in prop::collection::vec(-1e6..1e6_f64, 19..80), value in -1e6..1e6_f64
        ) {
            let intervals = Bands::calibrate(&[residuals]).apply(0, value);
            let (narrow, wide) = (intervals.at_80.unwrap(), intervals.at_95.unwrap());
            prop_assert!(wide.contains(narrow.lo) && wide.contains(narrow.hi));
            prop_assert!(narrow.contains(value));
        }
    }
}
