//! Ctrl-C: the first asks the training to stop and keep its best network, the
//! second quits at once.

use crate::failure::Failure;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The exit code of a program ended by Ctrl-C.
const QUIT: i32 = 130;

/// Whether Ctrl-C was pressed.
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Starts to listen; `first` is called when Ctrl-C is pressed first.
    pub fn listen(first: impl Fn() + Send + 'static) -> Result<Self, Failure> {
        let pressed = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&pressed);
        ctrlc::set_handler(move || {
            if seen.swap(true, Ordering::SeqCst) {
                std::process::exit(QUIT);
            }
            first();
        })
        .map_err(|e| Failure::Work(format!("Ctrl-C cannot be caught: {e}")))?;
        Ok(Self(pressed))
    }

    pub fn pressed(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
