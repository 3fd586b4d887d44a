//! Forecasts anyone can make by hand (Hyndman and Athanasopoulos, *Forecasting:
//! Principles and Practice*, section "Some simple forecasting methods").

/// A forecasting method without parameters.
///
/// ```
/// use elman_forecast::baseline::Baseline;
///
/// let history = [1.0, 5.0, 2.0, 6.0, 3.0, 7.0];
/// let check = |method: Baseline, expected| {
///     assert_eq!(method.forecast(&history, 2, 3), expected);
/// };
/// check(Baseline::Naive, [7.0, 7.0, 7.0]);
/// check(Baseline::SeasonalNaive, [3.0, 7.0, 3.0]);
/// check(Baseline::Drift, [8.2, 9.4, 10.6]);
/// check(Baseline::WindowMean, [4.5, 4.5, 4.5]);
/// check(Baseline::SeasonalMean, [2.0, 6.0, 2.0]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Baseline {
    /// The last value, repeated.
    Naive,
    /// The last season, repeated.
    SeasonalNaive,
    /// The line through the first and the last value, continued.
    Drift,
    /// The mean of the last two seasons, repeated.
    WindowMean,
    /// The mean of the last four values (fewer where there are fewer) at the
    /// same place in the season. Older ones are left out: levels drift, and an
    /// opponent should not be a weak one.
    SeasonalMean,
}

impl Baseline {
    /// Every method, in the order they are shown.
    pub const ALL: [Self; 5] = [
        Self::Naive,
        Self::SeasonalNaive,
        Self::Drift,
        Self::WindowMean,
        Self::SeasonalMean,
    ];

    /// The name in tables and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Naive => "naive",
            Self::SeasonalNaive => "seasonal_naive",
            Self::Drift => "drift",
            Self::WindowMean => "window_mean",
            Self::SeasonalMean => "seasonal_mean",
        }
    }

    /// Forecasts the `horizon` values after `history`, whose gaps are filled.
    ///
    /// `season` is the number of steps in a season, 1 (or 0) where there is
    /// none. A history shorter than one season makes the seasonal methods
    /// repeat the last value, one of a single value makes the drift 0, and an
    /// empty one gives NaN.
    pub fn forecast(self, history: &[f64], season: usize, horizon: usize) -> Vec<f64> {
        let Some((&last, earlier)) = history.split_last() else {
            return vec![f64::NAN; horizon];
        };
        let method = match self {
            Self::SeasonalNaive | Self::SeasonalMean if history.len() < season => Self::Naive,
            other => other,
        };
        let season = season.max(1);
        // Up to `seasons` values at the place of `step` in the season, newest first.
        let phase = |step: usize, seasons: usize| {
            let newest_first = history.iter().rev();
            newest_first
                .skip(season - 1 - step % season)
                .step_by(season)
                .take(seasons)
        };
        match method {
            Self::Naive => vec![last; horizon],
            Self::SeasonalNaive => (0..horizon).map(|step| mean(phase(step, 1))).collect(),
            Self::Drift => {
                let rise = match earlier.first() {
                    Some(first) => (last - first) / earlier.len() as f64,
                    None => 0.0,
                };
                (1..=horizon)
                    .map(|ahead| last + rise * ahead as f64)
                    .collect()
            }
            Self::WindowMean => {
                let window = season.saturating_mul(2);
                vec![mean(history.iter().rev().take(window)); horizon]
            }
            Self::SeasonalMean => (0..horizon).map(|step| mean(phase(step, 4))).collect(),
        }
    }
}

fn mean<'a>(values: impl Iterator<Item = &'a f64>) -> f64 {
    let (count, sum) = values.fold((0_usize, 0.0), |(count, sum), v| (count + 1, sum + v));
    sum / count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Tally;

    #[test]
    fn short_histories_degrade() {
        let check = |method: Baseline, history: &[f64], season, expected: [f64; 3]| {
            let got = method.forecast(history, season, 3);
            assert_eq!(got, expected, "{method:?} {history:?} season {season}");
        };
        for method in Baseline::ALL {
            check(method, &[4.0], 7, [4.0; 3]);
            check(method, &[4.0], 1, [4.0; 3]);
            check(method, &[4.0], usize::MAX, [4.0; 3]);
            check(method, &[2.0; 9], 4, [2.0; 3]);
            assert!(method.forecast(&[], 7, 2).iter().all(|v| v.is_nan()));
            assert!(method.forecast(&[1.0], 7, 0).is_empty());
            // No season and a season of one step are the same.
            let history = [3.0, 1.0, 4.0, 1.0, 5.0];
            let one = method.forecast(&history, 1, 3);
            check(method, &history, 0, [one[0], one[1], one[2]]);
        }
        let three = [1.0, 2.0, 6.0];
        check(Baseline::SeasonalNaive, &three, 4, [6.0; 3]);
        check(Baseline::SeasonalMean, &three, 4, [6.0; 3]);
        check(Baseline::WindowMean, &three, 4, [3.0; 3]);
        check(Baseline::SeasonalNaive, &three, 3, [1.0, 2.0, 6.0]);
        check(Baseline::SeasonalMean, &three, 2, [2.0, 3.5, 2.0]);
        check(Baseline::Drift, &three[1..], 4, [10.0, 14.0, 18.0]);
    }

    #[test]
    fn seasonal_mean_forgets_the_fifth_season() {
        let history = [100.0, 1.0, 2.0, 3.0, 4.0];
        assert_eq!(Baseline::SeasonalMean.forecast(&history, 1, 1), [2.5]);
    }

    /// Household energy, rolling origins of stride 1 over the last 182 days,
    /// horizon 7; figures recomputed with numpy. Gaps before an origin are
    /// filled from rows before it only.
    #[test]
    fn household_energy_figures() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../examples/data/household_energy.csv"
        );
        let mut reader = csv::Reader::from_path(path).unwrap();
        let series: Vec<f64> = reader
            .records()
            .map(|row| row.unwrap()[1].parse().unwrap_or(f64::NAN))
            .collect();
        assert_eq!(series.len(), 1440);

        let check = |fill: fn(&mut [f64]), method: Baseline, expected: f64| {
            let mut tally = Tally::new(7);
            for origin in series.len() - 182..=series.len() - 7 {
                let mut history = series[..origin].to_vec();
                fill(&mut history);
                let forecast = method.forecast(&history, 7, 7);
                tally.add_origin(&series[origin..], &forecast, &[]);
            }
            let mae = tally.scores(None).mae.unwrap();
            assert!((mae - expected).abs() < 5e-5, "{method:?}: {mae}");
        };
        check(interpolate, Baseline::Naive, 5.3210);
        check(interpolate, Baseline::SeasonalNaive, 5.6327);
        check(interpolate, Baseline::Drift, 5.3267);
        check(interpolate, Baseline::WindowMean, 4.7120);
        check(interpolate, Baseline::SeasonalMean, 5.4799);
        check(carry_forward, Baseline::Naive, 5.3210);
        check(carry_forward, Baseline::WindowMean, 4.6671);
    }

    fn carry_forward(values: &mut [f64]) {
        for t in 1..values.len() {
            if values[t].is_nan() {
                values[t] = values[t - 1];
            }
        }
    }

    fn interpolate(values: &mut [f64]) {
        let known: Vec<usize> = (0..values.len()).filter(|&t| !values[t].is_nan()).collect();
        for pair in known.windows(2) {
            let (a, b) = (pair[0], pair[1]);
            let slope = (values[b] - values[a]) / (b - a) as f64;
            for t in a + 1..b {
                values[t] = values[a] + slope * (t - a) as f64;
            }
        }
        // After the last known value there is nothing to interpolate to.
        carry_forward(values);
    }
}
