//! Time series forecasting with recurrent networks.
//!
//! | module | what it is |
//! |---|---|
//! | [`table`], [`time`], [`series`], [`gaps`] | CSV in, a column on a regular grid, missing values |
//! | [`options`], [`plan`], [`calendar`] | what was asked, what is run and why, what the calendar tells |
//! | [`windows`], [`learner`], [`model`] | examples, training and forecasting, the forecaster in a file |
//! | [`baseline`], [`metrics`], [`conformal`], [`backtest`], [`verdict`] | how good it is, and compared to what |
//! | [`forecast`](mod@forecast), [`outcome`], [`report`] | the whole run, its result as data, the page |
//!
//! Start with [`forecast()`].

pub mod backtest;
pub mod baseline;
pub mod calendar;
pub mod conformal;
pub mod error;
pub mod forecast;
pub mod gaps;
pub mod learner;
pub mod metrics;
pub mod model;
pub mod options;
pub mod outcome;
pub mod plan;
pub mod report;
pub mod series;
pub mod table;
pub mod time;
pub mod verdict;
pub mod windows;

pub use error::{Error, Result};
pub use forecast::forecast;
