//! The arithmetic under the layers: run-time dispatch on the instruction set,
//! the matrix product, and a team of threads. The only module with `unsafe`.
//!
//! Every element of a product is one chain of sums in the order of `k`,
//! whatever the number of rows, so that a row has the same bits in any batch.
//! On AVX2 and AVX-512 each link of the chain is a fused multiply-add, elsewhere
//! a product and a sum: the bits of the two are the same, those of others may
//! differ.

#![allow(unsafe_code)]

mod aligned;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod compact;
#[cfg(debug_assertions)]
pub mod count;
mod dispatch;
mod ends;
mod factor;
mod lanes;
mod outer;
mod packed;
mod part;
mod parts;
mod product;
pub mod roof;
mod rows;
mod step;
#[cfg(target_arch = "x86_64")]
mod steps;
mod team;
mod tile;
mod vectors;

pub use compact::WholeRows;
pub use dispatch::{Dispatch, Task};
pub use factor::Factor;
pub use lanes::Lanes;
pub use outer::{Block, Outer};
pub use packed::{Matrix, Packed, PackedLeft};
pub use product::{product, product_from, product_scaled};
pub use rows::RowsMut;
pub use step::{STATES, SUMS, Step, StepBack, StepShape, UNITS, Update};
pub use team::Team;
pub use vectors::Vectors;
