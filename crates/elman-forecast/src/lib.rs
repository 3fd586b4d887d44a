//! Time series forecasting with recurrent networks.
//!
//! | modules | what they are |
//! |---|---|
//! | [`table`], [`time`], [`series`], [`gaps`] | CSV in, a column on a regular grid, missing values |
//! | [`options`], [`plan`], [`calendar`] | what was asked, what is run and why, what the calendar tells |
//! | [`windows`], [`learner`], [`model`] | examples, training and forecasting, the forecaster in a file |
//! | [`baseline`], [`metrics`], [`conformal`], [`backtest`], [`verdict`] | how good it is, and compared to what |
//! | [`forecast`](mod@forecast), [`outcome`], [`report`] | the whole run, its result as data, the page |
//!
//! Start with [`forecast()`].

mod data;
pub mod error;
pub mod forecast;
mod judge;
mod learn;
pub mod options;
pub mod outcome;
pub mod report;

pub use data::{gaps, series, table, time};
pub use error::{Error, Result};
pub use forecast::forecast;
pub use judge::{backtest, baseline, conformal, metrics, verdict};
pub use learn::{calendar, learner, model, plan, windows};
