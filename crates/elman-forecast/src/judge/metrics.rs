//! Errors of forecasts against the truth.
//!
//! Definitions follow Hyndman and Koehler, *Another look at measures of
//! forecast accuracy* (International Journal of Forecasting 22, 2006), with
//! sMAPE on the scale 0 to 200. A missing truth (NaN) is never scored.

use crate::conformal::{Interval, Intervals};
use crate::outcome::{MethodScore, Scores};

/// Collects forecasts and truths, origin by origin.
///
/// Sums are taken in the order of the calls: add the origins in a fixed order
/// and the scores are the same to the last bit.
///
/// ```
/// use elman_forecast::metrics::{Tally, seasonal_scale};
///
/// let mut tally = Tally::new(2);
/// tally.add_origin(&[3.0, f64::NAN], &[2.0, 7.0], &[]);
/// tally.add_origin(&[5.0, 8.0], &[5.0, 5.0], &[]);
/// assert_eq!(tally.mae_by_step(), [Some(0.5), Some(3.0)]);
///
/// let scale = seasonal_scale(&[1.0, 2.0, 4.0, 3.0], 1);
/// let scores = tally.scores(scale);
/// assert_eq!(scores.mae, Some(4.0 / 3.0));
/// assert_eq!(scores.mase, Some(1.0));
/// assert_eq!(scores.coverage_80, None);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Tally {
    steps: Vec<Errors>,
    held_80: Share,
    held_95: Share,
}

impl Tally {
    /// An empty tally for forecasts of `horizon` steps.
    pub fn new(horizon: usize) -> Self {
        Self {
            steps: vec![Errors::default(); horizon],
            held_80: Share::default(),
            held_95: Share::default(),
        }
    }

    /// Adds the forecast made at one origin; entry `k` of each slice is the
    /// step `k + 1` ahead.
    ///
    /// `truth` may end early, where the table does; steps past its end or past
    /// the horizon are not scored. `intervals` is empty for a method without
    /// any, and counts towards the coverage only where it has an entry.
    pub fn add_origin(&mut self, truth: &[f64], forecast: &[f64], intervals: &[Intervals]) {
        for (step, (&truth, &forecast)) in self.steps.iter_mut().zip(truth.iter().zip(forecast)) {
            if truth.is_nan() {
                continue;
            }
            step.add(truth, forecast);
        }
        for (&truth, intervals) in truth.iter().zip(intervals).take(self.steps.len()) {
            if truth.is_nan() {
                continue;
            }
            self.held_80.add(truth, intervals.at_80);
            self.held_95.add(truth, intervals.at_95);
        }
    }

    /// The scores over all origins and steps; `scale` is [`seasonal_scale`] of
    /// the training part.
    ///
    /// A score is `None` where it is undefined: nothing to score, no interval,
    /// no scale. A forecast that is not finite where the truth is known makes
    /// every error undefined: no method gains by not answering.
    pub fn scores(&self, scale: Option<f64>) -> Scores {
        let mut all = Errors::default();
        for step in &self.steps {
            all.count += step.count;
            all.absolute += step.absolute;
            all.squared += step.squared;
            all.symmetric += step.symmetric;
        }
        let mae = all.mean(all.absolute);
        Scores {
            mae,
            rmse: all.mean(all.squared).map(f64::sqrt),
            smape: all.mean(all.symmetric),
            mase: mae
                .zip(scale)
                .map(|(mae, scale)| mae / scale)
                .filter(|mase| mase.is_finite()),
            coverage_80: self.held_80.value(),
            coverage_95: self.held_95.value(),
        }
    }

    /// Mean absolute error of each step ahead, `horizon` entries, `None` where
    /// nothing could be scored.
    pub fn mae_by_step(&self) -> Vec<Option<f64>> {
        self.steps.iter().map(|s| s.mean(s.absolute)).collect()
    }

    /// Both of the above under the name of the method.
    pub fn method(&self, name: &str, scale: Option<f64>) -> MethodScore {
        MethodScore {
            name: name.to_string(),
            scores: self.scores(scale),
            mae_by_step: self.mae_by_step(),
        }
    }
}

/// The scale of MASE: the mean of |y_t - y_(t-season)| over the training part,
/// pairs with a missing value (NaN) left out.
///
/// `None` where there is no pair, or where every season repeats the one before
/// and the scale is 0.
pub fn seasonal_scale(train: &[f64], season: usize) -> Option<f64> {
    let mut errors = Errors::default();
    for (&before, &now) in train.iter().zip(train.iter().skip(season)) {
        if !before.is_nan() && !now.is_nan() {
            errors.add(now, before);
        }
    }
    errors.mean(errors.absolute).filter(|&scale| scale > 0.0)
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Errors {
    count: usize,
    absolute: f64,
    squared: f64,
    symmetric: f64,
}

impl Errors {
    fn add(&mut self, truth: f64, forecast: f64) {
        let error = (truth - forecast).abs();
        self.count += 1;
        self.absolute += error;
        self.squared += error * error;
        // 0/0 is a perfect forecast.
        if error != 0.0 {
            self.symmetric += 200.0 * (error / (truth.abs() + forecast.abs()));
        }
    }

    fn mean(&self, sum: f64) -> Option<f64> {
        (self.count > 0 && sum.is_finite()).then(|| sum / self.count as f64)
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Share {
    held: usize,
    count: usize,
}

impl Share {
    fn add(&mut self, truth: f64, interval: Option<Interval>) {
        if let Some(interval) = interval {
            self.count += 1;
            self.held += usize::from(interval.contains(truth));
        }
    }

    fn value(&self) -> Option<f64> {
        (self.count > 0).then(|| self.held as f64 / self.count as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAN: f64 = f64::NAN;

    fn tally(origins: &[(&[f64], &[f64])]) -> Tally {
        let mut tally = Tally::new(3);
        for (truth, forecast) in origins {
            tally.add_origin(truth, forecast, &[]);
        }
        tally
    }

    #[test]
    fn scores_by_hand() {
        // Errors 1, 4 (first origin), 2 (second); two truths are missing and
        // one lies past the end of the table.
        let tally = tally(&[
            (&[3.0, NAN, 6.0], &[2.0, 9.0, 2.0]),
            (&[NAN, -1.0], &[0.0, 1.0, 5.0]),
        ]);
        let scores = tally.scores(Some(2.0));
        assert_eq!(scores.mae, Some(7.0 / 3.0));
        assert_eq!(scores.rmse, Some(7.0_f64.sqrt()));
        assert_eq!(scores.smape, Some((40.0 + 100.0 + 200.0) / 3.0));
        assert_eq!(scores.mase, Some(7.0 / 6.0));
        assert_eq!(tally.mae_by_step(), [Some(1.0), Some(2.0), Some(4.0)]);
    }

    #[test]
    fn undefined_scores_are_none() {
        let undefined = Scores::default();
        assert_eq!(tally(&[]).scores(Some(1.0)), undefined);
        assert_eq!(
            tally(&[(&[NAN, NAN], &[1.0, 2.0])]).scores(Some(1.0)),
            undefined
        );
        for forecast in [NAN, f64::INFINITY] {
            let silent = tally(&[(&[1.0, 2.0], &[1.0, forecast])]);
            assert_eq!(silent.scores(Some(1.0)), undefined);
            assert_eq!(silent.mae_by_step(), [Some(0.0), None, None]);
        }
        assert_eq!(tally(&[(&[1.0], &[2.0])]).scores(None).mase, None);
    }

    #[test]
    fn zeros_are_exact_and_opposite_signs_the_worst() {
        assert_eq!(tally(&[(&[0.0], &[0.0])]).scores(None).smape, Some(0.0));
        assert_eq!(tally(&[(&[0.0], &[3.0])]).scores(None).smape, Some(200.0));
        assert_eq!(tally(&[(&[-1.0], &[2.0])]).scores(None).smape, Some(200.0));
    }

    #[test]
    fn coverage_counts_known_truths_with_an_interval_bounds_included() {
        let wide = Some(Interval { lo: 0.0, hi: 4.0 });
        let narrow = Some(Interval { lo: 1.0, hi: 2.0 });
        let both = Intervals {
            at_80: narrow,
            at_95: wide,
        };
        let only_80 = Intervals {
            at_80: narrow,
            at_95: None,
        };
        let mut tally = Tally::new(3);
        tally.add_origin(&[4.0, 1.0, NAN], &[1.5; 3], &[both, only_80, both]);
        tally.add_origin(&[9.0, 2.0], &[1.5; 3], &[both, only_80, both]);
        let scores = tally.scores(None);
        assert_eq!(scores.coverage_80, Some(0.5));
        assert_eq!(scores.coverage_95, Some(0.5));
    }

    #[test]
    fn seasonal_scale_skips_the_missing() {
        let check = |train: &[f64], season, expected| {
            assert_eq!(seasonal_scale(train, season), expected, "{train:?}");
        };
        check(&[1.0, 2.0, 4.0, 0.0], 2, Some(2.5));
        check(&[1.0, 2.0, NAN, 0.0], 2, Some(2.0));
        check(&[1.0, NAN, NAN, 0.0], 2, None);
        check(&[5.0, 6.0, 5.0, 6.0], 2, None);
        check(&[5.0, 6.0, 5.0, 6.0], 1, Some(1.0));
        check(&[5.0, 6.0], 2, None);
        check(&[5.0, 6.0], 0, None);
        check(&[], 1, None);
    }
}
