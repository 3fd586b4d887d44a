//! and what they were computed from.

mod backward;
pub mod document;
mod forward;
pub mod graph;
mod hold;
mod shapes;

pub(crate) use backward::enters;
pub use backward::{Step, backward};
pub use document::Trace;
pub use forward::{Forward, Named, forward, outline};
pub use hold::hold;
pub use shapes::Tensor;

use crate::subject::Subject;
use document::READABLE;
use elman::Result;

/// The tensors of a subject as PyTorch has them: no number is computed, and the
/// subject needs no parameters.
///
/// # Errors
/// What [`Subject::check`] refuses.
pub fn shapes(subject: &Subject) -> Result<Vec<Tensor>> {
    subject.check()?;
    shapes::shapes(subject, &outline(subject)?)
}

/// The training step of a subject, forward, back and update, held against the
/// engine. Where the forward pass alone has more than [`READABLE`] numbers, the
/// gradients of parameters and the update are left out.
///
/// # Errors
/// What [`Subject::check`] and the engine refuse.
pub fn step(subject: &Subject) -> Result<Step> {
    subject.check()?;
    let forward = forward(subject)?;
    let lean = forward.graph.numbers() > READABLE;
    let step = backward(forward, subject.lr, lean);
    hold(subject, &step)?;
    Ok(step)
}
