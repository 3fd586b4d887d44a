//! Times on a regular grid: how a table writes them, how far apart they are,
//! and what comes after the last one.

mod axis;
mod format;
mod frequency;
mod zone;

pub use axis::{CalendarPoint, TimeAxis};
pub(crate) use axis::{Misfit, Pace};
pub(crate) use format::{Reading, TimeFormat};
pub use frequency::{Frequency, Unit};
pub(crate) use zone::Zone;
