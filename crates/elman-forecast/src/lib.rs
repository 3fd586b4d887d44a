//! Time series forecasting with recurrent networks.

pub mod baseline;
pub mod conformal;
pub mod error;
pub mod gaps;
pub mod metrics;
pub mod options;
pub mod outcome;
pub mod report;
pub mod series;
pub mod table;
pub mod time;
pub mod verdict;

pub use error::{Error, Result};
