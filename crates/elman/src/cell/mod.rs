//! Cells: one step of one row, forward and backward, as the theory writes it.
//!
//! A cell exists at one of two levels. [`Cell`] is anything with a step and its
//! derivative; the layers run it row by row. [`GatedCell`] is a cell of affine
//! gates and a pointwise update; it is a `Cell` by itself, and its rows go
//! through the kernels together.
//!
//! [`Rnn`], [`Gru`] and [`Lstm`] are PyTorch's and nothing else. What
//! [`CellOptions`] ask for beyond them is done by cells of their own, which
//! [`AnyCell`] chooses.
//!
//! The order of the gates and the names of the parameters are those of
//! PyTorch, and appear in this module only.
//!
//! Letters in shapes: `I` input size, `H` hidden size, `R` output size (`H`, or
//! the size of a projection), `G` gates.

mod activation;
mod any;
mod gated;
mod gru;
mod init;
mod lstm;
mod options;
mod plain;
mod rnn;
mod variant;

pub use activation::Activation;
pub(crate) use any::Compiled;
pub use any::{AnyCell, CellKind};
pub use gated::{GatedCell, STATES, SUMS, Side, Sizes, UNITS};
pub use gru::Gru;
pub use init::Init;
pub use lstm::Lstm;
pub(crate) use options::is_default;
pub use options::{CellConfig, CellOptions};
pub use plain::Plain;
pub use rnn::{Nonlinearity, Rnn};

use crate::Float;
use crate::kernel::{Outer, Packed, Team, WholeRows};
use crate::params::Storage;
use serde::{Deserialize, Serialize};

/// Which biases a cell has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bias {
    /// `bias_ih` and `bias_hh`, as PyTorch's `bias=True`.
    #[default]
    Both,
    /// `bias_ih` alone: the one `B` of the theory.
    Single,
    /// No bias, as PyTorch's `bias=False`.
    None,
}

/// A named part of a cell's state or of its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// `h`, `c`; `weight_ih`, `bias_hh`.
    pub name: &'static str,
    /// Its shape for one row.
    pub shape: Vec<usize>,
}

impl Part {
    /// Numbers in the part.
    pub fn size(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Appends what PyTorch appends to a parameter's name: layer and direction.
pub fn full_name(part: &str, layer: usize, reverse: bool) -> String {
    let direction = if reverse { "_reverse" } else { "" };
    format!("{part}_l{layer}{direction}")
}

/// The part whose products read the state, which weight drop thins out.
pub(crate) const RECURRENT_WEIGHT: &str = "weight_hh";

/// The name of a learned initial state: `h_0_l1_reverse` from `h`.
pub(crate) fn initial_name(state: &str, layer: usize, reverse: bool) -> String {
    full_name(&format!("{state}_0"), layer, reverse)
}

/// Copies of weights in the order the kernels read them, made again when the
/// weights' stamp has changed. Belongs to the caller.
#[derive(Debug, Clone)]
pub struct Packs<F> {
    stamp: (u64, usize),
    storage: Storage,
    biases: Vec<F>,
    input: Packed<F>,
    hidden: Packed<F>,
    projection: Packed<F>,
    back_stamp: (u64, usize),
    input_back: Packed<F>,
    hidden_back: Packed<F>,
    projection_back: Packed<F>,
}

impl<F: Float> Default for Packs<F> {
    fn default() -> Self {
        Self {
            stamp: Default::default(),
            storage: Storage::Full,
            biases: Vec::new(),
            input: Packed::default(),
            hidden: Packed::default(),
            projection: Packed::default(),
            back_stamp: Default::default(),
            input_back: Packed::default(),
            hidden_back: Packed::default(),
            projection_back: Packed::default(),
        }
    }
}

/// The weights of one cell: its parts one after the other, and their stamp.
#[derive(Debug, Clone, Copy)]
pub struct Weights<'a, F> {
    /// The parts of [`Cell::params`] in order, each row-major.
    pub values: &'a [F],
    /// [`Params::stamp`](crate::params::Params::stamp) of the arena, and where
    /// in it these weights begin.
    pub stamp: (u64, usize),
    /// How copies for the way forward are kept.
    pub storage: Storage,
}

/// Room to work in, of the caller's.
#[derive(Debug, Clone, Default)]
pub struct Room<F> {
    /// What is multiplied, for weights of [`Storage::Int8`].
    input: WholeRows<F>,
    hidden: WholeRows<F>,
    /// Whether the step of a single row before this one began with its last
    /// units.
    backward: bool,
}

/// `n` rows of one step on the way forward; every array is row-major.
#[derive(Debug)]
pub struct Rows<'a, F> {
    /// Inputs, (n, I).
    pub x: &'a [F],
    /// States before the step, (n, S); `S` is [`Cell::state_size`].
    pub prev: &'a [F],
    /// What the products of the state read in place of `prev`, (n, S): the
    /// same but for the first `R` numbers of a row, which recurrent dropout has
    /// multiplied with its mask.
    pub hidden: &'a [F],
    /// States after the step, (n, S).
    pub next: &'a mut [F],
    /// What the backward pass needs, (n, V); `V` is [`Cell::saved_size`].
    pub saved: &'a mut [F],
    /// False where nobody reads `saved` after the step: it is room to work in.
    pub keeps: bool,
    /// Whether [`Cell::prepare`] has seen the rows.
    pub prepared: bool,
    /// Threads that may divide the units of the step.
    pub team: &'a Team,
    /// Room to work in.
    pub room: &'a mut Room<F>,
}

/// `n` rows of one step on the way back.
#[derive(Debug)]
pub struct RowsBack<'a, F> {
    /// Inputs, (n, I).
    pub x: &'a [F],
    /// States before the step, (n, S).
    pub prev: &'a [F],
    /// As in [`Rows`], (n, S).
    pub hidden: &'a [F],
    /// What the first `R` numbers of `prev` were multiplied with to get
    /// `hidden`, (n, R); `None` where the two are the same.
    pub mask: Option<&'a [F]>,
    /// States after the step, (n, S).
    pub next: &'a [F],
    /// What the forward pass saved, (n, V).
    pub saved: &'a [F],
    /// On entry the gradient of the state after the step, on return that of
    /// the state before it, (n, S).
    pub d_state: &'a mut [F],
    /// Room for the gradients of what was saved, (n, V).
    pub d_saved: &'a mut [F],
    /// Gradient of the input, (n, I), added to.
    pub d_x: Option<&'a mut [F]>,
    /// Gradients of the weights, added to.
    pub d_weights: &'a mut [F],
    /// Threads that may divide what the step passes back.
    pub team: &'a Team,
}

/// One row of a step that has gone forward and back.
#[derive(Debug, Clone, Copy)]
pub struct Done<'a, F> {
    /// Its input, (I).
    pub x: &'a [F],
    /// The state that the products read, as in [`Rows`], (S) or its first `R`.
    pub hidden: &'a [F],
    /// What the forward pass saved, (V).
    pub saved: &'a [F],
    /// The gradients of that, (V).
    pub d_saved: &'a [F],
}

/// Rows that have gone forward and back, by number.
pub type DoneRows<'a, 'b, F> = dyn Fn(usize) -> Done<'a, F> + Sync + 'b;

/// One step of a recurrent cell and its derivative.
///
/// Only the sizes, [`step`](Self::step) and [`step_back`](Self::step_back) must
/// be written; a stack, both directions, ragged lengths and training come with
/// them. The other methods exist for cells that can treat many rows at once.
pub trait Cell<F: Float>: Clone + Send + Sync {
    /// `I`, features of an input row.
    fn input_size(&self) -> usize;

    /// `H`, units of the cell: features of an output row, but for a projection.
    fn hidden_size(&self) -> usize;

    /// `R`, features of an output row where the cell maps its units to fewer;
    /// 0 where it does not.
    fn proj_size(&self) -> usize {
        0
    }

    /// `R`, features of an output row: the first part of the state.
    fn output_size(&self) -> usize {
        match self.proj_size() {
            0 => self.hidden_size(),
            projected => projected,
        }
    }

    /// True where the cell's products read [`Rows::hidden`], so that recurrent
    /// dropout can be asked for.
    fn takes_mask(&self) -> bool {
        false
    }

    /// True where the rows of a step go through the kernels together, false
    /// where they are run one by one.
    fn kernels(&self) -> bool {
        false
    }

    /// True where a step goes back without touching the gradients of the
    /// weights, which [`weights_back`](Self::weights_back) adds: threads may
    /// then divide the rows of a batch.
    fn rows_apart(&self) -> bool {
        false
    }

    /// The parts of the state; the first is the output `h`.
    fn states(&self) -> Vec<Part>;

    /// The parameters in PyTorch's order, without layer and direction.
    fn params(&self) -> Vec<Part>;

    /// Names of the blocks of `H` numbers each that a step saves.
    fn saved(&self) -> Vec<&'static str>;

    /// Numbers in the state of a row.
    fn state_size(&self) -> usize {
        self.states().iter().map(Part::size).sum()
    }

    /// Numbers a step saves for a row.
    fn saved_size(&self) -> usize {
        self.saved().len() * self.hidden_size()
    }

    /// One step of one row: reads `x` (I) and `prev` (S), writes `next` (S)
    /// and `saved` (V).
    fn step(&self, weights: &[F], row: Rows<'_, F>);

    /// The derivative of [`step`](Self::step) for one row.
    fn step_back(&self, weights: &[F], row: RowsBack<'_, F>);

    /// Draws initial values with `uniform(low, high)`, in order. As PyTorch:
    /// all from U(-s, s), s = 1/sqrt(H).
    fn init(&self, weights: &mut [F], uniform: &mut dyn FnMut(f64, f64) -> F) {
        let s = 1.0 / (self.hidden_size() as f64).sqrt();
        for w in weights {
            *w = uniform(-s, s);
        }
    }

    /// Copies the weights into the order that the way forward reads, where they
    /// have changed.
    fn pack(&self, _: Weights<'_, F>, _: &mut Packs<F>) {}

    /// As [`pack`](Self::pack), for the way back.
    fn pack_back(&self, _: Weights<'_, F>, _: &mut Packs<F>) {}

    /// Whether many steps of so many rows each, or fewer, are faster where
    /// [`prepare`](Self::prepare) sees them first.
    fn prepares(&self, _rows: usize) -> bool {
        false
    }

    /// The part of many steps that does not depend on the state: from `x`
    /// (n, I) into `saved` (n, V), before [`forward`](Self::forward) sees these
    /// rows. The numbers are the same with it and without.
    fn prepare(&self, _: &Packs<F>, _: &Team, _x: &[F], _saved: &mut [F], _room: &mut Room<F>) {}

    /// One step of `n` rows, packed and prepared before.
    fn forward(&self, weights: Weights<'_, F>, _: &Packs<F>, n: usize, rows: Rows<'_, F>) {
        let (keeps, prepared, team) = (rows.keeps, rows.prepared, rows.team);
        let width = |numbers: usize| numbers.checked_div(n).unwrap_or(0);
        let (i, s, v) = (
            width(rows.x.len()),
            width(rows.prev.len()),
            width(rows.saved.len()),
        );
        for r in 0..n {
            let row = Rows {
                x: &rows.x[r * i..][..i],
                prev: &rows.prev[r * s..][..s],
                hidden: &rows.hidden[r * s..][..s],
                next: &mut rows.next[r * s..][..s],
                saved: &mut rows.saved[r * v..][..v],
                keeps,
                prepared,
                team,
                room: rows.room,
            };
            self.step(weights.values, row);
        }
    }

    /// The derivative of [`forward`](Self::forward). What it leaves out of
    /// `d_x` and `d_weights`, [`input_back`](Self::input_back) and
    /// [`weights_back`](Self::weights_back) add.
    fn backward(&self, weights: Weights<'_, F>, _: &Packs<F>, n: usize, mut rows: RowsBack<'_, F>) {
        let width = |numbers: usize| numbers.checked_div(n).unwrap_or(0);
        let (i, s, v) = (
            width(rows.x.len()),
            width(rows.prev.len()),
            width(rows.saved.len()),
        );
        let m = width(rows.mask.map_or(0, <[F]>::len));
        for r in 0..n {
            let row = RowsBack {
                x: &rows.x[r * i..][..i],
                prev: &rows.prev[r * s..][..s],
                hidden: &rows.hidden[r * s..][..s],
                mask: rows.mask.map(|mask| &mask[r * m..][..m]),
                next: &rows.next[r * s..][..s],
                saved: &rows.saved[r * v..][..v],
                d_state: &mut rows.d_state[r * s..][..s],
                d_saved: &mut rows.d_saved[r * v..][..v],
                d_x: rows.d_x.as_deref_mut().map(|d| &mut d[r * i..][..i]),
                d_weights: rows.d_weights,
                team: rows.team,
            };
            self.step_back(weights.values, row);
        }
    }

    /// For many rows at once: adds to `d_x` (n, I) what came through `d_saved`
    /// (n, V).
    fn input_back(&self, _: &Packs<F>, _: &Team, _d_saved: &[F], _d_x: &mut [F]) {}

    /// For many rows at once: adds the weights' gradients, row after row.
    fn weights_back<'a>(
        &self,
        _: &mut Outer<F>,
        _: &Team,
        _rows: usize,
        _row: &DoneRows<'a, '_, F>,
        _d_weights: &mut [F],
    ) {
    }
}
