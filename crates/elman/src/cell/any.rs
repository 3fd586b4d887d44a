//! The cells of this crate as one type: what a model file is opened as.

use super::variant::{General, GruVariant, LstmVariant, RnnVariant};
use super::{
    Cell, CellConfig, DoneRows, Gru, Lstm, Packs, Part, Rnn, Room, Rows, RowsBack, Weights,
};
use crate::kernel::{Outer, Team};
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

/// Any of the cells of this crate: PyTorch's, or the one that does what the
/// [options](super::CellOptions) ask for.
///
/// ```
/// use elman::cell::{AnyCell, Cell, CellConfig, CellKind};
/// let mut config = CellConfig::new(CellKind::Lstm, 3, 8);
/// config.options.peepholes = true;
/// let cell = AnyCell::new(&config)?;
/// assert!(Cell::<f32>::kernels(&cell));
/// let last = Cell::<f32>::params(&cell).pop().unwrap();
/// assert_eq!((last.name, last.shape), ("weight_co", vec![8]));
/// # Ok::<(), elman::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct AnyCell {
    config: CellConfig,
    form: Form,
}

/// What runs a cell.
#[derive(Debug, Clone, PartialEq)]
enum Form {
    Rnn(Rnn),
    Gru(Gru),
    Lstm(Lstm),
    RnnVariant(RnnVariant),
    GruVariant(GruVariant),
    LstmVariant(LstmVariant<false, false>),
    Peephole(LstmVariant<true, false>),
    Coupled(LstmVariant<false, true>),
    PeepholeCoupled(LstmVariant<true, true>),
    General(Box<General>),
}

impl AnyCell {
    /// The cell of a configuration, by the fastest of its forms: through the
    /// kernels, but for `reset_before` and `layer_norm`.
    ///
    /// # Errors
    /// As [`CellConfig::validate`].
    pub fn new(config: &CellConfig) -> Result<Self> {
        config.validate()?;
        Ok(Self::checked(config.clone()))
    }

    /// The cell of a configuration that has been checked.
    pub(crate) fn checked(config: CellConfig) -> Self {
        let CellConfig {
            cell,
            sizes,
            nonlinearity,
            proj_size,
            options: ref o,
        } = config;
        let [first, second, third, ..] = config.activations();
        let usual = config.usual_activations();
        let form = match cell {
            _ if o.reset_before || o.layer_norm => Form::General(General::new(&config).into()),
            CellKind::Rnn if usual => Form::Rnn(Rnn {
                sizes,
                nonlinearity,
            }),
            CellKind::Rnn => Form::RnnVariant(RnnVariant { sizes, act: first }),
            CellKind::Gru if usual => Form::Gru(Gru { sizes }),
            CellKind::Gru => Form::GruVariant(GruVariant {
                sizes,
                acts: [first, second, third],
            }),
            CellKind::Lstm => match (o.peepholes, o.coupled) {
                (false, false) if usual && o.cell_clip.is_none() => {
                    Form::Lstm(Lstm { sizes, proj_size })
                }
                (false, false) => Form::LstmVariant(LstmVariant::new(&config)),
                (true, false) => Form::Peephole(LstmVariant::new(&config)),
                (false, true) => Form::Coupled(LstmVariant::new(&config)),
                (true, true) => Form::PeepholeCoupled(LstmVariant::new(&config)),
            },
        };
        Self { config, form }
    }

    /// The same cell by its definition, row by row, whatever its options: the
    /// reference that the others are held against.
    ///
    /// # Errors
    /// As [`CellConfig::validate`].
    pub fn by_definition(config: &CellConfig) -> Result<Self> {
        config.validate()?;
        Ok(Self {
            config: config.clone(),
            form: Form::General(General::new(config).into()),
        })
    }

    /// What the cell was made from.
    pub fn config(&self) -> &CellConfig {
        &self.config
    }
}

/// Calls the same method on whichever cell it is, once for many rows.
macro_rules! each {
    ($self:ident, $cell:ident => $call:expr) => {
        match &$self.form {
            Form::Rnn($cell) => $call,
            Form::Gru($cell) => $call,
            Form::Lstm($cell) => $call,
            Form::RnnVariant($cell) => $call,
            Form::GruVariant($cell) => $call,
            Form::LstmVariant($cell) => $call,
            Form::Peephole($cell) => $call,
            Form::Coupled($cell) => $call,
            Form::PeepholeCoupled($cell) => $call,
            Form::General(cell) => {
                let $cell = &**cell;
                $call
            }
        }
    };
}

/// The work of [`AnyCell`] for one type of number, compiled here and not in
/// every crate that has such a cell: there are many cells.
pub trait Compiled: Sized {
    /// [`Cell::input_size`].
    fn input_size(cell: &AnyCell) -> usize;

    /// [`Cell::hidden_size`].
    fn hidden_size(cell: &AnyCell) -> usize;

    /// [`Cell::proj_size`].
    fn proj_size(cell: &AnyCell) -> usize;

    /// [`Cell::takes_mask`].
    fn takes_mask(cell: &AnyCell) -> bool;

    /// [`Cell::kernels`].
    fn kernels(cell: &AnyCell) -> bool;

    /// [`Cell::rows_apart`].
    fn rows_apart(cell: &AnyCell) -> bool;

    /// [`Cell::states`].
    fn states(cell: &AnyCell) -> Vec<Part>;

    /// [`Cell::params`].
    fn params(cell: &AnyCell) -> Vec<Part>;

    /// [`Cell::saved`].
    fn saved(cell: &AnyCell) -> Vec<&'static str>;

    /// [`Cell::state_size`].
    fn state_size(cell: &AnyCell) -> usize;

    /// [`Cell::saved_size`].
    fn saved_size(cell: &AnyCell) -> usize;

    /// [`Cell::init`].
    fn init(cell: &AnyCell, weights: &mut [Self], uniform: &mut dyn FnMut(f64, f64) -> Self);

    /// [`Cell::step`].
    fn step(cell: &AnyCell, weights: &[Self], row: Rows<'_, Self>);

    /// [`Cell::step_back`].
    fn step_back(cell: &AnyCell, weights: &[Self], row: RowsBack<'_, Self>);

    /// [`Cell::pack`].
    fn pack(cell: &AnyCell, weights: Weights<'_, Self>, packs: &mut Packs<Self>);

    /// [`Cell::pack_back`].
    fn pack_back(cell: &AnyCell, weights: Weights<'_, Self>, packs: &mut Packs<Self>);

    /// [`Cell::prepare`].
    fn prepare(
        cell: &AnyCell,
        packs: &Packs<Self>,
        team: &Team,
        x: &[Self],
        saved: &mut [Self],
        room: &mut Room<Self>,
    );

    /// [`Cell::prepares`].
    fn prepares(cell: &AnyCell, rows: usize) -> bool;

    /// [`Cell::forward`].
    fn forward(
        cell: &AnyCell,
        weights: Weights<'_, Self>,
        packs: &Packs<Self>,
        n: usize,
        rows: Rows<'_, Self>,
    );

    /// [`Cell::backward`].
    fn backward(
        cell: &AnyCell,
        weights: Weights<'_, Self>,
        packs: &Packs<Self>,
        n: usize,
        rows: RowsBack<'_, Self>,
    );

    /// [`Cell::input_back`].
    fn input_back(
        cell: &AnyCell,
        packs: &Packs<Self>,
        team: &Team,
        d_saved: &[Self],
        d_x: &mut [Self],
    );

    /// [`Cell::weights_back`].
    fn weights_back<'a>(
        cell: &AnyCell,
        room: &mut Outer<Self>,
        team: &Team,
        rows: usize,
        row: &DoneRows<'a, '_, Self>,
        d_weights: &mut [Self],
    );
}

macro_rules! compiled {
    ($($number:ty)*) => {$(
        impl Compiled for $number {
            fn input_size(cell: &AnyCell) -> usize {
        each!(cell, c => Cell::<Self>::input_size(c))
            }

            fn hidden_size(cell: &AnyCell) -> usize {
        each!(cell, c => Cell::<Self>::hidden_size(c))
            }

            fn proj_size(cell: &AnyCell) -> usize {
        each!(cell, c => Cell::<Self>::proj_size(c))
            }

            fn takes_mask(cell: &AnyCell) -> bool {
        each!(cell, c => Cell::<Self>::takes_mask(c))
            }

            fn kernels(cell: &AnyCell) -> bool {
        each!(cell, c => Cell::<Self>::kernels(c))
            }

            fn rows_apart(cell: &AnyCell) -> bool {
        each!(cell, c => Cell::<Self>::rows_apart(c))
            }

            fn states(cell: &AnyCell) -> Vec<Part> {
        each!(cell, c => Cell::<Self>::states(c))
            }

            fn params(cell: &AnyCell) -> Vec<Part> {
        each!(cell, c => Cell::<Self>::params(c))
            }

            fn saved(cell: &AnyCell) -> Vec<&'static str> {
        each!(cell, c => Cell::<Self>::saved(c))
            }

            fn state_size(cell: &AnyCell) -> usize {
        each!(cell, c => Cell::<Self>::state_size(c))
            }

            fn saved_size(cell: &AnyCell) -> usize {
        each!(cell, c => Cell::<Self>::saved_size(c))
            }

            fn init(cell: &AnyCell, weights: &mut [Self], uniform: &mut dyn FnMut(f64, f64) -> Self) {
        each!(cell, c => c.init(weights, uniform));
        let parts = Cell::<Self>::params(cell);
        let init = &cell.config.options.init;
        init.apply(&cell.config, &parts, weights, uniform);
            }

            fn step(cell: &AnyCell, weights: &[Self], row: Rows<'_, Self>) {
        each!(cell, c => c.step(weights, row));
            }

            fn step_back(cell: &AnyCell, weights: &[Self], row: RowsBack<'_, Self>) {
        each!(cell, c => c.step_back(weights, row));
            }

            fn pack(cell: &AnyCell, weights: Weights<'_, Self>, packs: &mut Packs<Self>) {
        each!(cell, c => c.pack(weights, packs));
            }

            fn pack_back(cell: &AnyCell, weights: Weights<'_, Self>, packs: &mut Packs<Self>) {
        each!(cell, c => c.pack_back(weights, packs));
            }

            fn prepare(cell: &AnyCell, packs: &Packs<Self>, team: &Team, x: &[Self], saved: &mut [Self], room: &mut Room<Self>) {
        each!(cell, c => c.prepare(packs, team, x, saved, room));
            }

            fn prepares(cell: &AnyCell, rows: usize) -> bool {
        each!(cell, c => Cell::<Self>::prepares(c, rows))
            }

            fn forward(cell: &AnyCell, weights: Weights<'_, Self>, packs: &Packs<Self>, n: usize, rows: Rows<'_, Self>) {
        each!(cell, c => c.forward(weights, packs, n, rows));
            }

            fn backward(cell: &AnyCell, weights: Weights<'_, Self>, packs: &Packs<Self>, n: usize, rows: RowsBack<'_, Self>) {
        each!(cell, c => c.backward(weights, packs, n, rows));
            }

            fn input_back(cell: &AnyCell, packs: &Packs<Self>, team: &Team, d_saved: &[Self], d_x: &mut [Self]) {
        each!(cell, c => c.input_back(packs, team, d_saved, d_x));
            }

            fn weights_back<'a>(cell: &AnyCell, room: &mut Outer<Self>, team: &Team, rows: usize, row: &DoneRows<'a, '_, Self>, d_weights: &mut [Self]) {
        each!(cell, c => c.weights_back(room, team, rows, row, d_weights));
            }
        }
    )*};
}

compiled!(f32 f64);

impl<F: Float> Cell<F> for AnyCell {
    fn input_size(&self) -> usize {
        F::input_size(self)
    }

    fn hidden_size(&self) -> usize {
        F::hidden_size(self)
    }

    fn proj_size(&self) -> usize {
        F::proj_size(self)
    }

    fn takes_mask(&self) -> bool {
        F::takes_mask(self)
    }

    fn kernels(&self) -> bool {
        F::kernels(self)
    }

    fn rows_apart(&self) -> bool {
        F::rows_apart(self)
    }

    fn states(&self) -> Vec<Part> {
        F::states(self)
    }

    fn params(&self) -> Vec<Part> {
        F::params(self)
    }

    fn saved(&self) -> Vec<&'static str> {
        F::saved(self)
    }

    fn state_size(&self) -> usize {
        F::state_size(self)
    }

    fn saved_size(&self) -> usize {
        F::saved_size(self)
    }

    fn init(&self, weights: &mut [F], uniform: &mut dyn FnMut(f64, f64) -> F) {
        F::init(self, weights, uniform)
    }

    fn step(&self, weights: &[F], row: Rows<'_, F>) {
        F::step(self, weights, row)
    }

    fn step_back(&self, weights: &[F], row: RowsBack<'_, F>) {
        F::step_back(self, weights, row)
    }

    fn pack(&self, weights: Weights<'_, F>, packs: &mut Packs<F>) {
        F::pack(self, weights, packs)
    }

    fn pack_back(&self, weights: Weights<'_, F>, packs: &mut Packs<F>) {
        F::pack_back(self, weights, packs)
    }

    fn prepare(&self, packs: &Packs<F>, team: &Team, x: &[F], saved: &mut [F], room: &mut Room<F>) {
        F::prepare(self, packs, team, x, saved, room)
    }

    fn prepares(&self, rows: usize) -> bool {
        F::prepares(self, rows)
    }

    fn forward(&self, weights: Weights<'_, F>, packs: &Packs<F>, n: usize, rows: Rows<'_, F>) {
        F::forward(self, weights, packs, n, rows)
    }

    fn backward(&self, weights: Weights<'_, F>, packs: &Packs<F>, n: usize, rows: RowsBack<'_, F>) {
        F::backward(self, weights, packs, n, rows)
    }

    fn input_back(&self, packs: &Packs<F>, team: &Team, d_saved: &[F], d_x: &mut [F]) {
        F::input_back(self, packs, team, d_saved, d_x)
    }

    fn weights_back<'a>(
        &self,
        room: &mut Outer<F>,
        team: &Team,
        rows: usize,
        row: &DoneRows<'a, '_, F>,
        d_weights: &mut [F],
    ) {
        F::weights_back(self, room, team, rows, row, d_weights)
    }
}
