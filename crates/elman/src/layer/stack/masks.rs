//! What a pass draws before it begins: the masks of all kinds of dropout.

use super::super::{Pass, Steps, dropout};
use super::share::Run;
use super::{Slot, StackConfig};
use crate::Float;
use crate::cell::Weights;
use crate::params::{Grads, Params, Storage, fresh_stamp};
use crate::rng::{Key, Purpose};

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
    pub fn draw<C>(&mut self, slot: &Slot<C>, key: Option<Key>, p: f64) {
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

    /// Copies the parameters anew, where they or the mask have changed.
    pub fn refresh<C>(&mut self, slot: &Slot<C>, params: &Params<F>) {
        if self.mask.is_empty() {
            return;
        }
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

    /// What the cell reads as its parameters, once they are
    /// [fresh](Self::refresh).
    pub fn weights<'a, C>(&'a self, slot: &Slot<C>, params: &'a Params<F>) -> Weights<'a, F> {
        if self.mask.is_empty() {
            return slot.weights(params);
        }
        Weights {
            values: &self.values,
            stamp: (self.stamp, slot.params.start),
            storage: Storage::Full,
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
        let weights = Weights {
            values: &self.values,
            stamp: (self.stamp, slot.params.start),
            storage: Storage::Full,
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

    /// True where this was drawn for the slot.
    pub fn fits<C>(&self, slot: &Slot<C>) -> bool {
        [0, slot.recurrent_weights.len()].contains(&self.mask.len())
    }

    /// True where it is prepared for the way back.
    pub fn fits_back<C>(&self, slot: &Slot<C>) -> bool {
        self.mask.is_empty() || self.d_values.len() == slot.params.len()
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

/// The key of a layer's masks, where there are any.
pub(super) fn layer_key(pass: &Pass<'_>, layer: usize) -> Option<Key> {
    let layer = pass.first_layer.wrapping_add(layer as u32);
    pass.dropout.map(|key| key.layer(layer))
}

/// The masks between two layers, (rows, width). Locked, they are those of a
/// row's step 0.
pub(super) fn draw_between<F: Float>(
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
pub(super) fn draw_recurrent<F: Float, C>(
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
pub(super) fn draw_zoneout<F: Float, C>(
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
