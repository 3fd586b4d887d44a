//! The methods that a network has to beat.

mod naive;

pub use naive::Baseline;
