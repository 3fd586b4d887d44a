//! Stack, readout, head: many-to-one and many-to-many.
//!
//! ```text
//! x (T, B, I) -> stack -> H (T, B, D*H) -> readout (K, B, R) -> head (K, B, O)
//! ```
//!
//! A skip connection adds a linear map of a vector beside the sequence to the
//! prediction: what is linear need not go through the recurrent layers (the
//! autoregressive part of LSTNet, Lai et al. 2018).

use super::{Inputs, Network, same_dim, same_layout, time_first, unread};
use crate::cell::{AnyCell, Cell};
use crate::layer::{
    Checkpoint, CheckpointCache, Checkpointed, Linear, LinearCache, Merge, Pass, RecurrentConfig,
    Stack, StackCache, StackConfig, State, cut, dropout,
};
use crate::params::{Grads, Layout, Params};
use crate::rng::TorchRng;
use crate::{Error, Float, Result};
use ndarray::{Array3, ArrayView3, ArrayViewMut3, s};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Which states the head reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Readout {
    /// The output of every step: K = T. The prediction past a row's length is
    /// zero, and its gradient there is not read.
    EveryStep,
    /// The outputs of the last steps: K as given.
    LastSteps(usize),
    /// The state after each row's last step, both directions side by side or
    /// merged as the stack's [`Merge`] says: K = 1. Not with residual
    /// connections, which go past the state.
    LastState,
    /// The outputs of all steps side by side, for sequences of this length
    /// only: K = 1. The worked example's head.
    AllStates(usize),
}

/// A recurrent stack with a linear head.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SequenceConfig {
    /// The stack; its parameters are named `rnn.weight_ih_l0`, ...
    pub recurrent: RecurrentConfig,
    /// What the head reads.
    pub readout: Readout,
    /// O, features of the prediction; the head is `head.weight`, `head.bias`.
    pub outputs: usize,
    /// Share of what the head reads that is set to zero in training.
    pub head_dropout: f64,
    /// A linear map from a vector beside the sequence to all K * O outputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip: Option<Skip>,
}

/// A skip connection, `skip.weight` and `skip.bias`; their initial values are
/// zero.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Skip {
    /// S, features of the vector.
    pub inputs: usize,
    /// Share of them that is set to zero in training.
    pub dropout: f64,
}

/// What reads a stack of any cells: a [`SequenceConfig`] but for its recurrent
/// layers.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadConfig {
    /// What the head reads.
    pub readout: Readout,
    /// O, features of the prediction.
    pub outputs: usize,
    /// Share of what the head reads that is set to zero in training.
    pub head_dropout: f64,
    /// A linear map from a vector beside the sequence to all K * O outputs.
    pub skip: Option<Skip>,
}

/// A recurrent stack with a linear head. Reads `input` and, where it has a skip
/// connection, `skip`.
///
/// Its cells are those of this crate, or of a type of one's own, made by
/// [`with_cells`](Self::with_cells).
#[derive(Debug, Clone)]
pub struct Sequence<C = AnyCell> {
    /// `None` where the cells came from a closure.
    recurrent: Option<RecurrentConfig>,
    config: HeadConfig,
    stack: Stack<C>,
    head: Linear,
    skip: Option<Linear>,
    layout: Arc<Layout>,
    checkpoint: Option<Checkpoint>,
}

/// The cache of a [`Sequence`].
#[derive(Debug, Clone)]
pub struct SequenceCache<F: Float> {
    stack: CheckpointCache<F>,
    head: LinearCache<F>,
    states: Array3<F>,
    d_states: Array3<F>,
    /// The last states of both directions side by side, where the head reads
    /// them merged.
    last: Vec<F>,
    features: Vec<F>,
    d_features: Vec<F>,
    mask: Vec<F>,
    /// Steps of each row that are predicted; empty where all are.
    lengths: Vec<usize>,
    y: Vec<F>,
    skip: LinearCache<F>,
    /// The skip connection's vectors (B, S), its mask, and its outputs, a row
    /// for each of the batch (B, K*O).
    vectors: Vec<F>,
    skip_mask: Vec<F>,
    skipped: Vec<F>,
    /// The predictions of a segment that is run again; not looked at.
    again: Array3<F>,
}

/// Sets to zero what lies past the rows' lengths in `y` (K, B, O).
fn blank<F: Float>(lengths: &[usize], outputs: usize, y: &mut [F]) {
    let steps = y.chunks_exact_mut(outputs * lengths.len().max(1));
    for (t, step) in steps.enumerate() {
        for (row, length) in step.chunks_exact_mut(outputs).zip(lengths) {
            if t >= *length {
                row.fill(F::zero());
            }
        }
    }
}

impl<F: Float> Default for SequenceCache<F> {
    fn default() -> Self {
        Self {
            stack: CheckpointCache::default(),
            head: LinearCache::default(),
            states: Array3::zeros((0, 0, 0)),
            d_states: Array3::zeros((0, 0, 0)),
            last: Vec::new(),
            features: Vec::new(),
            d_features: Vec::new(),
            mask: Vec::new(),
            lengths: Vec::new(),
            y: Vec::new(),
            skip: LinearCache::default(),
            vectors: Vec::new(),
            skip_mask: Vec::new(),
            skipped: Vec::new(),
            again: Array3::zeros((0, 0, 0)),
        }
    }
}

impl<F: Float> SequenceCache<F> {
    /// The cache of the stack, for a trace; under checkpointing it holds one
    /// segment.
    pub fn stack(&self) -> &StackCache<F> {
        &self.stack.stack
    }
}

impl Sequence {
    /// Builds the network.
    ///
    /// # Errors
    /// Where an option is out of its range, or asks for a readout that the
    /// stack does not have.
    pub fn new(config: &SequenceConfig) -> Result<Self> {
        time_first(&config.recurrent.stack)?;
        let mut layout = Layout::new();
        let head = HeadConfig {
            readout: config.readout,
            outputs: config.outputs,
            head_dropout: config.head_dropout,
            skip: config.skip,
        };
        head.check()?;
        let stack = config.recurrent.stack(&mut layout, "rnn")?;
        Self::of(Some(config.recurrent.clone()), head, stack, layout)
    }
}

impl HeadConfig {
    fn check(&self) -> Result<()> {
        for (name, p) in [
            ("head_dropout", self.head_dropout),
            ("skip.dropout", self.skip.map_or(0.0, |s| s.dropout)),
        ] {
            if !(0.0..1.0).contains(&p) {
                return Err(Error::option(format!(
                    "{name}: expected a number from 0 to below 1, got {p}"
                )));
            }
        }
        Ok(())
    }
}

impl<C> Sequence<C> {
    /// Builds the network with cells of any type: `cell(layer, input_size)`
    /// makes those of a layer. Its parameters are named as ever,
    /// `rnn.weight_l0`, ... after the cell's parts, and `head.weight`,
    /// `head.bias`.
    ///
    /// # Errors
    /// As [`new`](Sequence::new).
    pub fn with_cells<F: Float>(
        stack: &StackConfig,
        input_size: usize,
        head: &HeadConfig,
        cell: impl Fn(usize, usize) -> C,
    ) -> Result<Self>
    where
        C: Cell<F>,
    {
        time_first(stack)?;
        head.check()?;
        let mut layout = Layout::new();
        let stack = Stack::new::<F>(&mut layout, "rnn", stack.clone(), input_size, cell)?;
        Self::of(None, head.clone(), stack, layout)
    }

    /// What comes after the stack.
    fn of(
        recurrent: Option<RecurrentConfig>,
        config: HeadConfig,
        stack: Stack<C>,
        mut layout: Layout,
    ) -> Result<Self> {
        if config.readout == Readout::LastState && stack.config().residual {
            return Err(Error::option(
                "residual: its connections go past the state that the readout last_state reads; use last_steps or every_step",
            ));
        }
        let width = stack.output_size();
        let features = match config.readout {
            Readout::LastSteps(0) | Readout::AllStates(0) => {
                return Err(Error::option(
                    "readout: the number of steps must be greater than zero",
                ));
            }
            Readout::AllStates(steps) => width.saturating_mul(steps),
            _ => width,
        };
        let head = Linear::new(&mut layout, "head", features, config.outputs, true)?;
        let skip = match (config.skip, config.readout) {
            (None, _) => None,
            (Some(_), Readout::EveryStep) => {
                return Err(Error::option(
                    "skip: a skip connection needs a fixed number of outputs; the readout every_step has none",
                ));
            }
            (Some(skip), readout) => {
                let steps = match readout {
                    Readout::LastSteps(k) => k,
                    _ => 1,
                };
                let outputs = config.outputs.saturating_mul(steps);
                Some(Linear::new(
                    &mut layout,
                    "skip",
                    skip.inputs,
                    outputs,
                    true,
                )?)
            }
        };
        Ok(Self {
            recurrent,
            config,
            stack,
            head,
            skip,
            layout: layout.into(),
            checkpoint: None,
        })
    }

    /// The same network with [checkpointing over time](Checkpoint): less memory
    /// in training for one more forward pass. No part of the configuration, and
    /// so of no model file.
    ///
    /// With the readout `every_step` all that the network keeps is of one
    /// segment; with the others the outputs of the last layer, which the head
    /// reads, are kept whole.
    ///
    /// ```
    /// use elman::cell::CellKind;
    /// use elman::layer::{Checkpoint, RecurrentConfig};
    /// use elman::network::{Readout, Sequence, SequenceConfig};
    /// let network = Sequence::new(&SequenceConfig {
    ///     recurrent: RecurrentConfig::new(CellKind::Gru, 1, 16),
    ///     readout: Readout::EveryStep,
    ///     outputs: 1,
    ///     head_dropout: 0.0,
    ///     skip: None,
    /// })?
    /// .checkpointed(Checkpoint::Sqrt)?;
    /// # Ok::<(), elman::Error>(())
    /// ```
    ///
    /// # Errors
    /// Where the stack is bidirectional, or a segment has no steps.
    pub fn checkpointed(self, checkpoint: Checkpoint) -> Result<Self> {
        self.stack.checkpointed(checkpoint)?;
        Ok(Self {
            checkpoint: Some(checkpoint),
            ..self
        })
    }

    /// The configuration, which a model file has; `None` where the cells came
    /// from a closure, which no file can hold.
    pub fn config(&self) -> Option<SequenceConfig> {
        Some(SequenceConfig {
            recurrent: self.recurrent.clone()?,
            readout: self.config.readout,
            outputs: self.config.outputs,
            head_dropout: self.config.head_dropout,
            skip: self.config.skip,
        })
    }

    /// R, features of one direction of the last layer.
    fn direction_size(&self) -> usize {
        self.stack
            .direction_size(self.stack.config().num_layers - 1)
    }

    /// The recurrent layers.
    pub fn stack(&self) -> &Stack<C> {
        &self.stack
    }

    /// Fills `features` (K * B, R) from the outputs (T, B, D*H) and the state.
    fn read<F: Float>(&self, cache: &mut SequenceCache<F>, state: &State<F>) {
        let (seq_len, batch, _) = cache.states.dim();
        let features = &mut cache.features;
        features.clear();
        match self.config.readout {
            Readout::EveryStep => features.extend(&cache.states),
            Readout::LastSteps(k) => {
                features.extend(cache.states.slice(s![seq_len - k.., .., ..]).iter());
            }
            Readout::LastState => {
                let (r, merge) = (self.direction_size(), self.stack.config().merge);
                let states = match merge {
                    Merge::Concat => &mut *features,
                    _ => &mut cache.last,
                };
                states.clear();
                for b in 0..batch {
                    for slot in self.stack.last_slots() {
                        let row = b * state.width(slot);
                        states.extend_from_slice(&state.slot(slot)[row..row + r]);
                    }
                }
                if merge != Merge::Concat {
                    for both in cache.last.chunks_exact(2 * r) {
                        let (forward, reverse) = both.split_at(r);
                        let both = forward.iter().zip(reverse);
                        features.extend(both.map(|(f, r)| merge.join(*f, *r)));
                    }
                }
            }
            Readout::AllStates(_) => {
                for b in 0..batch {
                    features.extend(cache.states.slice(s![.., b, ..]).iter());
                }
            }
        }
    }

    /// The derivative of [`read`](Self::read): from `d_features` to `d_states`
    /// and, for the last state, `d_state`.
    fn read_back<F: Float>(&self, cache: &mut SequenceCache<F>, d_state: &mut State<F>) {
        let (seq_len, batch, width) = cache.states.dim();
        let d = &cache.d_features;
        if cache.d_states.dim() != cache.states.dim() {
            cache.d_states = Array3::zeros(cache.states.dim());
        }
        let d_states = &mut cache.d_states;
        d_states.fill(F::zero());
        match self.config.readout {
            Readout::EveryStep => d_states.iter_mut().zip(d).for_each(|(s, d)| *s = *d),
            Readout::LastSteps(k) => {
                let mut last = d_states.slice_mut(s![seq_len - k.., .., ..]);
                last.iter_mut().zip(d).for_each(|(s, d)| *s = *d);
            }
            Readout::LastState => {
                let (r, merge) = (self.direction_size(), self.stack.config().merge);
                let directions = self.stack.num_directions();
                for b in 0..batch {
                    for (k, slot) in self.stack.last_slots().enumerate() {
                        let row = b * d_state.width(slot);
                        let to = d_state.slot_mut(slot)[row..row + r].iter_mut();
                        if merge == Merge::Concat {
                            let d = &d[(b * directions + k) * r..];
                            to.zip(d).for_each(|(s, d)| *s += *d);
                        } else {
                            let other = &cache.last[(b * directions + 1 - k) * r..];
                            let d = d[b * r..].iter().zip(other);
                            to.zip(d)
                                .for_each(|(s, (d, other))| *s += merge.split(*d, *other));
                        }
                    }
                }
            }
            Readout::AllStates(_) => {
                for (b, d) in d.chunks_exact(seq_len * width).enumerate() {
                    let mut row = d_states.slice_mut(s![.., b, ..]);
                    row.iter_mut().zip(d).for_each(|(s, d)| *s = *d);
                }
            }
        }
    }

    /// Draws a mask (K, B, width) for a part after the stack; empty without
    /// dropout.
    fn draw_mask<F: Float>(
        &self,
        pass: &Pass<'_>,
        (part, p): (u32, f64),
        (batch, width): (usize, usize),
        len: usize,
        mask: &mut Vec<F>,
    ) {
        mask.clear();
        let Some(key) = pass.dropout.filter(|_| p > 0.0) else {
            return;
        };
        mask.resize(len, F::zero());
        let layers = self.stack.config().num_layers as u32;
        let key = key.layer(pass.first_layer.wrapping_add(layers + part));
        for (i, mask) in mask.chunks_exact_mut(width).enumerate() {
            let row = pass.first_row.wrapping_add(i % batch) as u64;
            let time = pass.first_step.wrapping_add(i / batch) as u64;
            dropout::draw(key.stream(row, time), p, mask);
        }
    }

    /// Adds the skip connection's part to `y` (K, B, O).
    fn add_skip<F: Float>(
        &self,
        params: &Params<F>,
        inputs: &Inputs<'_, F>,
        pass: &Pass<'_>,
        cache: &mut SequenceCache<F>,
        y: &mut ArrayViewMut3<'_, F>,
    ) -> Result<()> {
        let (Some(skip), Some(config)) = (&self.skip, self.config.skip) else {
            return Ok(());
        };
        let (_, batch, outputs) = y.dim();
        let Some(vectors) = inputs.skip else {
            return Err(Error::shape(format!(
                "skip: this network reads a vector of {} features beside each sequence; it is missing",
                config.inputs
            )));
        };
        same_dim("skip", (batch, config.inputs), vectors.dim())?;
        cache.vectors.clear();
        cache.vectors.extend(vectors.iter());
        let (size, len) = ((batch, config.inputs), cache.vectors.len());
        self.draw_mask(pass, (1, config.dropout), size, len, &mut cache.skip_mask);
        for (x, m) in cache.vectors.iter_mut().zip(&cache.skip_mask) {
            *x *= *m;
        }
        cache.skipped.resize(y.len(), F::zero());
        skip.forward(params, &cache.vectors, &mut cache.skip, &mut cache.skipped)?;
        let width = skip.out_features();
        for ((k, b, o), y) in y.indexed_iter_mut() {
            *y += cache.skipped[b * width + k * outputs + o];
        }
        Ok(())
    }

    /// The derivative of [`add_skip`](Self::add_skip), for its weights.
    fn skip_back<F: Float>(
        &self,
        cache: &mut SequenceCache<F>,
        dy: &ArrayView3<'_, F>,
        grads: &mut Grads<F>,
    ) -> Result<()> {
        let Some(skip) = &self.skip else {
            return Ok(());
        };
        let (outputs, width) = (dy.dim().2, skip.out_features());
        cache.skipped.resize(dy.len(), F::zero());
        for ((k, b, o), d) in dy.indexed_iter() {
            cache.skipped[b * width + k * outputs + o] = *d;
        }
        skip.backward(&cache.vectors, &mut cache.skip, &cache.skipped, grads, None)
    }

    /// The segments of a network that is checkpointed as a whole.
    fn by_segments(&self) -> Option<Checkpoint> {
        (self.checkpoint).filter(|_| self.config.readout == Readout::EveryStep)
    }

    /// The stack where it alone is checkpointed.
    fn checkpoint_stack(&self) -> Result<Option<Checkpointed<'_, C>>> {
        (self.checkpoint)
            .filter(|_| self.by_segments().is_none())
            .map(|checkpoint| self.stack.checkpointed(checkpoint))
            .transpose()
    }

    /// Stack, readout, head: a whole sequence, or one segment of it.
    fn predict<F: Float>(
        &self,
        params: &Params<F>,
        inputs: &Inputs<'_, F>,
        pass: &Pass<'_>,
        state: &mut State<F>,
        cache: &mut SequenceCache<F>,
        mut y: ArrayViewMut3<'_, F>,
    ) -> Result<()>
    where
        C: Cell<F>,
    {
        let (seq_len, batch, _) = inputs.input.dim();
        let dim = (seq_len, batch, self.stack.output_size());
        if cache.states.dim() != dim {
            cache.states = Array3::zeros(dim);
        }
        let (x, h) = (inputs.input, cache.states.view_mut());
        match self.checkpoint_stack()? {
            Some(stack) => stack.forward(params, x, pass, state, &mut cache.stack, h)?,
            None => (self.stack).forward(params, x, pass, state, &mut cache.stack.stack, h)?,
        }
        self.read(cache, state);
        let p = self.config.head_dropout;
        let (size, len) = ((batch, self.head.in_features()), cache.features.len());
        self.draw_mask(pass, (0, p), size, len, &mut cache.mask);
        for (x, m) in cache.features.iter_mut().zip(&cache.mask) {
            *x *= *m;
        }
        cache.y.resize(y.len(), F::zero());
        self.head
            .forward(params, &cache.features, &mut cache.head, &mut cache.y)?;
        cache.lengths.clear();
        if self.config.readout == Readout::EveryStep {
            cache.lengths.extend(pass.lengths.unwrap_or_default());
        }
        blank(&cache.lengths, self.config.outputs, &mut cache.y);
        y.iter_mut().zip(&cache.y).for_each(|(y, v)| *y = *v);
        self.add_skip(params, inputs, pass, cache, &mut y)
    }

    /// The derivative of [`predict`](Self::predict).
    #[expect(clippy::too_many_arguments, reason = "the call shape of every layer")]
    fn predict_back<F: Float>(
        &self,
        params: &Params<F>,
        inputs: &Inputs<'_, F>,
        cache: &mut SequenceCache<F>,
        dy: ArrayView3<'_, F>,
        d_state: &mut State<F>,
        grads: &mut Grads<F>,
        dx: Option<ArrayViewMut3<'_, F>>,
    ) -> Result<()>
    where
        C: Cell<F>,
    {
        let (seq_len, batch, _) = inputs.input.dim();
        let of_pass = (seq_len, batch, self.stack.output_size());
        same_dim("cache, from the forward pass", of_pass, cache.states.dim())?;
        self.stack.check_state("d_state", d_state, batch)?;
        self.skip_back(cache, &dy, grads)?;
        cache.y.clear();
        cache.y.extend(dy.iter());
        blank(&cache.lengths, self.config.outputs, &mut cache.y);
        cache.d_features.clear();
        cache.d_features.resize(cache.features.len(), F::zero());
        let d_features = Some(&mut cache.d_features[..]);
        self.head.backward(
            &cache.features,
            &mut cache.head,
            &cache.y,
            grads,
            d_features,
        )?;
        for (d, m) in cache.d_features.iter_mut().zip(&cache.mask) {
            *d *= *m;
        }
        if self.config.readout == Readout::LastState && self.stack.config().merge != Merge::Concat {
            let both = batch * 2 * self.direction_size();
            same_dim("cache, from the forward pass", both, cache.last.len())?;
        }
        self.read_back(cache, d_state);
        let dh = Some(cache.d_states.view());
        match self.checkpoint_stack()? {
            Some(stack) => {
                let (x, cache) = (inputs.input, &mut cache.stack);
                stack.backward(params, x, cache, dh, d_state, grads, dx)
            }
            None => {
                let cache = &mut cache.stack.stack;
                self.stack.backward(params, cache, dh, d_state, grads, dx)
            }
        }
    }
}

impl<F: Float, C: Cell<F>> Network<F> for Sequence<C> {
    type Cache = SequenceCache<F>;

    fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    fn draw(&self, seed: u64, params: &mut Params<F>) {
        let mut rng = TorchRng::new(seed);
        self.stack.init(params, &mut |a, b| rng.uniform(a, b));
        self.head.init(params, &mut |a, b| rng.uniform(a, b));
    }

    fn start(&self, batch: usize) -> State<F> {
        self.stack.start(batch)
    }

    fn carries_state(&self) -> Result<()> {
        self.stack.check_cut()?;
        if self.config.readout == Readout::EveryStep {
            return Ok(());
        }
        Err(Error::option(
            "a sequence can be cut in time only where every step has a prediction; use the readout every_step",
        ))
    }

    fn output_dim(&self, inputs: &Inputs<'_, F>) -> Result<(usize, usize, usize)> {
        unread("indices", inputs.indices.is_some())?;
        unread("known", inputs.known.is_some())?;
        unread("start", inputs.start.is_some())?;
        unread("teacher", inputs.teacher.is_some())?;
        unread("skip", inputs.skip.is_some() && self.skip.is_none())?;
        let (seq_len, batch, _) = inputs.input.dim();
        let steps = match self.config.readout {
            Readout::EveryStep => seq_len,
            Readout::LastState => 1,
            Readout::LastSteps(k) if seq_len >= k => k,
            Readout::LastSteps(k) => {
                return Err(Error::shape(format!(
                    "input: expected at least {k} steps, which the head reads, got {seq_len}"
                )));
            }
            Readout::AllStates(k) if seq_len == k => 1,
            Readout::AllStates(k) => {
                return Err(Error::shape(format!(
                    "input: expected {k} steps, whose states the head reads side by side, got {seq_len}"
                )));
            }
        };
        Ok((steps, batch, self.config.outputs))
    }

    fn forward(
        &self,
        params: &Params<F>,
        inputs: &Inputs<'_, F>,
        pass: &Pass<'_>,
        state: &mut State<F>,
        cache: &mut Self::Cache,
        mut y: ArrayViewMut3<'_, F>,
    ) -> Result<()> {
        same_layout("parameters", &self.layout, params)?;
        same_dim("prediction", self.output_dim(inputs)?, y.dim())?;
        let fixed = matches!(
            self.config.readout,
            Readout::LastSteps(_) | Readout::AllStates(_)
        );
        if pass.lengths.is_some() && fixed {
            return Err(Error::option(
                "lengths: this readout takes sequences of one length; use last_state or every_step",
            ));
        }
        let Some(checkpoint) = self.by_segments() else {
            return self.predict(params, inputs, pass, state, cache, y);
        };
        let (seq_len, batch, _) = inputs.input.dim();
        self.stack.check_state("state", state, batch)?;
        let mut segments = std::mem::take(&mut cache.stack.segments);
        let size = (seq_len, batch);
        let done = segments.forward(checkpoint, size, pass, state, |part, pass, state| {
            let y = cut(y.view_mut(), part);
            self.predict(params, &inputs.cut(part), pass, state, cache, y)
        });
        cache.stack.segments = segments;
        done
    }

    fn backward(
        &self,
        params: &Params<F>,
        inputs: &Inputs<'_, F>,
        cache: &mut Self::Cache,
        dy: ArrayView3<'_, F>,
        d_state: &mut State<F>,
        grads: &mut Grads<F>,
        dx: Option<ArrayViewMut3<'_, F>>,
    ) -> Result<()> {
        same_layout("parameters", &self.layout, params)?;
        same_layout("gradients", &self.layout, grads)?;
        same_dim("d_prediction", self.output_dim(inputs)?, dy.dim())?;
        if self.by_segments().is_none() {
            return self.predict_back(params, inputs, cache, dy, d_state, grads, dx);
        }
        let (seq_len, batch, _) = inputs.input.dim();
        if let Some(dx) = &dx {
            same_dim("d_input", inputs.input.dim(), dx.dim())?;
        }
        self.stack.check_state("d_state", d_state, batch)?;
        let mut segments = std::mem::take(&mut cache.stack.segments);
        let mut y = std::mem::take(&mut cache.again);
        let mut dx = dx;
        let done = segments.backward((seq_len, batch), |part, again| {
            let (inputs, dy) = (inputs.cut(part), cut(dy.view(), part));
            if let Some((pass, state)) = again {
                if y.dim() != dy.dim() {
                    y = Array3::zeros(dy.dim());
                }
                self.predict(params, &inputs, pass, state, cache, y.view_mut())?;
            }
            let dx = dx.as_mut().map(|dx| cut(dx.view_mut(), part));
            self.predict_back(params, &inputs, cache, dy, d_state, grads, dx)
        });
        cache.stack.segments = segments;
        cache.again = y;
        done
    }
}
