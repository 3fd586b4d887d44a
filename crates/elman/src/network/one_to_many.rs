//! One vector in, a sequence out.
//!
//! ```text
//! h_0 = tanh(start(v))        y_t = head(h_t)        h_t = stack(y_{t-1}, h_{t-1})
//! ```
//!
//! The first input is zero; an LSTM's cells start at zero.

use super::decoder::{Decoder, DecoderCache, Feed};
use super::{Inputs, Network, check_steps, same_dim, same_layout, time_first, unread};
use crate::layer::{Linear, LinearCache, Pass, RecurrentConfig, State};
use crate::params::{Grads, Layout, Params};
use crate::rng::TorchRng;
use crate::{Error, Float, Result};
use ndarray::{ArrayView3, ArrayViewMut3};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::Arc;

/// A one-to-many network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OneToManyConfig {
    /// The stack, `decoder.weight_ih_l0`, ...; its `input_size` is the number
    /// of features of the prediction, `O`.
    pub recurrent: RecurrentConfig,
    /// I, features of the vector; `start.weight`, `start.bias`.
    pub inputs: usize,
    /// K, steps to predict.
    pub steps: usize,
}

/// A one-to-many network. Reads `input`, a sequence of one step (1, B, I), and
/// `teacher`.
#[derive(Debug, Clone)]
pub struct OneToMany {
    config: OneToManyConfig,
    start: Linear,
    decoder: Decoder,
    layout: Arc<Layout>,
}

/// The cache of a [`OneToMany`].
#[derive(Debug, Clone, Default)]
pub struct OneToManyCache<F: Float> {
    start: LinearCache<F>,
    decoder: DecoderCache<F>,
    /// The vectors (B, I), the states they become (B, L*R), and their gradients.
    v: Vec<F>,
    h: Vec<F>,
    dh: Vec<F>,
    dv: Vec<F>,
}

impl OneToMany {
    /// Builds the network.
    ///
    /// # Errors
    /// Where an option is out of its range, the stack has a reverse direction,
    /// or it learns its initial state.
    pub fn new(config: &OneToManyConfig) -> Result<Self> {
        time_first(&config.recurrent.stack)?;
        let stack = &config.recurrent.stack;
        for (name, set) in [
            ("bidirectional", stack.bidirectional),
            ("reverse", stack.reverse),
        ] {
            if set {
                return Err(Error::option(format!(
                    "{name}: a network that reads its own output goes forward in time only"
                )));
            }
        }
        if stack.learn_initial_state {
            return Err(Error::option(
                "learn_initial_state: the vector decides the state that a one-to-many network begins at",
            ));
        }
        check_steps(config.steps)?;
        let recurrent = &config.recurrent;
        recurrent.stack.validate()?;
        let mut layout = Layout::new();
        let states = (0..stack.num_layers).map(|layer| recurrent.direction_size(layer));
        let states = states.fold(0, usize::saturating_add);
        let start = Linear::new(&mut layout, "start", config.inputs, states, true)?;
        let stack = recurrent.stack(&mut layout, "decoder")?;
        let (h, o) = (stack.output_size(), recurrent.input_size);
        let head = Linear::new(&mut layout, "head", h, o, true)?;
        Ok(Self {
            config: config.clone(),
            start,
            decoder: Decoder { stack, head },
            layout: layout.into(),
        })
    }

    /// The configuration.
    pub fn config(&self) -> &OneToManyConfig {
        &self.config
    }

    /// Refuses an input that is not one vector a row; returns the rows.
    fn check<F: Float>(&self, inputs: &Inputs<'_, F>) -> Result<usize> {
        unread("known", inputs.known.is_some())?;
        unread("start", inputs.start.is_some())?;
        unread("skip", inputs.skip.is_some())?;
        let dim = inputs.input.dim();
        same_dim("input", (1, dim.1, self.config.inputs), dim)?;
        Ok(dim.1)
    }

    /// Where the output of `start` goes: layer, row, and the place in it.
    fn places(&self, batch: usize) -> impl Iterator<Item = (usize, usize, Range<usize>)> + use<'_> {
        let layers = self.config.recurrent.stack.num_layers;
        let rows = (0..batch).flat_map(move |b| (0..layers).map(move |l| (l, b)));
        rows.scan(0, |at, (layer, b)| {
            let start = *at;
            *at += self.decoder.stack.direction_size(layer);
            Some((layer, b, start..*at))
        })
    }
}

impl<F: Float> Network<F> for OneToMany {
    type Cache = OneToManyCache<F>;

    fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    fn draw(&self, seed: u64, params: &mut Params<F>) {
        let mut rng = TorchRng::new(seed);
        let mut uniform = |a, b| rng.uniform(a, b);
        self.start.init(params, &mut uniform);
        self.decoder.stack.init(params, &mut uniform);
        self.decoder.head.init(params, &mut uniform);
    }

    fn start(&self, batch: usize) -> State<F> {
        self.decoder.stack.start(batch)
    }

    fn carries_state(&self) -> Result<()> {
        Err(Error::option(
            "a one-to-many network cannot be cut in time: its input is one vector, which decides the initial state",
        ))
    }

    fn output_dim(&self, inputs: &Inputs<'_, F>) -> Result<(usize, usize, usize)> {
        unread("indices", inputs.indices.is_some())?;
        let batch = self.check(inputs)?;
        Ok((self.config.steps, batch, self.config.recurrent.input_size))
    }

    /// The vector decides the initial state; what `state` held is replaced.
    fn forward(
        &self,
        params: &Params<F>,
        inputs: &Inputs<'_, F>,
        pass: &Pass<'_>,
        state: &mut State<F>,
        cache: &mut Self::Cache,
        y: ArrayViewMut3<'_, F>,
    ) -> Result<()> {
        same_layout("parameters", &self.layout, params)?;
        same_dim("prediction", self.output_dim(inputs)?, y.dim())?;
        unread("lengths", pass.lengths.is_some())?;
        unread("resets", pass.resets.is_some())?;
        let batch = self.check(inputs)?;
        self.decoder.stack.check_state("state", state, batch)?;
        cache.v.clear();
        cache.v.extend(inputs.input.iter());
        let width = self.start.out_features();
        cache.h.resize(batch * width, F::zero());
        self.start
            .forward(params, &cache.v, &mut cache.start, &mut cache.h)?;
        cache.h.iter_mut().for_each(|h| *h = h.tanh_fast());
        state.clear();
        for (layer, b, at) in self.places(batch) {
            let row = b * state.width(layer);
            state.slot_mut(layer)[row..row + at.len()].copy_from_slice(&cache.h[at]);
        }
        let feed = own(inputs);
        self.decoder
            .forward(params, &feed, pass, state, &mut cache.decoder, y)
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
        if let Some(dx) = &dx {
            same_dim("d_input", inputs.input.dim(), dx.dim())?;
        }
        let feed = own(inputs);
        let decoder = &mut cache.decoder;
        self.decoder
            .backward(params, &feed, decoder, dy, d_state, grads)?;
        cache.dh.resize(cache.h.len(), F::zero());
        for (layer, b, at) in self.places(dy.dim().1) {
            let row = b * d_state.width(layer);
            let d = &d_state.slot(layer)[row..row + at.len()];
            let states = cache.h[at.clone()].iter().zip(d);
            for (to, (h, d)) in cache.dh[at].iter_mut().zip(states) {
                *to = *d * (F::one() - *h * *h);
            }
        }
        cache.dv.clear();
        cache.dv.resize(cache.v.len(), F::zero());
        let dv = Some(&mut cache.dv[..]);
        self.start
            .backward(&cache.v, &mut cache.start, &cache.dh, grads, dv)?;
        if let Some(mut dx) = dx {
            dx.iter_mut().zip(&cache.dv).for_each(|(x, v)| *x += *v);
        }
        d_state.clear();
        Ok(())
    }
}

fn own<'a, F: Float>(inputs: &Inputs<'a, F>) -> Feed<'a, F> {
    Feed {
        start: None,
        known: None,
        teacher: inputs.teacher,
    }
}
