//! Time series forecasting with recurrent networks.

pub mod baseline;
pub mod conformal;
pub mod error;
pub mod metrics;
pub mod options;
pub mod outcome;
pub mod verdict;
pub mod report;

pub use error::{Error, Result};
