//! The theory made visible.
pub mod check;
pub mod landscape;
pub mod norms;
pub mod overview;
pub mod render;
pub mod setup;
pub mod sketch;
pub mod subject;
pub mod torch;
pub mod trace;
pub use subject::Subject;
