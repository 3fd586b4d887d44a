//! Checkpointing over time.

use super::Stack;
use crate::{Error, Result};

impl<C> Stack<C> {
    /// Refuses a stack that cannot run over a sequence part by part.
    pub(crate) fn check_cut(&self) -> Result<()> {
        if self.num_directions() == 1 {
            return Ok(());
        }
        Err(Error::option(
            "a bidirectional stack cannot be cut in time: its reverse direction begins at the end of the sequence",
        ))
    }
}
