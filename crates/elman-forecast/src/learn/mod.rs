//! From a column to trained networks: what is chosen, what they see, how they
//! are trained, and the file they are kept in.

pub mod calendar;
pub mod learner;
pub mod model;
pub mod plan;
pub mod windows;
