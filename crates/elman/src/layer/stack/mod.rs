//! Recurrent layers on top of each other, in one or both directions.

use super::dropout;
use super::steps::time_first;
use super::{Pass, State, Steps};
use crate::cell::{Cell, Packs, Rows, RowsBack, Weights, full_name};
use crate::error::expect;
use crate::params::{Grads, Layout, Params};
use crate::{Error, Float, Result};
use ndarray::{
    Array3, ArrayBase, ArrayView2, ArrayView3, ArrayViewMut2, ArrayViewMut3, Ix3, RawData, s,
};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// How the layers of a stack are put together; PyTorch's names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StackConfig {
    /// `L`, at least 1.
    pub num_layers: usize,
    /// A second run of every layer, from the last step to the first.
    pub bidirectional: bool,
    /// Arrays at the interface are (B, T, ..) and not (T, B, ..).
    pub batch_first: bool,
    /// Share of each layer's outputs, but the last one's, that is set to zero
    /// in training.
    pub dropout: f64,
}

impl Default for StackConfig {
    fn default() -> Self {
        Self {
            num_layers: 1,
            bidirectional: false,
            batch_first: false,
            dropout: 0.0,
        }
    }
}

impl StackConfig {
    /// The most layers a stack may have.
    pub const MAX_LAYERS: usize = 1024;

    /// Refuses options outside their range, in PyTorch's words; a stack does so
    /// itself when it is made.
    ///
    /// # Errors
    /// No layers or more than [`MAX_LAYERS`](Self::MAX_LAYERS), a dropout
    /// outside `[0, 1]`.
    pub fn validate(&self) -> Result<()> {
        let refuse = |text: &str| Err(Error::option(text));
        if !(0.0..=1.0).contains(&self.dropout) {
            return refuse(
                "dropout should be a number in range [0, 1] representing the probability of an element being zeroed",
            );
        }
        if self.num_layers == 0 {
            return refuse("num_layers must be greater than zero");
        }
        let few = self.num_layers <= Self::MAX_LAYERS;
        let at_most = format!("at most {}", Self::MAX_LAYERS);
        expect(few, "num_layers", &at_most, self.num_layers)
    }

    /// What is legal and yet looks like a mistake, in PyTorch's words.
    ///
    /// ```
    /// use elman::layer::StackConfig;
    /// let config = StackConfig { dropout: 0.5, ..StackConfig::default() };
    /// assert!(config.warnings()[0].contains("expects num_layers greater than 1"));
    /// assert!(StackConfig { num_layers: 2, ..config }.warnings().is_empty());
    /// ```
    pub fn warnings(&self) -> Vec<String> {
        if self.dropout > 0.0 && self.num_layers == 1 {
            return vec![format!(
                "dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects num_layers greater than 1, but got dropout={:?} and num_layers=1",
                self.dropout
            )];
        }
        Vec::new()
    }
}

/// Layers of one kind of cell.
#[derive(Debug, Clone)]
pub struct Stack<C> {
    /// In the order l0 forward, l0 reverse, l1 forward, ...
    slots: Vec<Slot<C>>,
    config: StackConfig,
    input_size: usize,
    /// `R`, features of the output of one direction.
    cell_output: usize,
}

/// One layer and direction.
#[derive(Debug, Clone)]
struct Slot<C> {
    cell: C,
    params: Range<usize>,
    layer: usize,
    reverse: bool,
    /// The cell's sizes, asked once: a cell may count them up.
    input_size: usize,
    state_size: usize,
    saved_size: usize,
}

/// What a stack keeps from its forward pass for the backward pass, and its
/// work space. Belongs to the caller; no allocation once it is large enough.
#[derive(Debug, Clone, Default)]
pub struct StackCache<F: Float> {
    steps: Steps,
    /// Input of every layer, (rows, width).
    inputs: Vec<Vec<F>>,
    /// Masks between layers (0 or 1/(1-p)); empty where nothing is dropped.
    masks: Vec<Vec<F>>,
    runs: Vec<Run<F>>,
    /// Gradients of the outputs and inputs of the layer at hand.
    d_output: Vec<F>,
    d_input: Vec<F>,
}

/// One slot's part of the cache; every array has a row for each valid step.
#[derive(Debug, Clone, Default)]
struct Run<F: Float> {
    packs: Packs<F>,
    /// The newest state of every row of the batch, longest first, (B, S).
    state: Vec<F>,
    prev: Vec<F>,
    next: Vec<F>,
    saved: Vec<F>,
    d_state: Vec<F>,
    d_saved: Vec<F>,
}

/// A state or a gate of one layer and direction, (T, B, width) or (B, T, width)
/// as the output is; zero in the padding. The width is `H` but for a state that
/// a cell declares with another, such as `h` under a projection (`R`).
#[derive(Debug, Clone)]
pub struct Trace<F> {
    /// Layer.
    pub layer: usize,
    /// Direction.
    pub reverse: bool,
    /// `h`, `c`; `r`, `z`, `n`, `hn`; `i`, `f`, `g`, `o`; `m` under a
    /// projection.
    pub name: &'static str,
    /// The numbers.
    pub values: Array3<F>,
}

impl<C> Stack<C> {
    /// The configuration.
    pub fn config(&self) -> &StackConfig {
        &self.config
    }

    /// `D`, 1 or 2.
    pub fn num_directions(&self) -> usize {
        1 + usize::from(self.config.bidirectional)
    }

    /// `I`.
    pub fn input_size(&self) -> usize {
        self.input_size
    }

    /// `D * R`, features of the output.
    pub fn output_size(&self) -> usize {
        self.cell_output * self.num_directions()
    }

    /// The slots of the last layer.
    pub fn last_slots(&self) -> Range<usize> {
        self.slots.len() - self.num_directions()..self.slots.len()
    }

    /// `rnn.` + `weight_ih_l0`, ...: adds the parameters of every layer and
    /// direction to the layout, in PyTorch's order. `prefix` may be empty;
    /// `cell(input_size)` makes the cell of a layer.
    ///
    /// # Errors
    /// Where an option is out of its range, in PyTorch's words, or the sizes are
    /// more than memory can hold; the layout stays as it was then.
    pub fn new<F: Float>(
        layout: &mut Layout,
        prefix: &str,
        config: StackConfig,
        input_size: usize,
        cell: impl Fn(usize) -> C,
    ) -> Result<Self>
    where
        C: Cell<F>,
    {
        let refuse = |text: &str| Err(Error::option(text));
        config.validate()?;
        if input_size == 0 {
            return refuse("input_size must be greater than zero");
        }
        let first = cell(input_size);
        if first.hidden_size() == 0 {
            return refuse("hidden_size must be greater than zero");
        }
        if first.proj_size() >= first.hidden_size() {
            return refuse("proj_size has to be smaller than hidden_size");
        }
        let cell_output = first.output_size();
        let mut grown = layout.clone();
        let directions = 1 + usize::from(config.bidirectional);
        let mut slots = Vec::with_capacity(config.num_layers * directions);
        for layer in 0..config.num_layers {
            let width = if layer == 0 {
                input_size
            } else {
                cell_output.saturating_mul(directions)
            };
            for reverse in [false, true].into_iter().take(directions) {
                let cell = cell(width);
                let start = grown.len();
                for part in cell.params() {
                    let name = full_name(part.name, layer, reverse);
                    let dot = if prefix.is_empty() { "" } else { "." };
                    grown.push(format!("{prefix}{dot}{name}"), &part.shape)?;
                }
                slots.push(Slot {
                    params: start..grown.len(),
                    layer,
                    reverse,
                    input_size: cell.input_size(),
                    state_size: cell.state_size(),
                    saved_size: cell.saved_size(),
                    cell,
                });
            }
        }
        *layout = grown;
        Ok(Self {
            slots,
            config,
            input_size,
            cell_output,
        })
    }

    /// Initial values of every cell, drawn with `uniform(low, high)` in the
    /// order of the layout.
    pub fn init<F: Float>(&self, params: &mut Params<F>, uniform: &mut dyn FnMut(f64, f64) -> F)
    where
        C: Cell<F>,
    {
        let values = params.values_mut();
        for slot in &self.slots {
            slot.cell.init(&mut values[slot.params.clone()], uniform);
        }
    }

    /// A state of zeros.
    pub fn start<F: Float>(&self, batch: usize) -> State<F>
    where
        C: Cell<F>,
    {
        State::zeros(batch, self.slots.iter().map(|s| s.cell.states()))
    }

    /// A whole sequence: reads `x` (T, B, I), writes `y` (T, B, D*R), zero in
    /// the padding, and replaces `state` by the one after each row's last step.
    /// With `batch_first`, `x` and `y` are (B, T, ..).
    ///
    /// # Errors
    /// Where a shape does not fit, in PyTorch's words.
    pub fn forward<F: Float>(
        &self,
        params: &Params<F>,
        x: ArrayView3<'_, F>,
        pass: &Pass<'_>,
        state: &mut State<F>,
        cache: &mut StackCache<F>,
        y: ArrayViewMut3<'_, F>,
    ) -> Result<()>
    where
        C: Cell<F>,
    {
        let (x, mut y) = (self.time_first(x), self.time_first(y));
        let (seq_len, batch, features) = x.dim();
        self.check_features(features)?;
        self.check_params("parameters", params)?;
        if y.dim() != (seq_len, batch, self.output_size()) {
            return Err(Error::shape(format!(
                "output: expected ({seq_len}, {batch}, {}) = (T, B, D * R), got {:?}",
                self.output_size(),
                y.dim()
            )));
        }
        self.begin(seq_len, batch, pass, state, cache)?;
        let StackCache {
            steps,
            inputs,
            masks,
            runs,
            ..
        } = cache;
        steps.gather(x, &mut inputs[0]);
        for (at, (slot, run)) in self.slots.iter().zip(runs.iter_mut()).enumerate() {
            let weights = slot.weights(params);
            let x = &inputs[slot.layer];
            slot.cell
                .prepare(weights, &mut run.packs, x, &mut run.saved);
            for t in steps.times(slot.reverse) {
                slot.advance(weights, x, steps.at(t), run);
            }
            if slot.layer + 1 < self.config.num_layers {
                let mask = &masks[slot.layer];
                let above = &mut inputs[slot.layer + 1];
                self.pass_up(at, run, 0..steps.rows(), mask, above);
            }
        }
        y.fill(F::zero());
        for at in self.last_slots() {
            let outputs = self.outputs(at, &runs[at], 0..steps.rows());
            let y = y.slice_mut(s![.., .., self.columns(at)]);
            steps.scatter(outputs, y, |y, h| *y = h);
        }
        self.write_state(cache, state);
        Ok(())
    }

    /// Back-propagation through time, after [`forward`](Self::forward) with
    /// the same `params` and `cache`.
    ///
    /// Takes the gradient of the output, `dy` (shaped as `y`; its padding is
    /// not read; `None` is zero), and in `d_state` that of the final state;
    /// leaves in `d_state` the gradient of the initial state, and adds to
    /// `grads` and `dx`.
    ///
    /// # Errors
    /// Where a shape does not fit, or the cache holds no pass of this stack.
    pub fn backward<F: Float>(
        &self,
        params: &Params<F>,
        cache: &mut StackCache<F>,
        dy: Option<ArrayView3<'_, F>>,
        d_state: &mut State<F>,
        grads: &mut Grads<F>,
        dx: Option<ArrayViewMut3<'_, F>>,
    ) -> Result<()>
    where
        C: Cell<F>,
    {
        self.check_cache(cache)?;
        self.check_params("parameters", params)?;
        self.check_params("gradients", grads)?;
        let dims = |width| (cache.steps.seq_len(), cache.steps.batch(), width);
        let dy = dy.map(|a| self.time_first(a));
        let dx = dx.map(|a| self.time_first(a));
        for (name, got, expected) in [
            (
                "d_output",
                dy.as_ref().map(|a| a.dim()),
                dims(self.output_size()),
            ),
            (
                "d_input",
                dx.as_ref().map(|a| a.dim()),
                dims(self.input_size),
            ),
        ] {
            if let Some(got) = got.filter(|got| *got != expected) {
                return Err(Error::shape(format!(
                    "{name}: expected {expected:?}, got {got:?}"
                )));
            }
        }
        self.begin_back(d_state, cache)?;
        let StackCache {
            steps,
            inputs,
            masks,
            runs,
            d_output,
            d_input,
        } = cache;
        self.make_room(steps.rows(), [&mut *d_output, &mut *d_input]);
        match dy {
            Some(dy) => steps.gather(dy, d_output),
            None => refill(d_output, steps.rows() * self.output_size()),
        }
        for layer in (0..self.config.num_layers).rev() {
            let x = &inputs[layer];
            refill(d_input, x.len());
            for (at, slot) in self.slots_of(layer) {
                let run = &mut runs[at];
                let (weights, dw) = (slot.weights(params), slot.grads(grads));
                for t in steps.times(!slot.reverse) {
                    let rows = steps.at(t);
                    self.take_down(at, d_output, rows.clone(), run);
                    let d_x = of(d_input, &rows, slot.input_size);
                    slot.retreat(weights, x, rows, run, d_x, dw);
                }
                let d_saved = &run.d_saved;
                slot.cell
                    .input_back(weights, &mut run.packs, d_saved, d_input);
                slot.weights_back(x, run, dw);
            }
            if layer > 0 {
                for (d, m) in d_input.iter_mut().zip(&masks[layer - 1]) {
                    *d *= *m;
                }
                std::mem::swap(d_output, d_input);
            }
        }
        if let Some(dx) = dx {
            let rows = d_input.chunks_exact(self.input_size);
            steps.scatter(rows, dx, |dx, d| *dx += d);
        }
        self.write_d_state(cache, d_state);
        Ok(())
    }

    /// One step of a stream: reads `x` (B, I), writes `y` (B, R), carries
    /// `state`. The same bits as the sequence.
    ///
    /// # Errors
    /// Where a shape does not fit, or the stack is bidirectional: its reverse
    /// direction begins at the end of the sequence.
    pub fn step<F: Float>(
        &self,
        params: &Params<F>,
        x: ArrayView2<'_, F>,
        state: &mut State<F>,
        cache: &mut StackCache<F>,
        y: ArrayViewMut2<'_, F>,
    ) -> Result<()>
    where
        C: Cell<F>,
    {
        self.begin_at(1, x.nrows(), &Pass::default(), state, cache)?;
        self.forward_at(params, 0, x, cache, y)?;
        self.write_state(cache, state);
        Ok(())
    }

    /// Prepares the cache for `seq_len` calls of
    /// [`forward_at`](Self::forward_at), starting from `state`.
    ///
    /// # Errors
    /// Where the stack is bidirectional, the pass has lengths, or the state
    /// does not fit.
    pub fn begin_at<F: Float>(
        &self,
        seq_len: usize,
        batch: usize,
        pass: &Pass<'_>,
        state: &State<F>,
        cache: &mut StackCache<F>,
    ) -> Result<()>
    where
        C: Cell<F>,
    {
        self.check_one_way()?;
        if pass.lengths.is_some() {
            return Err(Error::option(
                "lengths: a stack that goes step by step has rows of one length",
            ));
        }
        self.begin(seq_len, batch, pass, state, cache)
    }

    /// Step `t` of a sequence whose inputs come one after the other (a decoder
    /// that reads its own output): reads `x` (B, I), writes `y` (B, R).
    ///
    /// # Errors
    /// Where a shape does not fit, or [`begin_at`](Self::begin_at) has not
    /// prepared the cache.
    pub fn forward_at<F: Float>(
        &self,
        params: &Params<F>,
        t: usize,
        x: ArrayView2<'_, F>,
        cache: &mut StackCache<F>,
        mut y: ArrayViewMut2<'_, F>,
    ) -> Result<()>
    where
        C: Cell<F>,
    {
        self.check_step(t, cache)?;
        self.check_features(x.ncols())?;
        self.check_params("parameters", params)?;
        let StackCache {
            steps,
            inputs,
            masks,
            runs,
            ..
        } = cache;
        let (batch, r) = (steps.batch(), self.cell_output);
        if x.nrows() != batch || y.dim() != (batch, r) {
            return Err(Error::shape(format!(
                "step {t} of {}: expected input ({batch}, {}) and output ({batch}, {r}), got {:?} and {:?}",
                steps.seq_len(),
                self.input_size,
                x.dim(),
                y.dim()
            )));
        }
        let rows = steps.at(t);
        let place = &mut inputs[0][rows.start * self.input_size..];
        for (to, from) in place.iter_mut().zip(x) {
            *to = *from;
        }
        for (at, (slot, run)) in self.slots.iter().zip(runs.iter_mut()).enumerate() {
            let weights = slot.weights(params);
            let x = &inputs[slot.layer];
            let saved = of(&mut run.saved, &rows, slot.saved_size);
            let x_rows = &x[span(&rows, slot.input_size)];
            slot.cell.prepare(weights, &mut run.packs, x_rows, saved);
            slot.advance(weights, x, rows.clone(), run);
            if slot.layer + 1 < self.config.num_layers {
                let mask = &masks[slot.layer];
                self.pass_up(at, run, rows.clone(), mask, &mut inputs[slot.layer + 1]);
            }
        }
        let at = self.slots.len() - 1;
        let outputs = self.outputs(at, &runs[at], rows);
        for (y, h) in y.iter_mut().zip(outputs.flatten()) {
            *y = *h;
        }
        Ok(())
    }

    /// Ends a run of [`forward_at`](Self::forward_at): writes the newest state.
    ///
    /// # Errors
    /// Where the state does not fit, or the cache holds no pass of this stack.
    pub fn finish<F: Float>(&self, cache: &StackCache<F>, state: &mut State<F>) -> Result<()>
    where
        C: Cell<F>,
    {
        self.check_cache(cache)?;
        self.check_state("state", state, cache.steps.batch())?;
        self.write_state(cache, state);
        Ok(())
    }

    /// Prepares the cache for [`backward_at`](Self::backward_at), from the
    /// gradient of the final state.
    ///
    /// # Errors
    /// Where the state does not fit, or the cache holds no pass of this stack.
    pub fn begin_back<F: Float>(&self, d_state: &State<F>, cache: &mut StackCache<F>) -> Result<()>
    where
        C: Cell<F>,
    {
        self.check_cache(cache)?;
        self.check_state("d_state", d_state, cache.steps.batch())?;
        for (at, run) in cache.runs.iter_mut().enumerate() {
            cache.steps.sort(d_state.slot(at), &mut run.d_state);
            refill(&mut run.d_saved, run.saved.len());
        }
        Ok(())
    }

    /// The derivative of [`forward_at`](Self::forward_at), from the last step
    /// to the first: reads `dy` (B, R), adds to `dx` (B, I) at once, to the
    /// gradients of the weights at the end, in
    /// [`end_back`](Self::end_back).
    ///
    /// # Errors
    /// Where a shape does not fit, or [`begin_back`](Self::begin_back) has not
    /// prepared the cache.
    pub fn backward_at<F: Float>(
        &self,
        params: &Params<F>,
        t: usize,
        cache: &mut StackCache<F>,
        dy: ArrayView2<'_, F>,
        grads: &mut Grads<F>,
        mut dx: ArrayViewMut2<'_, F>,
    ) -> Result<()>
    where
        C: Cell<F>,
    {
        self.check_step(t, cache)?;
        self.check_back(cache)?;
        self.check_params("parameters", params)?;
        self.check_params("gradients", grads)?;
        let StackCache {
            steps,
            inputs,
            masks,
            runs,
            d_output,
            d_input,
        } = cache;
        let (batch, r) = (steps.batch(), self.cell_output);
        if dy.dim() != (batch, r) || dx.dim() != (batch, self.input_size) {
            return Err(Error::shape(format!(
                "step {t} of {} backward: expected ({batch}, {r}) and ({batch}, {}), got {:?} and {:?}",
                steps.seq_len(),
                self.input_size,
                dy.dim(),
                dx.dim()
            )));
        }
        let rows = steps.at(t);
        self.make_room(batch, [&mut *d_output, &mut *d_input]);
        d_output.extend(dy.iter());
        for (at, slot) in self.slots.iter().enumerate().rev() {
            let (run, x) = (&mut runs[at], &inputs[slot.layer]);
            let (weights, dw) = (slot.weights(params), slot.grads(grads));
            let width = slot.input_size;
            refill(d_input, batch * width);
            self.take_down(at, d_output, 0..batch, run);
            slot.retreat(weights, x, rows.clone(), run, d_input, dw);
            let d_saved = of(&mut run.d_saved, &rows, slot.saved_size);
            slot.cell
                .input_back(weights, &mut run.packs, d_saved, d_input);
            if slot.layer > 0 {
                let mask = masks[slot.layer - 1].iter().skip(rows.start * width);
                for (d, m) in d_input.iter_mut().zip(mask) {
                    *d *= *m;
                }
            }
            std::mem::swap(d_output, d_input);
        }
        for (dx, d) in dx.iter_mut().zip(d_output.iter()) {
            *dx += *d;
        }
        Ok(())
    }

    /// Ends a run of [`backward_at`](Self::backward_at): adds the gradients of
    /// the weights, and leaves that of the initial state in `d_state`.
    ///
    /// # Errors
    /// Where a shape does not fit, or [`begin_back`](Self::begin_back) has not
    /// prepared the cache.
    pub fn end_back<F: Float>(
        &self,
        cache: &mut StackCache<F>,
        grads: &mut Grads<F>,
        d_state: &mut State<F>,
    ) -> Result<()>
    where
        C: Cell<F>,
    {
        self.check_back(cache)?;
        self.check_params("gradients", grads)?;
        self.check_state("d_state", d_state, cache.steps.batch())?;
        for (slot, run) in self.slots.iter().zip(&mut cache.runs) {
            let dw = slot.grads(grads);
            slot.weights_back(&cache.inputs[slot.layer], run, dw);
        }
        self.write_d_state(cache, d_state);
        Ok(())
    }

    /// Every state and gate of the last forward pass.
    pub fn trace<F: Float>(&self, cache: &StackCache<F>) -> Vec<Trace<F>>
    where
        C: Cell<F>,
    {
        let steps = &cache.steps;
        let mut out = Vec::new();
        for (slot, run) in self.slots.iter().zip(&cache.runs) {
            let mut take = |name, values: &[F], row: usize, columns: Range<usize>| {
                let column: Vec<F> = values
                    .chunks_exact(row)
                    .flat_map(|row| &row[columns.clone()])
                    .copied()
                    .collect();
                let width = columns.len();
                let mut array = Array3::zeros((steps.seq_len(), steps.batch(), width));
                let rows = column.chunks_exact(width);
                steps.scatter(rows, array.view_mut(), |a, v| *a = v);
                out.push(Trace {
                    layer: slot.layer,
                    reverse: slot.reverse,
                    name,
                    values: self.time_first(array.view()).to_owned(),
                });
            };
            let mut start = 0;
            for part in slot.cell.states() {
                let columns = start..start + part.size();
                start = columns.end;
                take(part.name, &run.next, slot.state_size, columns);
            }
            let h = slot.cell.hidden_size();
            for (i, name) in slot.cell.saved().into_iter().enumerate() {
                let columns = i * h..(i + 1) * h;
                take(name, &run.saved, slot.saved_size, columns);
            }
        }
        out
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
        let end = self.slots.last().map_or(0, |s| s.params.end);
        let got = params.values().len();
        if end <= got {
            return Ok(());
        }
        Err(Error::shape(format!(
            "{name}: expected at least {end} values, got {got}; were they laid out for another network?"
        )))
    }

    fn check_one_way(&self) -> Result<()> {
        if self.config.bidirectional {
            return Err(Error::option(
                "a bidirectional stack cannot go step by step: its reverse direction begins at the end of the sequence",
            ));
        }
        Ok(())
    }

    /// That the cache holds a forward pass of this stack.
    fn check_cache<F: Float>(&self, cache: &StackCache<F>) -> Result<()> {
        let (rows, batch) = (cache.steps.rows(), cache.steps.batch());
        let fits = cache.runs.len() == self.slots.len()
            && cache.inputs.len() == self.config.num_layers
            && self.slots.iter().zip(&cache.runs).all(|(slot, run)| {
                cache.inputs[slot.layer].len() == rows * slot.input_size
                    && run.state.len() == batch * slot.state_size
                    && run.next.len() == rows * slot.state_size
                    && run.saved.len() == rows * slot.saved_size
            });
        if fits {
            return Ok(());
        }
        Err(Error::shape(
            "cache: it holds no forward pass of this stack; run `forward` or `begin_at` with it first",
        ))
    }

    /// That the cache is prepared for step `t` of all rows.
    fn check_step<F: Float>(&self, t: usize, cache: &StackCache<F>) -> Result<()> {
        self.check_one_way()?;
        self.check_cache(cache)?;
        let steps = &cache.steps;
        if t < steps.seq_len() && steps.at(t).len() == steps.batch() {
            return Ok(());
        }
        Err(Error::shape(format!(
            "step {t}: the cache was prepared for {} steps of all {} rows",
            (0..steps.seq_len())
                .take_while(|t| steps.at(*t).len() == steps.batch())
                .count(),
            steps.batch()
        )))
    }

    /// That the cache is prepared for the way back, too.
    fn check_back<F: Float>(&self, cache: &StackCache<F>) -> Result<()> {
        self.check_cache(cache)?;
        let fits = cache.runs.iter().all(|run| {
            run.d_state.len() == run.state.len() && run.d_saved.len() == run.saved.len()
        });
        if fits {
            return Ok(());
        }
        Err(Error::shape(
            "cache: it is not prepared for the way back; run `begin_back` with it first",
        ))
    }

    fn slots_of(&self, layer: usize) -> impl Iterator<Item = (usize, &Slot<C>)> {
        let d = self.num_directions();
        self.slots.iter().enumerate().skip(layer * d).take(d)
    }

    /// Sizes every buffer, loads the initial state, draws the masks.
    fn begin<F: Float>(
        &self,
        seq_len: usize,
        batch: usize,
        pass: &Pass<'_>,
        state: &State<F>,
        cache: &mut StackCache<F>,
    ) -> Result<()>
    where
        C: Cell<F>,
    {
        self.check_state("state", state, batch)?;
        cache.steps.set(seq_len, batch, pass.lengths)?;
        let rows = cache.steps.rows();
        cache.runs.resize_with(self.slots.len(), Run::default);
        cache.inputs.resize_with(self.config.num_layers, Vec::new);
        cache
            .masks
            .resize_with(self.config.num_layers - 1, Vec::new);
        for (at, (slot, run)) in self.slots.iter().zip(&mut cache.runs).enumerate() {
            cache.steps.sort(state.slot(at), &mut run.state);
            run.prev.resize(rows * slot.state_size, F::zero());
            run.next.resize(rows * slot.state_size, F::zero());
            run.saved.resize(rows * slot.saved_size, F::zero());
            cache.inputs[slot.layer].resize(rows * slot.input_size, F::zero());
        }
        for (layer, mask) in cache.masks.iter_mut().enumerate() {
            mask.clear();
            let Some(key) = pass.dropout.filter(|_| self.config.dropout > 0.0) else {
                continue;
            };
            let width = self.output_size();
            mask.resize(rows * width, F::zero());
            let places = cache.steps.places().zip(mask.chunks_exact_mut(width));
            for ((t, row), mask) in places {
                let row = pass.first_row.wrapping_add(row) as u64;
                let key = key.layer(pass.first_layer.wrapping_add(layer as u32));
                let time = pass.first_step.wrapping_add(t) as u64;
                let stream = key.stream(row, time);
                dropout::draw(stream, self.config.dropout, mask);
            }
        }
        Ok(())
    }

    fn write_state<F: Float>(&self, cache: &StackCache<F>, state: &mut State<F>) {
        for (at, run) in cache.runs.iter().enumerate() {
            cache.steps.unsort(&run.state, state.slot_mut(at));
        }
    }

    fn write_d_state<F: Float>(&self, cache: &StackCache<F>, d_state: &mut State<F>) {
        for (at, run) in cache.runs.iter().enumerate() {
            cache.steps.unsort(&run.d_state, d_state.slot_mut(at));
        }
    }

    /// The columns of a slot's outputs in those of its layer.
    fn columns(&self, at: usize) -> Range<usize> {
        let start = at % self.num_directions() * self.cell_output;
        start..start + self.cell_output
    }

    /// The outputs of a slot, row by row: the first part of its states.
    fn outputs<'a, F: Float>(
        &self,
        at: usize,
        run: &'a Run<F>,
        rows: Range<usize>,
    ) -> impl Iterator<Item = &'a [F]> + use<'a, F, C>
    where
        C: Cell<F>,
    {
        let (r, s) = (self.cell_output, self.slots[at].state_size);
        run.next[span(&rows, s)]
            .chunks_exact(s)
            .map(move |row| &row[..r])
    }

    /// Copies a slot's outputs into the next layer's input, through the mask.
    fn pass_up<F: Float>(
        &self,
        at: usize,
        run: &Run<F>,
        rows: Range<usize>,
        mask: &[F],
        above: &mut [F],
    ) where
        C: Cell<F>,
    {
        let width = self.output_size();
        let columns = self.columns(at);
        for (row, output) in rows.clone().zip(self.outputs(at, run, rows)) {
            let place = row * width + columns.start;
            let to = &mut above[place..][..columns.len()];
            to.copy_from_slice(output);
            for (to, m) in to.iter_mut().zip(mask.iter().skip(place)) {
                *to *= *m;
            }
        }
    }

    /// Empties two buffers that are swapped from layer to layer; each has room
    /// for the widest.
    fn make_room<F: Float>(&self, rows: usize, buffers: [&mut Vec<F>; 2]) {
        let inputs = self.slots.iter().map(|s| s.input_size);
        let widest = inputs.fold(self.output_size(), usize::max);
        for buffer in buffers {
            buffer.clear();
            buffer.reserve(rows * widest);
        }
    }

    /// Adds the gradient of a slot's outputs, rows `from` of `d_output`, to
    /// that of its state.
    fn take_down<F: Float>(&self, at: usize, d_output: &[F], from: Range<usize>, run: &mut Run<F>)
    where
        C: Cell<F>,
    {
        let (width, s) = (self.output_size(), self.slots[at].state_size);
        let d_rows = d_output[span(&from, width)].chunks_exact(width);
        for (d_state, d) in run.d_state.chunks_exact_mut(s).zip(d_rows) {
            for (s, d) in d_state.iter_mut().zip(&d[self.columns(at)]) {
                *s += *d;
            }
        }
    }
}

impl<C> Slot<C> {
    fn weights<'a, F: Float>(&self, params: &'a Params<F>) -> Weights<'a, F> {
        Weights {
            values: &params.values()[self.params.clone()],
            stamp: (params.stamp(), self.params.start),
        }
    }

    fn grads<'a, F: Float>(&self, grads: &'a mut Grads<F>) -> &'a mut [F] {
        &mut grads.values_mut()[self.params.clone()]
    }

    /// One step forward of the packed `rows`.
    fn advance<F: Float>(&self, w: Weights<'_, F>, x: &[F], rows: Range<usize>, run: &mut Run<F>)
    where
        C: Cell<F>,
    {
        let s = span(&rows, self.state_size);
        let newest = &mut run.state[..s.len()];
        run.prev[s.clone()].copy_from_slice(newest);
        let step = Rows {
            x: &x[span(&rows, self.input_size)],
            prev: &run.prev[s.clone()],
            hidden: &run.prev[s.clone()],
            next: &mut run.next[s.clone()],
            saved: of(&mut run.saved, &rows, self.saved_size),
        };
        self.cell.forward(w, &mut run.packs, rows.len(), step);
        newest.copy_from_slice(&run.next[s]);
    }

    /// The derivative of [`advance`](Self::advance); `d_x` has these rows only.
    fn retreat<F: Float>(
        &self,
        w: Weights<'_, F>,
        x: &[F],
        rows: Range<usize>,
        run: &mut Run<F>,
        d_x: &mut [F],
        d_weights: &mut [F],
    ) where
        C: Cell<F>,
    {
        let s = span(&rows, self.state_size);
        let v = self.saved_size;
        let step = RowsBack {
            x: &x[span(&rows, self.input_size)],
            prev: &run.prev[s.clone()],
            hidden: &run.prev[s.clone()],
            mask: None,
            next: &run.next[s.clone()],
            saved: &run.saved[span(&rows, v)],
            d_state: &mut run.d_state[..s.len()],
            d_saved: of(&mut run.d_saved, &rows, v),
            d_x: Some(d_x),
            d_weights,
        };
        self.cell.backward(w, &mut run.packs, rows.len(), step);
    }

    /// The gradients of the weights, once all steps have gone back.
    fn weights_back<F: Float>(&self, x: &[F], run: &mut Run<F>, d_weights: &mut [F])
    where
        C: Cell<F>,
    {
        let (prev, saved, d_saved) = (&run.prev, &run.saved, &run.d_saved);
        self.cell
            .weights_back(&mut run.packs, x, prev, saved, d_saved, d_weights);
    }
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
