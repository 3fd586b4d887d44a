//! A trace as one self-contained page.

use crate::trace::Trace;

/// The page.
pub fn html(trace: &Trace) -> String {
    serde_json::to_string(trace).unwrap_or_default()
}
