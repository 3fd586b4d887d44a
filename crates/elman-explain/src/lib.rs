//! The theory made visible: one training step of a recurrent network, number by
//! number.
//!
//! | module | what it is |
//! |---|---|
//! | [`setup`], [`numbers`], `checkpoint`, [`subject`] | what is asked for; what PyTorch has saved; a network with one sequence and its target |
//! | [`trace`] | every value with its formula, its numbers and its operands |
//! | [`check`], [`norms`], [`overview`] | finite differences, verdicts, heat maps |
//! | [`figures`] | formulas of what these say |
//! | [`landscape`], [`sketch`], [`torch`] | recorded descent, the drawing, PyTorch code |
//! | [`words`], [`text`] | sentences in two languages; numbers as they are written |
//! | [`progress`] | how far the work is |
//! | [`render`] | terminal and page; JSON is the [`Trace`](trace::Trace) itself |
//!
//! ```
//! use elman_explain::setup::Request;
//! use elman_explain::trace::Trace;
//!
//! let trace = Trace::new(&Request::default().subject()?)?;
//! let h = trace.values.iter().find(|v| v.symbol == "h^1").unwrap();
//! assert_eq!((h.shape, h.formula.as_str()), ([1, 2], "tanh(a^1)"));
//! assert!(trace.check.unwrap().largest < 1e-6);
//! # Ok::<(), elman::Error>(())
//! ```

pub mod check;
mod checkpoint;
pub mod figures;
pub mod landscape;
pub mod norms;
pub mod numbers;
pub mod overview;
pub mod progress;
pub mod render;
pub mod setup;
pub mod sketch;
pub mod subject;
pub mod text;
pub mod torch;
pub mod trace;
pub mod words;
pub use subject::Subject;
