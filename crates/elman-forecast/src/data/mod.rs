//! From a file to a column on a regular grid of times.

pub mod gaps;
pub mod series;
pub mod table;
pub mod time;
