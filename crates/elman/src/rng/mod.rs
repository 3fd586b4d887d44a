//! Random numbers: PyTorch's generator for initial values, a counter-based
//! one for everything else.

mod counter;
mod torch;

pub use counter::{Key, Purpose, Stream};
pub use torch::TorchRng;
