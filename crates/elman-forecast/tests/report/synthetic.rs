//! Outcomes for the report's tests: a series, forecast by the mean of its last
//! two seasons.

use elman_forecast::outcome::*;

/// A series and how it is forecast.
pub struct Case {
    pub target: &'static str,
    pub frequency: &'static str,
    pub season: usize,
    pub horizon: usize,
    pub test_rows: usize,
    pub history: Vec<Observation>,
    /// The times after the history.
    pub future: Vec<String>,
}

impl Case {
    /// A weekly wave of `rows` days around a level, the `i`-th value missing
    /// where `missing(i)`.
    pub fn wave(rows: usize, horizon: usize, size: f64, missing: impl Fn(usize) -> bool) -> Self {
        let value = |i: usize| {
            let x = i as f64;
            size * (20.0 + 6.0 * (x * std::f64::consts::TAU / 7.0).sin() + (x * x * 0.37).sin())
        };
        Self {
            target: "kwh",
            frequency: "daily",
            season: 7,
            horizon,
            test_rows: rows / 5,
            history: (0..rows)
                .map(|i| Observation {
                    time: day(i),
                    value: (!missing(i)).then(|| value(i)),
                })
                .collect(),
            future: (rows..rows + horizon).map(day).collect(),
        }
    }

    pub fn outcome(&self) -> Outcome {
        let len = self.history.len();
        let first_test = len - self.test_rows.min(len);
        let calibration = first_test - self.test_rows.min(first_test);
        let residuals = self.residuals(calibration..first_test);
        let test_origins = first_test..(len + 1).saturating_sub(self.horizon).max(first_test);
        let origins: Vec<Origin> = test_origins
            .map(|first| Origin {
                first,
                rows: self.rows(first, &residuals),
                truth: self.truth(first),
            })
            .collect();
        let methods = self.methods(&origins);
        let part = |name: &str, from: usize, to: usize| Split {
            name: name.to_owned(),
            rows: to - from,
            from: self.time(from),
            to: self.time(to.saturating_sub(1).max(from)),
        };
        Outcome {
            target: self.target.to_owned(),
            frequency: self.frequency.to_owned(),
            horizon: self.horizon,
            season: self.season,
            model: "GRU of 2 layers, 32 units, look-back 28, direct, 3 networks".to_owned(),
            seed: 42,
            facts: vec![
                fact("rows", &len.to_string()),
                fact(
                    "time",
                    &format!(
                        "date, {}, {} to {}",
                        self.frequency,
                        self.time(0),
                        self.time(len.saturating_sub(1))
                    ),
                ),
                fact(
                    "missing",
                    &self
                        .history
                        .iter()
                        .filter(|o| o.value.is_none())
                        .count()
                        .to_string(),
                ),
            ],
            choices: vec![
                choice("--look-back", "28", "four seasons of 7 days"),
                choice(
                    "--cell",
                    "gru",
                    "the default: fewer parameters than lstm at the same error on short tables",
                ),
                choice("--horizon", &self.horizon.to_string(), "given"),
                choice(
                    "--gaps",
                    "interpolate",
                    "the default; always from rows before an origin",
                ),
            ],
            splits: vec![
                part("train", 0, calibration - calibration / 10),
                part(
                    "early stopping",
                    calibration - calibration / 10,
                    calibration,
                ),
                part("calibration", calibration, first_test),
                part("test", first_test, len),
            ],
            ignored: vec!["volt_mean".to_owned(), "ampere_mean".to_owned()],
            notes: vec!["2 gaps were filled by interpolation; the longest is 5 days.".to_owned()],
            training: ["backtest", "final"].map(curve).into(),
            verdict: "elman is better than the best simple method, the mean of the last two \
                      seasons, by 4 % (MAE) on the test part: use it."
                .to_owned(),
            forecast: self.rows(len, &residuals),
            history: self.history.clone(),
            backtest: Backtest { methods, origins },
            interrupted: false,
        }
    }

    fn time(&self, i: usize) -> String {
        self.history
            .get(i)
            .map(|o| o.time.clone())
            .unwrap_or_default()
    }

    /// The value of every step ahead from the rows before `first`.
    fn predict(&self, first: usize) -> Vec<f64> {
        let known: Vec<f64> = self.history[..first]
            .iter()
            .filter_map(|o| o.value)
            .collect();
        let window = &known[known.len().saturating_sub(2 * self.season)..];
        let mean = window.iter().sum::<f64>() / window.len().max(1) as f64;
        let tilt = |k: usize| {
            let same_day = (first + k).checked_sub(self.season * (k / self.season + 1));
            let value = same_day.and_then(|i| self.history.get(i)?.value);
            value.map_or(0.0, |v| 0.3 * (v - mean))
        };
        (0..self.horizon).map(|k| mean + tilt(k)).collect()
    }

    fn truth(&self, first: usize) -> Vec<Option<f64>> {
        (first..first + self.horizon)
            .map(|i| self.history.get(i)?.value)
            .collect()
    }

    /// Absolute residuals of each step ahead, sorted.
    fn residuals(&self, origins: std::ops::Range<usize>) -> Vec<Vec<f64>> {
        let mut by_step = vec![Vec::new(); self.horizon];
        for first in origins {
            let pairs = self.predict(first).into_iter().zip(self.truth(first));
            for (step, (value, truth)) in by_step.iter_mut().zip(pairs) {
                step.extend(truth.map(|t| (t - value).abs()));
            }
        }
        for step in &mut by_step {
            step.sort_by(f64::total_cmp);
        }
        by_step
    }

    fn rows(&self, first: usize, residuals: &[Vec<f64>]) -> Vec<ForecastRow> {
        self.predict(first)
            .into_iter()
            .enumerate()
            .map(|(k, value)| {
                let half = |level: f64| {
                    let sorted = &residuals[k];
                    sorted.get((level * sorted.len() as f64) as usize).copied()
                };
                let future = self
                    .future
                    .get((first + k).wrapping_sub(self.history.len()));
                ForecastRow {
                    time: future.cloned().unwrap_or_else(|| self.time(first + k)),
                    value,
                    lo_80: half(0.8).map(|h| value - h),
                    hi_80: half(0.8).map(|h| value + h),
                    lo_95: half(0.95).map(|h| value - h),
                    hi_95: half(0.95).map(|h| value + h),
                }
            })
            .collect()
    }

    fn methods(&self, origins: &[Origin]) -> Vec<MethodScore> {
        let mean = |values: &[f64]| {
            (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
        };
        let mut by_step = vec![Vec::new(); self.horizon];
        let (mut in_80, mut in_95) = (Vec::new(), Vec::new());
        for origin in origins {
            for (k, (row, truth)) in origin.rows.iter().zip(&origin.truth).enumerate() {
                let Some(truth) = truth else { continue };
                by_step[k].push((truth - row.value).abs());
                let inside = |lo: Option<f64>, hi: Option<f64>| {
                    Some(f64::from(u8::from((lo?..=hi?).contains(truth))))
                };
                in_80.extend(inside(row.lo_80, row.hi_80));
                in_95.extend(inside(row.lo_95, row.hi_95));
            }
        }
        let all: Vec<f64> = by_step.iter().flatten().copied().collect();
        let squares: Vec<f64> = all.iter().map(|e| e * e).collect();
        let mae = mean(&all);
        [
            ("elman", 1.0),
            ("naive", 1.36),
            ("seasonal_naive", 1.29),
            ("drift", 1.37),
            ("window_mean", 1.06),
            ("seasonal_mean", 1.19),
            ("ridge", 1.04),
        ]
        .map(|(name, factor)| {
            let of_elman = |share: &[f64]| mean(share).filter(|_| name == "elman");
            MethodScore {
                name: name.to_owned(),
                scores: Scores {
                    mae: mae.map(|e| e * factor),
                    rmse: mean(&squares).map(|e| e.sqrt() * factor),
                    smape: mae.map(|_| 22.4 * factor),
                    mase: mae.map(|_| 0.71 * factor),
                    coverage_80: of_elman(&in_80),
                    coverage_95: of_elman(&in_95),
                },
                mae_by_step: by_step
                    .iter()
                    .enumerate()
                    .map(|(k, errors)| {
                        let grows = 1.0 + (factor - 1.0) * (k as f64 / self.horizon as f64);
                        mean(errors).map(|e| e * factor * grows)
                    })
                    .collect(),
            }
        })
        .into()
    }
}

/// The `i`-th day from 2019-01-01, in a calendar whose months have 28 days.
pub fn day(i: usize) -> String {
    let (year, month, day) = (2019 + i / 336, i / 28 % 12 + 1, i % 28 + 1);
    format!("{year}-{month:02}-{day:02}")
}

fn curve(name: &str) -> LossCurve {
    let loss = |base: f64, noise: f64| -> Vec<f64> {
        (0..40)
            .map(f64::from)
            .map(|e| base + 0.6 * (-e / 6.0).exp() + noise * (e * 1.7).sin())
            .collect()
    };
    LossCurve {
        name: name.to_owned(),
        train: loss(0.31, 0.004),
        valid: loss(0.38, 0.012),
        best: 30,
    }
}

fn fact(label: &str, value: &str) -> Fact {
    Fact {
        label: label.to_owned(),
        value: value.to_owned(),
    }
}

fn choice(flag: &str, value: &str, why: &str) -> Choice {
    Choice {
        flag: flag.to_owned(),
        value: value.to_owned(),
        why: why.to_owned(),
    }
}
