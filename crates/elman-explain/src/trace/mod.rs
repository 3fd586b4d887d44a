//! and what they were computed from.

mod backward;
pub mod document;
mod forward;
pub mod graph;
mod hold;

pub use backward::{Step, backward};
pub use document::Trace;
pub use forward::{Forward, forward};
pub use hold::hold;

use crate::subject::Subject;
use elman::Result;

/// The training step of a subject, forward, back and update, held against the
/// engine.
///
/// # Errors
/// What [`Subject::check`] and the engine refuse.
pub fn step(subject: &Subject) -> Result<Step> {
    subject.check()?;
    let step = backward(forward(subject)?, subject.lr);
    hold(subject, &step)?;
    Ok(step)
}
