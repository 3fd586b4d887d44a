//! Stack, readout, head: many-to-one and many-to-many.
//!
//! ```text
//! x (T, B, I) -> stack -> H (T, B, D*H) -> readout (K, B, R) -> head (K, B, O)
//! ```

use super::{Inputs, Network, same_dim, time_first};
use crate::cell::AnyCell;
use crate::layer::{Linear, LinearCache, Pass, RecurrentConfig, Stack, StackCache, State, dropout};
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
    /// The output of every step: K = T.
    EveryStep,
    /// The outputs of the last steps: K as given.
    LastSteps(usize),
    /// The state after each row's last step, both directions side by side:
    /// K = 1.
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
}

/// A recurrent stack with a linear head.
#[derive(Debug, Clone)]
pub struct Sequence {
    config: SequenceConfig,
    stack: Stack<AnyCell>,
    head: Linear,
    layout: Arc<Layout>,
}

/// The cache of a [`Sequence`].
#[derive(Debug, Clone)]
pub struct SequenceCache<F: Float> {
    stack: StackCache<F>,
    head: LinearCache<F>,
    states: Array3<F>,
    d_states: Array3<F>,
    features: Vec<F>,
    d_features: Vec<F>,
    mask: Vec<F>,
    y: Vec<F>,
}

impl<F: Float> Default for SequenceCache<F> {
    fn default() -> Self {
        Self {
            stack: StackCache::default(),
            head: LinearCache::default(),
            states: Array3::zeros((0, 0, 0)),
            d_states: Array3::zeros((0, 0, 0)),
            features: Vec::new(),
            d_features: Vec::new(),
            mask: Vec::new(),
            y: Vec::new(),
        }
    }
}

impl<F: Float> SequenceCache<F> {
    /// The cache of the stack, for a trace.
    pub fn stack(&self) -> &StackCache<F> {
        &self.stack
    }
}

impl Sequence {
    /// Builds the network.
    ///
    /// # Errors
    /// Where an option is out of its range.
    pub fn new(config: &SequenceConfig) -> Result<Self> {
        time_first(&config.recurrent)?;
        if !(0.0..1.0).contains(&config.head_dropout) {
            return Err(Error::option(format!(
                "head_dropout: expected a number from 0 to below 1, got {}",
                config.head_dropout
            )));
        }
        let mut layout = Layout::new();
        let stack = config.recurrent.stack(&mut layout, "rnn")?;
        let width = stack.output_size();
        let features = match config.readout {
            Readout::LastSteps(0) | Readout::AllStates(0) => {
                return Err(Error::option(
                    "readout: the number of steps must be greater than zero",
                ));
            }
            Readout::AllStates(steps) => steps * width,
            _ => width,
        };
        let head = Linear::new(&mut layout, "head", features, config.outputs, true)?;
        Ok(Self {
            config: config.clone(),
            stack,
            head,
            layout: layout.into(),
        })
    }

    /// The configuration.
    pub fn config(&self) -> &SequenceConfig {
        &self.config
    }

    /// The recurrent layers.
    pub fn stack(&self) -> &Stack<AnyCell> {
        &self.stack
    }

    /// Fills `features` (K * B, R) from the outputs (T, B, D*H) and the state.
    fn read<F: Float>(&self, cache: &mut SequenceCache<F>, state: &State<F>) {
        let (seq_len, batch, width) = cache.states.dim();
        let features = &mut cache.features;
        features.clear();
        match self.config.readout {
            Readout::EveryStep => features.extend(&cache.states),
            Readout::LastSteps(k) => {
                features.extend(cache.states.slice(s![seq_len - k.., .., ..]).iter());
            }
            Readout::LastState => {
                let h = width / self.stack.num_directions();
                for b in 0..batch {
                    for slot in self.stack.last_slots() {
                        let row = b * state.width(slot);
                        features.extend_from_slice(&state.slot(slot)[row..row + h]);
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
                let h = width / self.stack.num_directions();
                let mut rows = d.chunks_exact(h);
                for b in 0..batch {
                    for (slot, d) in self.stack.last_slots().zip(&mut rows) {
                        let row = b * d_state.width(slot);
                        let to = &mut d_state.slot_mut(slot)[row..row + h];
                        to.iter_mut().zip(d).for_each(|(s, d)| *s += *d);
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

    /// Draws the mask of the features, (K, B, R); empty without dropout.
    fn draw_mask<F: Float>(&self, pass: &Pass<'_>, batch: usize, cache: &mut SequenceCache<F>) {
        cache.mask.clear();
        let p = self.config.head_dropout;
        let Some(key) = pass.dropout.filter(|_| p > 0.0) else {
            return;
        };
        let width = self.head.in_features();
        cache.mask.resize(cache.features.len(), F::zero());
        let key = key.layer(pass.first_layer + self.stack.config().num_layers as u32);
        for (i, mask) in cache.mask.chunks_exact_mut(width).enumerate() {
            let row = (pass.first_row + i % batch) as u64;
            dropout::draw(key.stream(row, (i / batch) as u64), p, mask);
        }
    }
}

impl<F: Float> Network<F> for Sequence {
    type Cache = SequenceCache<F>;

    fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    fn init(&self, seed: u64) -> Params<F> {
        let mut params = Params::zeros(self.layout.clone());
        let mut rng = TorchRng::new(seed);
        self.stack.init(&mut params, &mut |a, b| rng.uniform(a, b));
        self.head.init(&mut params, &mut |a, b| rng.uniform(a, b));
        params
    }

    fn start(&self, batch: usize) -> State<F> {
        self.stack.start(batch)
    }

    fn output_dim(&self, inputs: &Inputs<'_, F>) -> Result<(usize, usize, usize)> {
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
        let (seq_len, batch, _) = inputs.input.dim();
        let dim = (seq_len, batch, self.stack.output_size());
        if cache.states.dim() != dim {
            cache.states = Array3::zeros(dim);
        }
        let (x, h) = (inputs.input, cache.states.view_mut());
        self.stack
            .forward(params, x, pass, state, &mut cache.stack, h)?;
        self.read(cache, state);
        self.draw_mask(pass, batch, cache);
        for (x, m) in cache.features.iter_mut().zip(&cache.mask) {
            *x *= *m;
        }
        cache.y.resize(y.len(), F::zero());
        self.head
            .forward(params, &cache.features, &mut cache.head, &mut cache.y);
        y.iter_mut().zip(&cache.y).for_each(|(y, v)| *y = *v);
        Ok(())
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
        same_dim("d_prediction", self.output_dim(inputs)?, dy.dim())?;
        cache.y.clear();
        cache.y.extend(dy.iter());
        cache.d_features.clear();
        cache.d_features.resize(cache.features.len(), F::zero());
        let d_features = Some(&mut cache.d_features[..]);
        self.head.backward(
            &cache.features,
            &mut cache.head,
            &cache.y,
            grads,
            d_features,
        );
        for (d, m) in cache.d_features.iter_mut().zip(&cache.mask) {
            *d *= *m;
        }
        self.read_back(cache, d_state);
        let dh = Some(cache.d_states.view());
        self.stack
            .backward(params, &mut cache.stack, dh, d_state, grads, dx)
    }
}
