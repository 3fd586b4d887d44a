//! How good a forecast is, and compared to what.

pub mod backtest;
pub mod baseline;
pub mod conformal;
pub mod metrics;
pub mod verdict;
