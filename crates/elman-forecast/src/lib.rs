//! Time series forecasting with recurrent networks.

pub mod baseline;
pub mod conformal;
pub mod error;
pub mod metrics;
pub mod options;
pub mod gaps;
pub mod outcome;
pub mod report;
pub mod verdict;
pub mod series;
pub mod table;
pub mod time;

pub use error::{Error, Result};
