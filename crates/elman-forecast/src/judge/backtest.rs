//! Rolling origins: every method forecasts from every origin of the test part,
//! with what is known there and nothing else.

use crate::Result;
use crate::baseline::{Baseline, Ridge};
use crate::conformal::{Bands, Intervals};
use crate::learner::Learned;
use crate::metrics::{Tally, seasonal_scale};
use crate::outcome::{Choice, ForecastRow, MethodScore, Origin};
use crate::plan::{Parts, Plan};
use crate::time::TimeAxis;
use crate::windows::{Prepared, Scale, Shape, Windows};
use elman::ndarray::{Array2, s};

/// A method at work.
#[derive(Debug)]
pub enum Method<'a> {
    /// The trained networks.
    Elman(&'a Learned),
    /// A naive method.
    Naive(Baseline),
    /// Ridge regression on the same windows and calendar inputs.
    Ridge(&'a Linear),
}

impl Method<'_> {
    /// The name it is reported under.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Elman(_) => "elman",
            Self::Naive(baseline) => baseline.name(),
            Self::Ridge(_) => "ridge",
        }
    }

    fn forecast(
        &self,
        plan: &Plan,
        prepared: &Prepared,
        origins: &[usize],
    ) -> Result<Vec<Vec<f64>>> {
        match self {
            Self::Elman(learned) => learned.forecast(plan, prepared, origins),
            Self::Ridge(linear) => linear.forecast(plan, prepared, origins),
            Self::Naive(baseline) => Ok(origins
                .iter()
                .map(|o| {
                    let history = prepared.history(*o);
                    baseline.forecast(&history, plan.season, plan.horizon)
                })
                .collect()),
        }
    }
}

/// Ridge regression of all steps on the window and the calendar.
#[derive(Debug)]
pub struct Linear {
    ridge: Ridge,
    penalty: f64,
    /// False where there were too few windows to choose by.
    chosen: bool,
    scale: Scale,
}

/// The penalty where there is nothing to choose it by.
const DEFAULT_PENALTY: f64 = 100.0;

impl Linear {
    /// Fits on the rows before the calibration part. The penalty is the one
    /// with the least error on the last quarter of their windows, fitted on
    /// those that end before it.
    ///
    /// # Errors
    /// Where nothing can be fitted.
    pub fn fit(plan: &Plan, prepared: &Prepared, parts: &Parts, scale: Scale) -> Result<Self> {
        let (look_back, horizon) = (plan.shape.look_back, plan.horizon);
        let rows = parts.train.start..parts.calibration.start;
        let (x, y) = table(
            plan,
            prepared,
            scale,
            Parts::windows(&rows, look_back, horizon),
        );
        let valid = x.nrows() / 4;
        let train = x.nrows().saturating_sub(valid + horizon - 1);
        let chosen = if valid == 0 || train == 0 {
            None
        } else {
            let first = s![..train, ..];
            let last = s![x.nrows() - valid.., ..];
            let (x_train, y_train) = (x.slice(first), y.slice(first));
            let (x_valid, y_valid) = (x.slice(last), y.slice(last));
            Ridge::choose(x_train, y_train, x_valid, y_valid, &Ridge::PENALTIES).ok()
        };
        let (penalty, chosen) = match chosen {
            Some((_, penalty)) => (penalty, true),
            None => (DEFAULT_PENALTY, false),
        };
        Ok(Self {
            ridge: Ridge::fit(x.view(), y.view(), penalty)?,
            penalty,
            chosen,
            scale,
        })
    }

    /// The penalty and where it comes from, as a setting.
    pub fn choice(&self) -> Choice {
        Choice {
            flag: "penalty of ridge".into(),
            value: self.penalty.to_string(),
            why: if self.chosen {
                "least error on the last quarter of its training windows".into()
            } else {
                "default: too few windows to choose it by".into()
            },
        }
    }

    fn forecast(
        &self,
        plan: &Plan,
        prepared: &Prepared,
        origins: &[usize],
    ) -> Result<Vec<Vec<f64>>> {
        let windows = direct(plan, prepared, self.scale, origins.to_vec());
        (0..origins.len())
            .map(|i| {
                let outputs = self.ridge.predict(&windows.regression(i).0)?;
                Ok(windows.unscale(i, outputs.into_iter()))
            })
            .collect()
    }
}

/// Windows that forecast the whole horizon at once, whatever the strategy.
fn direct<'a>(
    plan: &Plan,
    prepared: &'a Prepared,
    scale: Scale,
    origins: Vec<usize>,
) -> Windows<'a> {
    let shape = Shape {
        steps: plan.horizon,
        ..plan.shape
    };
    Windows::new(prepared, shape, scale, origins)
}

/// The regression's inputs (windows, features) and targets (windows, horizon).
fn table(
    plan: &Plan,
    prepared: &Prepared,
    scale: Scale,
    origins: Vec<usize>,
) -> (Array2<f64>, Array2<f64>) {
    let rows = origins.len();
    let windows = direct(plan, prepared, scale, origins);
    let mut x = Array2::zeros((rows, plan.shape.beside(&plan.calendar)));
    let mut y = Array2::zeros((rows, plan.horizon));
    for i in 0..rows {
        let (inputs, targets) = windows.regression(i);
        x.row_mut(i)
            .iter_mut()
            .zip(inputs)
            .for_each(|(x, v)| *x = v);
        y.row_mut(i)
            .iter_mut()
            .zip(targets)
            .for_each(|(y, v)| *y = v);
    }
    (x, y)
}

/// What the backtest found of one method.
#[derive(Debug)]
pub struct Tested {
    /// Its scores on the test part.
    pub scores: MethodScore,
    /// Its intervals, calibrated before the test part.
    pub bands: Bands,
    /// Its forecasts on the test part.
    pub origins: Vec<Origin>,
}

/// Calibrates a method's intervals on the calibration part, and scores it on
/// the test part. A missing truth is not scored.
///
/// # Errors
/// Where a forecast fails.
pub fn test(
    method: &Method<'_>,
    plan: &Plan,
    prepared: &Prepared,
    parts: &Parts,
    axis: &TimeAxis,
) -> Result<Tested> {
    let horizon = plan.horizon;
    let calibration = Parts::origins(&parts.calibration, horizon);
    let mut residuals = vec![Vec::new(); horizon];
    let forecasts = method.forecast(plan, prepared, &calibration)?;
    for (origin, forecast) in calibration.iter().zip(forecasts) {
        let truth = prepared.truth(*origin..origin + horizon);
        for ((residuals, truth), forecast) in residuals.iter_mut().zip(truth).zip(forecast) {
            residuals.push(truth - forecast);
        }
    }
    let bands = Bands::calibrate(&residuals);

    let before = prepared.truth(0..parts.test.start);
    let scale = seasonal_scale(&before, plan.season);
    let test = Parts::origins(&parts.test, horizon);
    let forecasts = method.forecast(plan, prepared, &test)?;
    let mut tally = Tally::new(horizon);
    let mut origins = Vec::with_capacity(test.len());
    for (origin, forecast) in test.iter().zip(forecasts) {
        let truth = prepared.truth(*origin..origin + horizon);
        let intervals = intervals(&bands, &forecast);
        tally.add_origin(&truth, &forecast, &intervals);
        origins.push(Origin {
            first: *origin,
            rows: rows(axis, *origin, &forecast, &intervals),
            truth: truth.iter().map(|v| (!v.is_nan()).then_some(*v)).collect(),
        });
    }
    Ok(Tested {
        scores: tally.method(method.name(), scale),
        bands,
        origins,
    })
}

/// The intervals of every step.
pub fn intervals(bands: &Bands, forecast: &[f64]) -> Vec<Intervals> {
    let steps = forecast.iter().enumerate();
    steps.map(|(k, value)| bands.apply(k, *value)).collect()
}

/// The rows of a forecast from an origin.
pub fn rows(
    axis: &TimeAxis,
    origin: usize,
    forecast: &[f64],
    intervals: &[Intervals],
) -> Vec<ForecastRow> {
    let steps = forecast.iter().zip(intervals).enumerate();
    steps
        .map(|(k, (value, intervals))| ForecastRow {
            time: axis.label(origin + k),
            value: *value,
            lo_80: intervals.at_80.map(|i| i.lo),
            hi_80: intervals.at_80.map(|i| i.hi),
            lo_95: intervals.at_95.map(|i| i.lo),
            hi_95: intervals.at_95.map(|i| i.hi),
        })
        .collect()
}
