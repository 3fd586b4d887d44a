//! What a stack keeps between its passes: sizes, masks, and where rows start.

use super::super::steps::marks;
use super::super::{Pass, State, Steps, dropout};
use super::{Slot, Stack, StackConfig};
use crate::cell::{Cell, Packs, Weights};
use crate::params::{Grads, Params, fresh_stamp};
use crate::rng::{Key, Purpose};
use crate::{Error, Float, Result};
use ndarray::ArrayView2;
use std::ops::Range;

/// What a stack keeps from its forward pass for the backward pass, and its
/// work space. Belongs to the caller; no allocation once it is large enough.
#[derive(Debug, Clone, Default)]
pub struct StackCache<F: Float> {
    pub(super) steps: Steps,
    pub(super) starts: Starts,
    /// Input of every layer, (rows, width).
    pub(super) inputs: Vec<Vec<F>>,
    /// Masks between layers (0 or 1/(1-p)); empty where nothing is dropped.
    pub(super) masks: Vec<Vec<F>>,
    pub(super) runs: Vec<Run<F>>,
    pub(super) dropped: Vec<Dropped<F>>,
    /// Gradients of the outputs and inputs of the layer at hand, and of the
    /// outputs of its directions, side by side, where another merge made one of
    /// them.
    pub(super) d_output: Vec<F>,
    pub(super) d_input: Vec<F>,
    pub(super) d_directions: Vec<F>,
}

/// One slot's part of the cache; every array has a row for each valid step,
/// those of options that are off are empty.
#[derive(Debug, Clone, Default)]
pub(super) struct Run<F: Float> {
    pub packs: Packs<F>,
    /// The newest state of every row of the batch, longest first, (B, S).
    pub state: Vec<F>,
    pub prev: Vec<F>,
    /// The states that the cell came to.
    pub next: Vec<F>,
    pub saved: Vec<F>,
    pub d_state: Vec<F>,
    pub d_saved: Vec<F>,
    /// Recurrent dropout: the masks of the batch, longest row first, (B, R),
    /// and what the products read in place of `prev`.
    pub mask: Vec<F>,
    pub hidden: Vec<F>,
    /// Zoneout: the share that each unit keeps of its old value, (rows, S) or
    /// one row for all, (S); the states that come of it; and the gradient that
    /// goes past the cell, of one step.
    pub kept: Vec<F>,
    pub mixed: Vec<F>,
    pub d_kept: Vec<F>,
}

impl<F: Float> Run<F> {
    /// The states after every step, (rows, S).
    pub fn states(&self) -> &[F] {
        if self.kept.is_empty() {
            &self.next
        } else {
            &self.mixed
        }
    }
}

/// The shares in [`Run::kept`] of a step whose states lie at `span`.
pub(super) fn kept_at<'a, F>(kept: &'a [F], span: &Range<usize>) -> impl Iterator<Item = &'a F> {
    kept.get(span.clone()).unwrap_or(kept).iter().cycle()
}

/// Where rows start afresh: from zeros, or the learned initial state.
#[derive(Debug, Clone, Default)]
pub(super) struct Starts {
    /// Whether the stack learns its initial state.
    learned: bool,
    /// Rows whose state was fresh before the pass, longest first, (B).
    fresh: Vec<bool>,
    /// Marks of the pass, (rows); empty where there are none.
    resets: Vec<bool>,
}

impl Starts {
    /// The rows of step `t` that do not go on from the step before it (in
    /// reverse, after it) nor from the state that was given.
    pub fn afresh(
        &self,
        steps: &Steps,
        t: usize,
        reverse: bool,
    ) -> impl Iterator<Item = usize> + use<'_> {
        // A boundary is marked at the later one of its two steps.
        let later = t + usize::from(reverse);
        let rows = if later < steps.seq_len() {
            steps.at(later)
        } else {
            0..0
        };
        let marks = self.resets.get(rows.clone()).unwrap_or_default();
        let first = if reverse {
            rows.len()
        } else if t == 0 {
            0
        } else {
            usize::MAX
        };
        let fresh = if self.learned { &self.fresh[..] } else { &[] };
        (0..steps.at(t).len()).filter(move |row| {
            marks.get(*row).is_some_and(|mark| *mark)
                || *row >= first && fresh.get(*row).is_some_and(|fresh| *fresh)
        })
    }

    fn set<F: Float>(
        &mut self,
        config: &StackConfig,
        steps: &Steps,
        state: &State<F>,
        resets: Option<ArrayView2<'_, bool>>,
    ) -> Result<()> {
        self.learned = config.learn_initial_state;
        self.fresh.clear();
        let rows = steps.order().iter();
        self.fresh.extend(rows.map(|row| state.is_fresh(*row)));
        self.resets.clear();
        let Some(resets) = resets else { return Ok(()) };
        let size = (steps.seq_len(), steps.batch());
        let resets = marks(resets, config.batch_first, size)?;
        self.resets
            .extend(steps.places().map(|place| resets[place]));
        Ok(())
    }
}

/// A slot's parameters under weight drop: the same for all rows and steps of a
/// training step.
#[derive(Debug, Clone, Default)]
pub(super) struct Dropped<F> {
    /// The mask of the recurrent weights (0 or 1/(1-p)); empty where nothing is
    /// dropped.
    mask: Vec<F>,
    /// What the mask was drawn from: key, probability, place.
    drawn: Option<(Key, u64, [usize; 2])>,
    /// The cell's parameters, thinned out, and their stamp.
    values: Vec<F>,
    stamp: u64,
    /// What they are a copy of: stamp and place.
    copied: Option<(u64, [usize; 2])>,
    /// The gradients of `values`.
    d_values: Vec<F>,
}

impl<F: Float> Dropped<F> {
    fn draw<C>(&mut self, slot: &Slot<C>, key: Option<Key>, p: f64) {
        let Some(key) = key.filter(|_| p > 0.0) else {
            self.mask.clear();
            (self.drawn, self.copied) = (None, None);
            return;
        };
        let place = [slot.recurrent_weights.start, slot.recurrent_weights.end];
        let drawn = Some((key, p.to_bits(), place));
        if self.drawn != drawn {
            self.mask.resize(slot.recurrent_weights.len(), F::zero());
            let stream = key.purpose(Purpose::WeightDrop).stream(0, 0);
            dropout::draw(stream, p, &mut self.mask);
            (self.drawn, self.copied) = (drawn, None);
        }
    }

    fn refresh<C>(&mut self, slot: &Slot<C>, params: &Params<F>) {
        let place = [slot.params.start, slot.params.end];
        let copied = Some((params.stamp(), place));
        if self.copied == copied {
            return;
        }
        self.values.clear();
        self.values
            .extend_from_slice(&params.values()[slot.params.clone()]);
        let weights = &mut self.values[slot.recurrent_weights.clone()];
        for (w, m) in weights.iter_mut().zip(&self.mask) {
            *w *= *m;
        }
        (self.copied, self.stamp) = (copied, fresh_stamp());
    }

    /// What the cell reads as its parameters.
    pub fn weights<'a, C>(&'a mut self, slot: &Slot<C>, params: &'a Params<F>) -> Weights<'a, F> {
        if self.mask.is_empty() {
            return slot.weights(params);
        }
        self.refresh(slot, params);
        Weights {
            values: &self.values,
            stamp: (self.stamp, slot.params.start),
        }
    }

    /// The same, where their gradients go, and where those of the learned
    /// initial state go.
    pub fn weights_and_grads<'a, C>(
        &'a mut self,
        slot: &Slot<C>,
        params: &'a Params<F>,
        grads: &'a mut Grads<F>,
    ) -> (Weights<'a, F>, &'a mut [F], &'a mut [F]) {
        let grads = &mut grads.values_mut()[slot.params.start..slot.initial.end];
        let (d_weights, d_initial) = grads.split_at_mut(slot.params.len());
        if self.mask.is_empty() {
            return (slot.weights(params), d_weights, d_initial);
        }
        self.refresh(slot, params);
        let weights = Weights {
            values: &self.values,
            stamp: (self.stamp, slot.params.start),
        };
        (weights, &mut self.d_values, d_initial)
    }

    /// Where the gradients of the cell's parameters go.
    pub fn grads<'a, C>(&'a mut self, slot: &Slot<C>, grads: &'a mut Grads<F>) -> &'a mut [F] {
        match self.mask.is_empty() {
            true => &mut grads.values_mut()[slot.params.clone()],
            false => &mut self.d_values,
        }
    }

    /// Before the way back.
    pub fn begin_back<C>(&mut self, slot: &Slot<C>) {
        if !self.mask.is_empty() {
            super::refill(&mut self.d_values, slot.params.len());
        }
    }

    /// After it: the gradients go through the mask to the parameters'.
    pub fn end_back<C>(&mut self, slot: &Slot<C>, grads: &mut Grads<F>) {
        if self.mask.is_empty() {
            return;
        }
        let thinned = &mut self.d_values[slot.recurrent_weights.clone()];
        for (d, m) in thinned.iter_mut().zip(&self.mask) {
            *d *= *m;
        }
        let grads = &mut grads.values_mut()[slot.params.clone()];
        for (to, d) in grads.iter_mut().zip(&self.d_values) {
            *to += *d;
        }
    }
}

impl<C> Stack<C> {
    /// Sizes every buffer, loads the initial state, draws the masks.
    pub(super) fn begin<F: Float>(
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
        let StackCache {
            steps,
            starts,
            inputs,
            masks,
            runs,
            dropped,
            ..
        } = cache;
        steps.set(seq_len, batch, pass.lengths)?;
        starts.set(&self.config, steps, state, pass.resets)?;
        let rows = steps.rows();
        runs.resize_with(self.slots.len(), Run::default);
        dropped.resize_with(self.slots.len(), Dropped::default);
        inputs.resize_with(self.config.num_layers, Vec::new);
        masks.resize_with(self.config.num_layers - 1, Vec::new);
        for (at, (slot, run)) in self.slots.iter().zip(runs).enumerate() {
            steps.sort(state.slot(at), &mut run.state);
            run.prev.resize(rows * slot.state_size, F::zero());
            run.next.resize(rows * slot.state_size, F::zero());
            run.saved.resize(rows * slot.saved_size, F::zero());
            inputs[slot.layer].resize(rows * slot.input_size, F::zero());
            let key = layer_key(pass, slot.layer).map(|key| key.reverse(slot.reverse));
            dropped[at].draw(slot, key, self.config.weight_drop);
            draw_recurrent(slot, &self.config, key, pass, steps, run);
            draw_zoneout(slot, &self.config, key, pass, steps, run);
        }
        for (layer, mask) in masks.iter_mut().enumerate() {
            let key = layer_key(pass, layer);
            draw_between(&self.config, self.layer_size(layer), key, pass, steps, mask);
        }
        Ok(())
    }

    /// The state after the pass; a row that has run is not fresh.
    pub(super) fn write_state<F: Float>(&self, cache: &StackCache<F>, state: &mut State<F>) {
        let StackCache { steps, starts, .. } = cache;
        let ran = match steps.seq_len() {
            0 => 0,
            _ => steps.at(0).len(),
        };
        for (at, run) in cache.runs.iter().enumerate() {
            let (values, fresh) = state.run(at);
            steps.unsort(&run.state, values);
            let rows = steps.order().iter().zip(&starts.fresh);
            for (i, (row, was)) in rows.enumerate() {
                fresh[*row] = *was && i >= ran;
            }
        }
    }

    /// That the cache holds a forward pass of this stack.
    pub(super) fn check_cache<F: Float>(&self, cache: &StackCache<F>) -> Result<()> {
        let (rows, batch) = (cache.steps.rows(), cache.steps.batch());
        let slots = self.slots.iter().zip(&cache.runs).zip(&cache.dropped);
        let fits = cache.runs.len() == self.slots.len()
            && cache.dropped.len() == self.slots.len()
            && cache.inputs.len() == self.config.num_layers
            && slots.into_iter().all(|((slot, run), dropped)| {
                let states = rows * slot.state_size;
                let masks = [run.mask.len(), run.hidden.len()];
                let zoneout = [run.kept.len(), run.mixed.len()];
                cache.inputs[slot.layer].len() == rows * slot.input_size
                    && run.state.len() == batch * slot.state_size
                    && run.next.len() == states
                    && run.saved.len() == rows * slot.saved_size
                    && (masks == [0, 0] || masks == [batch * slot.output_size, states])
                    && (zoneout == [0, 0]
                        || zoneout == [states, states]
                        || zoneout == [slot.state_size, states])
                    && [0, slot.recurrent_weights.len()].contains(&dropped.mask.len())
            });
        if fits {
            return Ok(());
        }
        Err(Error::shape(
            "cache: it holds no forward pass of this stack; run `forward` or `begin_at` with it first",
        ))
    }

    /// That the cache is prepared for the way back, too.
    pub(super) fn check_back<F: Float>(&self, cache: &StackCache<F>) -> Result<()> {
        self.check_cache(cache)?;
        let runs = cache.runs.iter().all(|run| {
            run.d_state.len() == run.state.len() && run.d_saved.len() == run.saved.len()
        });
        let mut dropped = self.slots.iter().zip(&cache.dropped);
        let dropped =
            dropped.all(|(slot, d)| d.mask.is_empty() || d.d_values.len() == slot.params.len());
        if runs && dropped {
            return Ok(());
        }
        Err(Error::shape(
            "cache: it is not prepared for the way back; run `begin_back` with it first",
        ))
    }
}

/// The key of a layer's masks, where there are any.
fn layer_key(pass: &Pass<'_>, layer: usize) -> Option<Key> {
    let layer = pass.first_layer.wrapping_add(layer as u32);
    pass.dropout.map(|key| key.layer(layer))
}

/// The masks between two layers, (rows, width). Locked, they are those of a
/// row's step 0.
fn draw_between<F: Float>(
    config: &StackConfig,
    width: usize,
    key: Option<Key>,
    pass: &Pass<'_>,
    steps: &Steps,
    mask: &mut Vec<F>,
) {
    mask.clear();
    let Some(key) = key.filter(|_| config.dropout > 0.0) else {
        return;
    };
    mask.resize(steps.rows() * width, F::zero());
    let places = steps.places().zip(mask.chunks_exact_mut(width));
    for ((t, row), mask) in places {
        if config.locked_dropout && t > 0 {
            break;
        }
        let row = pass.first_row.wrapping_add(row) as u64;
        let time = match config.locked_dropout {
            true => 0,
            false => pass.first_step.wrapping_add(t) as u64,
        };
        dropout::draw(key.stream(row, time), config.dropout, mask);
    }
    if config.locked_dropout {
        // The rows of a step are the first ones of step 0.
        for t in 1..steps.seq_len() {
            let rows = steps.at(t);
            mask.copy_within(..rows.len() * width, rows.start * width);
        }
    }
}

/// The masks of recurrent dropout, one for each row of the batch.
fn draw_recurrent<F: Float, C>(
    slot: &Slot<C>,
    config: &StackConfig,
    key: Option<Key>,
    pass: &Pass<'_>,
    steps: &Steps,
    run: &mut Run<F>,
) {
    let p = config.recurrent_dropout;
    let Some(key) = key.filter(|_| p > 0.0) else {
        run.mask.clear();
        return run.hidden.clear();
    };
    let key = key.purpose(Purpose::RecurrentDropout);
    run.mask.resize(steps.batch() * slot.output_size, F::zero());
    run.hidden.resize(steps.rows() * slot.state_size, F::zero());
    let masks = run.mask.chunks_exact_mut(slot.output_size);
    for (row, mask) in steps.order().iter().zip(masks) {
        let row = pass.first_row.wrapping_add(*row) as u64;
        dropout::draw(key.stream(row, 0), p, mask);
    }
}

/// What zoneout keeps: in training 1 with the unit's probability and 0 else,
/// otherwise the probability itself.
fn draw_zoneout<F: Float, C>(
    slot: &Slot<C>,
    config: &StackConfig,
    key: Option<Key>,
    pass: &Pass<'_>,
    steps: &Steps,
    run: &mut Run<F>,
) {
    run.kept.clear();
    if config.zoneout_hidden == 0.0 && config.zoneout_cell == 0.0 {
        return run.mixed.clear();
    }
    let p = |unit: usize| match unit < slot.output_size {
        true => F::lit(config.zoneout_hidden),
        false => F::lit(config.zoneout_cell),
    };
    let size = slot.state_size;
    run.mixed.resize(steps.rows() * size, F::zero());
    let Some(key) = key else {
        return run.kept.extend((0..size).map(p));
    };
    let key = key.purpose(Purpose::Zoneout);
    run.kept.resize(steps.rows() * size, F::zero());
    for ((t, row), kept) in steps.places().zip(run.kept.chunks_exact_mut(size)) {
        let row = pass.first_row.wrapping_add(row) as u64;
        let mut stream = key.stream(row, pass.first_step.wrapping_add(t) as u64);
        for (unit, kept) in kept.iter_mut().enumerate() {
            let keeps = stream.uniform::<F>() < p(unit);
            *kept = if keeps { F::one() } else { F::zero() };
        }
    }
}
