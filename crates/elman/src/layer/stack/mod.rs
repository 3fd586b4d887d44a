//! Recurrent layers on top of each other, in one or both directions.
//!
//! ```text
//! x_0 = x             h_l = layer l over x_l: forward, in reverse, or both, merged
//! x_{l+1} = d_l(h_l)  or, from the second layer on, x_l + d_l(h_l) with residual connections
//! y = x_L             d_l drops numbers in training; of the last layer's, none
//! ```

mod backward;
mod cache;
mod config;
mod forward;
mod masks;
mod share;
mod step_by_step;
mod trace;

pub use cache::StackCache;
pub use config::{Merge, StackConfig};
pub use trace::Trace;

use super::State;
use super::steps::time_first;
use crate::cell::{Cell, Part, RECURRENT_WEIGHT, Weights, full_name, initial_name};
use crate::params::{Layout, Params, named};
use crate::{Error, Float, Result};
use ndarray::{ArrayBase, Ix3, RawData};
use std::ops::Range;

/// Layers of one kind of cell.
#[derive(Debug, Clone)]
pub struct Stack<C> {
    /// In the order l0 forward, l0 reverse, l1 forward, ...
    slots: Vec<Slot<C>>,
    config: StackConfig,
    input_size: usize,
}

/// One layer and direction.
#[derive(Debug, Clone)]
struct Slot<C> {
    cell: C,
    layer: usize,
    reverse: bool,
    /// Places of the cell's parameters, and of the learned initial state (S)
    /// after them, empty where there is none.
    params: Range<usize>,
    initial: Range<usize>,
    /// Place of the recurrent weights in the cell's parameters; empty where a
    /// cell has none of that name.
    recurrent_weights: Range<usize>,
    /// The cell's sizes, asked once: a cell may count them up.
    input_size: usize,
    output_size: usize,
    state_size: usize,
    saved_size: usize,
}

impl<C> Stack<C> {
    /// The configuration.
    pub fn config(&self) -> &StackConfig {
        &self.config
    }

    /// `D`, 1 or 2.
    pub fn num_directions(&self) -> usize {
        self.config.num_directions()
    }

    /// `I`.
    pub fn input_size(&self) -> usize {
        self.input_size
    }

    /// `R`, features of the output of one direction of a layer; 0 where there
    /// is no such layer.
    pub fn direction_size(&self, layer: usize) -> usize {
        let slot = self.slots.get(layer.saturating_mul(self.num_directions()));
        slot.map_or(0, |slot| slot.output_size)
    }

    /// Features of the output: `D * R` of the last layer, or `R` where a
    /// [`Merge`] makes one of two.
    pub fn output_size(&self) -> usize {
        self.layer_size(self.config.num_layers - 1)
    }

    /// Features of the output of a layer.
    fn layer_size(&self, layer: usize) -> usize {
        let r = self.direction_size(layer);
        self.config.merge.width(r, self.num_directions())
    }

    /// The slots of the last layer.
    pub fn last_slots(&self) -> Range<usize> {
        self.slots.len() - self.num_directions()..self.slots.len()
    }

    /// `rnn.` + `weight_ih_l0`, ...: adds the parameters of every layer and
    /// direction to the layout, in PyTorch's order. `prefix` may be empty;
    /// `cell(layer, input_size)` makes the cell of a layer.
    ///
    /// # Errors
    /// Where an option is out of its range or asks for what the cells do not
    /// have, where residual connections meet layers of different widths, or the
    /// sizes are more than memory can hold; the layout stays as it was then.
    pub fn new<F: Float>(
        layout: &mut Layout,
        prefix: &str,
        config: StackConfig,
        input_size: usize,
        cell: impl Fn(usize, usize) -> C,
    ) -> Result<Self>
    where
        C: Cell<F>,
    {
        config.validate()?;
        if input_size == 0 {
            return Err(Error::option("input_size must be greater than zero"));
        }
        let slots = layout.all_or_none(|layout| {
            let directions = config.num_directions();
            let mut slots = Vec::with_capacity(config.num_layers * directions);
            let mut width = input_size;
            for layer in 0..config.num_layers {
                let cell = cell(layer, width);
                check_cell(&config, &cell)?;
                let above = config.merge.width(cell.output_size(), directions);
                if config.residual && layer > 0 && above != width {
                    return Err(Error::option(format!(
                        "residual: layer {layer} reads {width} features and gives {above}; give all layers one size, without hidden_sizes"
                    )));
                }
                width = above;
                for reverse in [config.reverse, true].into_iter().take(directions) {
                    let (config, cell) = (&config, cell.clone());
                    slots.push(Slot::new(layout, prefix, config, cell, layer, reverse)?);
                }
            }
            Ok(slots)
        })?;
        Ok(Self {
            slots,
            config,
            input_size,
        })
    }

    /// Initial values of every cell, drawn with `uniform(low, high)` in the
    /// order of the layout. Learned initial states are zero, and draw nothing.
    pub fn init<F: Float>(&self, params: &mut Params<F>, uniform: &mut dyn FnMut(f64, f64) -> F)
    where
        C: Cell<F>,
    {
        let values = params.values_mut();
        for slot in &self.slots {
            slot.cell.init(&mut values[slot.params.clone()], uniform);
            values[slot.initial.clone()].fill(F::zero());
        }
    }

    /// A state of zeros, every row of it fresh.
    pub fn start<F: Float>(&self, batch: usize) -> State<F>
    where
        C: Cell<F>,
    {
        State::zeros(batch, self.states::<F>())
    }

    /// The parts of every slot's state.
    pub(crate) fn states<F: Float>(&self) -> impl Iterator<Item = Vec<Part>>
    where
        C: Cell<F>,
    {
        self.slots.iter().map(|s| s.cell.states())
    }

    fn slots_of(&self, layer: usize) -> impl Iterator<Item = (usize, &Slot<C>)> {
        let d = self.num_directions();
        self.slots.iter().enumerate().skip(layer * d).take(d)
    }

    /// The columns of a slot's outputs in those of its layer, side by side.
    fn columns(&self, at: usize) -> Range<usize> {
        let r = self.slots[at].output_size;
        let start = at % self.num_directions() * r;
        start..start + r
    }

    /// Whether the input of a layer is added to its output.
    fn is_residual(&self, layer: usize) -> bool {
        self.config.residual && layer > 0
    }

    fn time_first<S: RawData>(&self, array: ArrayBase<S, Ix3>) -> ArrayBase<S, Ix3> {
        time_first(array, self.config.batch_first)
    }

    fn check_features(&self, got: usize) -> Result<()> {
        if got == self.input_size {
            return Ok(());
        }
        Err(Error::shape(format!(
            "input.size(-1) must be equal to input_size. Expected {}, got {got}",
            self.input_size
        )))
    }

    /// Refuses a state that is not one of this stack for so many rows.
    pub(crate) fn check_state<F: Float>(
        &self,
        name: &str,
        state: &State<F>,
        batch: usize,
    ) -> Result<()>
    where
        C: Cell<F>,
    {
        let fits = state.batch() == batch
            && state.slots() == self.slots.len()
            && (self.slots.iter().enumerate()).all(|(at, s)| state.width(at) == s.state_size);
        if fits {
            return Ok(());
        }
        let slots: Vec<_> = self.slots.iter().map(|s| s.cell.states()).collect();
        state.check(&slots, batch).map_err(|e| e.at(name))
    }

    fn check_params<F: Float>(&self, name: &str, params: &Params<F>) -> Result<()> {
        params.check_len(name, self.slots.last().map_or(0, |s| s.initial.end))
    }
}

impl<C> Slot<C> {
    /// Adds the parameters of one layer and direction to the layout.
    fn new<F: Float>(
        layout: &mut Layout,
        prefix: &str,
        config: &StackConfig,
        cell: C,
        layer: usize,
        reverse: bool,
    ) -> Result<Self>
    where
        C: Cell<F>,
    {
        let start = layout.len();
        let mut recurrent_weights = 0..0;
        for part in cell.params() {
            let name = full_name(part.name, layer, reverse);
            let place = layout.push(named(prefix, name), &part.shape)?;
            if part.name == RECURRENT_WEIGHT {
                recurrent_weights = place.start - start..place.end - start;
            }
        }
        let end = layout.len();
        if config.learn_initial_state {
            for part in cell.states() {
                let name = initial_name(part.name, layer, reverse);
                layout.push(named(prefix, name), &part.shape)?;
            }
        }
        Ok(Self {
            layer,
            reverse,
            params: start..end,
            initial: end..layout.len(),
            recurrent_weights,
            input_size: cell.input_size(),
            output_size: cell.output_size(),
            state_size: cell.state_size(),
            saved_size: cell.saved_size(),
            cell,
        })
    }

    fn weights<'a, F: Float>(&self, params: &'a Params<F>) -> Weights<'a, F> {
        Weights {
            values: &params.values()[self.params.clone()],
            stamp: (params.stamp(), self.params.start),
            storage: params.storage(),
        }
    }

    /// The learned initial state, (S) or empty.
    fn initial<'a, F: Float>(&self, params: &'a Params<F>) -> &'a [F] {
        &params.values()[self.initial.clone()]
    }
}

/// Refuses sizes that no cell can have, and options that this one does not
/// have.
fn check_cell<F: Float, C: Cell<F>>(config: &StackConfig, cell: &C) -> Result<()> {
    let refuse = |text: &str| Err(Error::option(text));
    if cell.hidden_size() == 0 {
        return refuse("hidden_size must be greater than zero");
    }
    if cell.proj_size() >= cell.hidden_size() {
        return refuse("proj_size has to be smaller than hidden_size");
    }
    if config.recurrent_dropout > 0.0 && !cell.takes_mask() {
        return refuse(
            "recurrent_dropout: the products of this cell read no masked state (`Cell::takes_mask`)",
        );
    }
    let is_weight = |part: &Part| part.name == RECURRENT_WEIGHT;
    if config.weight_drop > 0.0 && !cell.params().iter().any(is_weight) {
        return Err(Error::option(format!(
            "weight_drop: this cell has no parameter `{RECURRENT_WEIGHT}` to drop weights of"
        )));
    }
    if config.zoneout_cell > 0.0 && cell.states().len() < 2 {
        return refuse(
            "zoneout_cell: this cell has no state beside h; an LSTM has, and zoneout_hidden is for h",
        );
    }
    Ok(())
}

/// The places of `rows` in an array of that width.
fn span(rows: &Range<usize>, width: usize) -> Range<usize> {
    rows.start * width..rows.end * width
}

/// The numbers of `rows` in an array of that width.
fn of<'a, F>(array: &'a mut [F], rows: &Range<usize>, width: usize) -> &'a mut [F] {
    &mut array[span(rows, width)]
}

/// Zeros, in the same memory.
fn refill<F: Float>(values: &mut Vec<F>, len: usize) {
    values.clear();
    values.resize(len, F::zero());
}
