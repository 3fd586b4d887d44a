//! A trace as text, as JSON and as a page. Nothing is computed here.

pub mod page;
pub mod terminal;
