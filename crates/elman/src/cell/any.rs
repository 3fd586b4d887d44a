//! The cells of this crate as one type: what a model file is opened as.

use super::gated::Sizes;
use super::{Bias, Cell, Gru, Lstm, Nonlinearity, Packs, Part, Rnn, Rows, RowsBack, Weights};
use crate::{Error, Float, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The name of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CellKind {
    /// The simple cell, PyTorch's `RNN`.
    Rnn,
    /// PyTorch's `GRU`.
    Gru,
    /// PyTorch's `LSTM`.
    Lstm,
}

impl CellKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Rnn, Self::Gru, Self::Lstm];

    /// Gates, as a multiple of the hidden size in the weights' rows.
    pub fn gates(self) -> usize {
        match self {
            Self::Rnn => 1,
            Self::Gru => 3,
            Self::Lstm => 4,
        }
    }

    /// The name in lower case: `gru`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rnn => "rnn",
            Self::Gru => "gru",
            Self::Lstm => "lstm",
        }
    }
}

/// The name as PyTorch's classes have it: `GRU`.
impl fmt::Display for CellKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name().to_uppercase())
    }
}

impl FromStr for CellKind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|k| k.name() == name.to_lowercase())
            .ok_or_else(|| Error::option(format!("unknown cell `{name}`; use rnn, gru or lstm")))
    }
}

/// Any of the cells of this crate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnyCell {
    /// The simple cell.
    Rnn(Rnn),
    /// The gated recurrent unit.
    Gru(Gru),
    /// Long short-term memory.
    Lstm(Lstm),
}

impl AnyCell {
    /// The cell of that name; `nonlinearity` concerns the simple cell only,
    /// `proj_size` (0 for none) the LSTM only.
    pub fn new(
        kind: CellKind,
        input_size: usize,
        hidden_size: usize,
        bias: Bias,
        nonlinearity: Nonlinearity,
        proj_size: usize,
    ) -> Self {
        let sizes = Sizes {
            input_size,
            hidden_size,
            bias,
        };
        match kind {
            CellKind::Rnn => Self::Rnn(Rnn {
                sizes,
                nonlinearity,
            }),
            CellKind::Gru => Self::Gru(Gru { sizes }),
            CellKind::Lstm => Self::Lstm(Lstm { sizes, proj_size }),
        }
    }
}

/// Calls the same method on whichever cell it is, once for many rows.
macro_rules! each {
    ($self:ident, $cell:ident => $call:expr) => {
        match $self {
            AnyCell::Rnn($cell) => $call,
            AnyCell::Gru($cell) => $call,
            AnyCell::Lstm($cell) => $call,
        }
    };
}

impl<F: Float> Cell<F> for AnyCell {
    fn input_size(&self) -> usize {
        each!(self, c => Cell::<F>::input_size(c))
    }

    fn hidden_size(&self) -> usize {
        each!(self, c => Cell::<F>::hidden_size(c))
    }

    fn proj_size(&self) -> usize {
        each!(self, c => Cell::<F>::proj_size(c))
    }

    fn takes_mask(&self) -> bool {
        each!(self, c => Cell::<F>::takes_mask(c))
    }

    fn states(&self) -> Vec<Part> {
        each!(self, c => Cell::<F>::states(c))
    }

    fn params(&self) -> Vec<Part> {
        each!(self, c => Cell::<F>::params(c))
    }

    fn saved(&self) -> Vec<&'static str> {
        each!(self, c => Cell::<F>::saved(c))
    }

    fn state_size(&self) -> usize {
        each!(self, c => Cell::<F>::state_size(c))
    }

    fn saved_size(&self) -> usize {
        each!(self, c => Cell::<F>::saved_size(c))
    }

    fn init(&self, weights: &mut [F], uniform: &mut dyn FnMut(f64, f64) -> F) {
        each!(self, c => c.init(weights, uniform));
    }

    fn step(&self, weights: &[F], row: Rows<'_, F>) {
        each!(self, c => c.step(weights, row));
    }

    fn step_back(&self, weights: &[F], row: RowsBack<'_, F>) {
        each!(self, c => c.step_back(weights, row));
    }

    fn prepare(&self, weights: Weights<'_, F>, packs: &mut Packs<F>, x: &[F], saved: &mut [F]) {
        each!(self, c => c.prepare(weights, packs, x, saved));
    }

    fn forward(&self, weights: Weights<'_, F>, packs: &mut Packs<F>, n: usize, rows: Rows<'_, F>) {
        each!(self, c => c.forward(weights, packs, n, rows));
    }

    fn backward(
        &self,
        weights: Weights<'_, F>,
        packs: &mut Packs<F>,
        n: usize,
        rows: RowsBack<'_, F>,
    ) {
        each!(self, c => c.backward(weights, packs, n, rows));
    }

    fn input_back(
        &self,
        weights: Weights<'_, F>,
        packs: &mut Packs<F>,
        d_saved: &[F],
        d_x: &mut [F],
    ) {
        each!(self, c => c.input_back(weights, packs, d_saved, d_x));
    }

    fn weights_back(
        &self,
        packs: &mut Packs<F>,
        x: &[F],
        hidden: &[F],
        saved: &[F],
        d_saved: &[F],
        d_weights: &mut [F],
    ) {
        each!(self, c => c.weights_back(packs, x, hidden, saved, d_saved, d_weights));
    }
}
