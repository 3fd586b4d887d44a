//! Recurrent neural networks with PyTorch's names, shapes and numbers.

pub mod cell;
pub mod error;
pub mod float;
pub mod kernel;
pub mod layer;
pub mod loss;
pub mod network;
pub mod optim;
pub mod params;
pub mod rng;
pub mod run;
pub mod train;
pub mod weights;

pub use error::{Error, Result};
pub use float::Float;
pub use ndarray;
