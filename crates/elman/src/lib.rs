//! Recurrent neural networks with PyTorch's names, shapes and numbers.

pub mod error;
pub mod float;

pub use error::{Error, Result};
pub use float::Float;
pub use ndarray;
