//! Optimisers, gradient clipping and learning-rate schedules with PyTorch's
//! meaning, over flat slices of parameters and gradients.
//!
//! ```
//! use elman::optim::{AdamW, Optimizer, Schedule, clip_grad_norm};
//!
//! let mut params = [1.0_f64, -2.0];
//! let mut optimizer = Optimizer::AdamW(AdamW::default()).start(params.len())?;
//! let mut schedule = Schedule::Constant.start(0.1)?;
//! for _ in 0..100 {
//!     let mut grads = params.map(|w| 2.0 * w); // of w^2
//!     clip_grad_norm(&mut grads, 1.0)?;
//!     optimizer.step(&mut params, &grads, schedule.lr())?;
//!     schedule.step();
//! }
//! assert!(params.iter().all(|w| w.abs() < 0.05));
//! # Ok::<(), elman::Error>(())
//! ```

mod adam;
mod clip;
mod rmsprop;
mod schedule;
mod sgd;
mod state;
#[cfg(test)]
mod tests;

pub use adam::{Adam, AdamW};
pub use clip::{clip_grad_norm, clip_grad_value};
pub(crate) use clip::{clip_scale, square_sum};
pub use rmsprop::RmsProp;
pub use schedule::{Cosine, Plateau, Position, Schedule, Scheduler, StepLr};
pub use sgd::Sgd;
pub use state::{Optimizer, OptimizerState};
pub(crate) use state::{is_one_part, split};

use crate::Result;
use crate::error::expect;

/// Refuses what is not finite or below 0.
fn not_negative(name: &str, x: f64) -> Result<()> {
    let ok = x >= 0.0 && x.is_finite();
    expect(ok, name, "a finite number of at least 0", x)
}

/// Refuses what is outside `[0, 1)`.
fn decay(name: &str, x: f64) -> Result<()> {
    let ok = (0.0..1.0).contains(&x);
    expect(ok, name, "a number of at least 0 and below 1", x)
}

/// b^t by repeated squaring: the system's `pow` may differ between machines.
fn power(b: f64, t: u64) -> f64 {
    num_traits::pow(b, usize::try_from(t).unwrap_or(usize::MAX))
}
