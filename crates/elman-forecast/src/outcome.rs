//! What a forecast run returns: everything that the terminal, the JSON object,
//! the CSV file and the report show. No one downstream computes anything.

use serde::Serialize;

/// The result of one `forecast` run.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// The forecast column.
    pub target: String,
    /// The frequency in words: `daily`, `hourly`, `every 15 minutes`, `monthly`.
    pub frequency: String,
    /// Steps forecast ahead.
    pub horizon: usize,
    /// Steps of one season (7 for daily data); 1 where there is none.
    pub season: usize,
    /// The model in one line: cell, sizes, look-back, strategy, members.
    pub model: String,
    /// The seed that every random number came from.
    pub seed: u64,
    /// What was found in the table, in reading order.
    pub facts: Vec<Fact>,
    /// Every setting the run used, and why it has its value.
    pub choices: Vec<Choice>,
    /// How the rows were divided.
    pub splits: Vec<Split>,
    /// Columns of the table that no flag names.
    pub ignored: Vec<String>,
    /// Warnings and remarks, each a sentence.
    pub notes: Vec<String>,
    /// The series as it was read, one entry a step; missing values are `None`.
    pub history: Vec<Observation>,
    /// One loss curve a trained network.
    pub training: Vec<LossCurve>,
    /// The scores on the test part.
    pub backtest: Backtest,
    /// The verdict in plain words.
    pub verdict: String,
    /// The forecast after the last row, `horizon` rows.
    pub forecast: Vec<ForecastRow>,
    /// True where the user stopped the training; the network so far was kept, and a
    /// note says which.
    pub interrupted: bool,
}

/// One line of the data summary.
#[derive(Debug, Clone, Serialize)]
pub struct Fact {
    /// What it is: `rows`, `time`, `missing`.
    pub label: String,
    /// Its value in words.
    pub value: String,
}

/// A setting, where it can be changed, and why it has its value.
#[derive(Debug, Clone, Serialize)]
pub struct Choice {
    /// The flag: `--look-back`.
    pub flag: String,
    /// The value used.
    pub value: String,
    /// `given`, or the reason of the default.
    pub why: String,
}

/// A part of the rows.
#[derive(Debug, Clone, Serialize)]
pub struct Split {
    /// `train`, `early stopping`, `calibration`, `test`.
    pub name: String,
    /// Number of rows.
    pub rows: usize,
    /// Time of the first row, as in the table.
    pub from: String,
    /// Time of the last row, as in the table.
    pub to: String,
}

/// One step of the history.
#[derive(Debug, Clone, Serialize)]
pub struct Observation {
    /// Time as in the table.
    pub time: String,
    /// The value, `None` where missing.
    pub value: Option<f64>,
}

/// The losses of one trained network.
#[derive(Debug, Clone, Serialize)]
pub struct LossCurve {
    /// Which network: `backtest`, `final`.
    pub name: String,
    /// Mean training loss of each epoch.
    pub train: Vec<f64>,
    /// Validation loss of each epoch; empty where there was no validation part.
    pub valid: Vec<f64>,
    /// The epoch whose network was kept, counted from 0.
    pub best: usize,
}

/// Rolling-origin backtest on the test part.
#[derive(Debug, Clone, Serialize)]
pub struct Backtest {
    /// Every method, `elman` first, in the order they are shown.
    pub methods: Vec<MethodScore>,
    /// The forecasts of `elman` from every origin, in order of time.
    pub origins: Vec<Origin>,
}

/// The scores of one method.
#[derive(Debug, Clone, Serialize)]
pub struct MethodScore {
    /// `elman`, `naive`, `seasonal_naive`, `drift`, `window_mean`,
    /// `seasonal_mean`, `ridge`.
    pub name: String,
    /// Over all origins and steps.
    pub scores: Scores,
    /// Mean absolute error of each step ahead, `horizon` entries.
    pub mae_by_step: Vec<Option<f64>>,
}

/// Errors of a method; `None` where undefined.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Scores {
    /// Mean absolute error.
    pub mae: Option<f64>,
    /// Root of the mean squared error.
    pub rmse: Option<f64>,
    /// Symmetric mean absolute percentage error, 0 to 200.
    pub smape: Option<f64>,
    /// Mean absolute scaled error: MAE over the in-sample error of the
    /// seasonal naive method.
    pub mase: Option<f64>,
    /// Share of truths inside the 80 % interval, 0 to 1.
    pub coverage_80: Option<f64>,
    /// Share of truths inside the 95 % interval, 0 to 1.
    pub coverage_95: Option<f64>,
}

/// The forecast made at one origin of the backtest.
#[derive(Debug, Clone, Serialize)]
pub struct Origin {
    /// Index into `Outcome::history` of the first step forecast; the newest
    /// value known is the one before it.
    pub first: usize,
    /// One row a step ahead.
    pub rows: Vec<ForecastRow>,
    /// The truth of each step; `None` where missing.
    pub truth: Vec<Option<f64>>,
}

/// One forecast step with its intervals; bounds are `None` where there were
/// too few residuals to calibrate them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ForecastRow {
    /// Time as in the table.
    pub time: String,
    /// The forecast.
    pub value: f64,
    /// Lower end of the 80 % interval.
    pub lo_80: Option<f64>,
    /// Upper end of the 80 % interval.
    pub hi_80: Option<f64>,
    /// Lower end of the 95 % interval.
    pub lo_95: Option<f64>,
    /// Upper end of the 95 % interval.
    pub hi_95: Option<f64>,
}
