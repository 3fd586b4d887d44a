//! Time series forecasting with recurrent networks.

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
