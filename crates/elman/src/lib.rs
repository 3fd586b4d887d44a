//! Recurrent neural networks with PyTorch's names, shapes and numbers.
//!
//! | module | what it is |
//! |---|---|
//! | [`float`], [`error`], [`rng`], [`params`] | numbers, errors, random numbers, parameters |
//! | [`kernel`] | products, vectors, threads; the only module with `unsafe` |
//! | [`cell`] | one step of rnn, gru, lstm, forward and backward |
//! | [`layer`] | stacks, ragged batches, states, the linear map |
//! | [`loss`], [`optim`] | losses, optimisers, clipping, schedules |
//! | [`network`] | models as structs of layers |
//! | [`weights`], [`run`] | model files; arrays in, arrays out |
//! | [`train`] | the training loop |
//!
//! A module uses those above it, never those below. Start with
//! [`layer::Recurrent`] for one layer, [`network`] and [`train::fit`] to train.

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
pub use kernel::Team;
pub use kernel::roof;
pub use ndarray;

/// The examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
mod readme {}
