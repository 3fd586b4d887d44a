//! The methods that a network has to beat.
//!
//! [`Baseline`] are the naive ones: no parameters, nothing to train.
//! [`Ridge`] is linear regression on the features that the network sees.

mod naive;
mod ridge;

pub use naive::Baseline;
pub use ridge::Ridge;
