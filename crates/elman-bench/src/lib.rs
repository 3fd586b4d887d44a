//! How fast the engine is, in seconds, in floating-point operations a second,
//! and as a share of what this machine can do at most.
//!
//! | module | what it is |
//! |---|---|
//! | [`case`] | what is measured: the grid, sizes of anyone's own, their operations |
//! | [`roof`] | the most that the machine does: multiply-adds, bytes, hand-overs |
//! | [`measure`] | the runs of a case, their median, the report |
//!
//! ```
//! use elman::cell::CellKind;
//! use elman_bench::case::{Case, Mode, Sizes};
//! use elman_bench::measure::{Options, measure};
//!
//! let sizes = Sizes { seq_len: 3, batch: 2, input_size: 4, hidden_size: 8, layers: 1, bidirectional: false };
//! let case = Case::new(CellKind::Gru, Mode::Train, sizes)?;
//! let options = Options { runs: Some(3), ..Options::default() };
//! let measured = measure(&case, &options, 1e11)?;
//! assert_eq!((measured.runs, measured.flops), (3, 3.0 * 2.0 * 6.0 * 3.0 * 8.0 * 12.0));
//! # Ok::<(), elman::Error>(())
//! ```

pub mod case;
mod engine;
mod language;
pub mod measure;
mod recurrent;
pub mod roof;

pub use elman::{Error, Result};
