//! A sequence whose inputs come one after the other: streams, and decoders that
//! read their own output. The same bits as a whole sequence, in one direction.

use super::super::{Pass, State};
use super::forward::Reads;
use super::{Stack, StackCache, of, span};
use crate::cell::Cell;
use crate::params::{Grads, Params};
use crate::{Error, Float, Result};
use ndarray::{ArrayView2, ArrayViewMut2};

impl<C> Stack<C> {
    /// One step of a stream: reads `x` (B, I), writes `y` (B, R), carries
    /// `state`. The same bits as the sequence.
    ///
    /// # Errors
    /// Where a shape does not fit, or the stack has a reverse direction, which
    /// begins at the end of the sequence.
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
        let pass = Pass {
            inference: true,
            ..Pass::default()
        };
        self.begin_at(1, x.nrows(), &pass, state, cache)?;
        self.forward_at(params, 0, x, cache, y)?;
        self.write_state(cache, state);
        Ok(())
    }

    /// Prepares the cache for `seq_len` calls of
    /// [`forward_at`](Self::forward_at), starting from `state`.
    ///
    /// # Errors
    /// Where the stack has a reverse direction, the pass has lengths, or the
    /// state does not fit.
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
        self.check_one_way("go step by step")?;
        if pass.lengths.is_some() {
            return Err(Error::option(
                "lengths: a stack that goes step by step has rows of one length",
            ));
        }
        let kept = Pass {
            inference: false,
            ..*pass
        };
        self.begin((seq_len, batch), &kept, state, cache, false)?;
        cache.trains = !pass.inference;
        Ok(())
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
        let (batch, r) = (cache.steps.batch(), self.output_size());
        if x.nrows() != batch || y.dim() != (batch, r) {
            return Err(Error::shape(format!(
                "step {t} of {}: expected input ({batch}, {}) and output ({batch}, {r}), got {:?} and {:?}",
                cache.steps.seq_len(),
                self.input_size,
                x.dim(),
                y.dim()
            )));
        }
        self.pack(params, cache, false);
        let StackCache {
            team,
            shares,
            packs,
            dropped,
            ..
        } = cache;
        let share = &mut shares[0];
        let rows = share.steps.at(t);
        let place = &mut share.inputs[0][rows.start * self.input_size..];
        for (to, from) in place.iter_mut().zip(x) {
            *to = *from;
        }
        for (at, slot) in self.slots.iter().enumerate() {
            let run = &mut share.runs[at];
            let reads = Reads {
                weights: dropped[at].weights(slot, params),
                packs: &packs[at],
                initial: slot.initial(params),
                x: &share.inputs[slot.layer],
                steps: &share.steps,
                starts: &share.starts,
                team,
            };
            slot.advance(reads, t, run, 0, (true, false));
            self.pass_up(slot.layer, share, rows.clone());
        }
        let last = self.config.num_layers - 1;
        let outputs = self.outputs(last, &share.runs, rows.clone());
        for (y, h) in y.iter_mut().zip(outputs.flatten()) {
            *y = *h;
        }
        if self.is_residual(last) {
            let x = &share.inputs[last][span(&rows, r)];
            y.iter_mut().zip(x).for_each(|(y, x)| *y += *x);
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
        self.load_d_state(d_state, cache)?;
        self.refill_d_saved(cache);
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
        let (batch, r) = (cache.steps.batch(), self.output_size());
        if dy.dim() != (batch, r) || dx.dim() != (batch, self.input_size) {
            return Err(Error::shape(format!(
                "step {t} of {} backward: expected ({batch}, {r}) and ({batch}, {}), got {:?} and {:?}",
                cache.steps.seq_len(),
                self.input_size,
                dy.dim(),
                dx.dim()
            )));
        }
        let rows = cache.steps.at(t);
        self.pack(params, cache, true);
        let StackCache {
            team,
            shares,
            packs,
            dropped,
            ..
        } = cache;
        let share = &mut shares[0];
        self.make_room(batch, share);
        share.d_output.extend(dy.iter());
        for (at, slot) in self.slots.iter().enumerate().rev() {
            self.pass_down(slot.layer, share, rows.clone());
            let run = &mut share.runs[at];
            let (weights, d_weights, d_initial) =
                dropped[at].weights_and_grads(slot, params, grads);
            let reads = Reads {
                weights,
                packs: &packs[at],
                initial: slot.initial(params),
                x: &share.inputs[slot.layer],
                steps: &share.steps,
                starts: &share.starts,
                team,
            };
            self.take_down(at, &share.d_output, 0..batch, run);
            let d_input = &mut share.d_input;
            slot.retreat(reads, t, run, 0, d_input, d_weights, d_initial);
            let d_saved = of(&mut run.d_saved, &rows, slot.saved_size);
            slot.cell.input_back(reads.packs, team, d_saved, d_input);
            std::mem::swap(&mut share.d_output, &mut share.d_input);
        }
        let share = &cache.shares[0];
        for (dx, d) in dx.iter_mut().zip(&share.d_output) {
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
        let StackCache {
            team,
            steps,
            shares,
            used,
            dropped,
            outer,
            order,
            ..
        } = cache;
        let (shares, all) = (&shares[..*used], 0..steps.seq_len());
        for (at, (slot, dropped)) in self.slots.iter().zip(dropped).enumerate() {
            let d_weights = dropped.grads(slot, grads);
            self.weights_back(at, team, steps, shares, &all, outer, order, d_weights);
            dropped.end_back(slot, grads);
        }
        self.write_d_state(cache, d_state);
        Ok(())
    }

    /// Refuses what a stack with a reverse direction cannot do.
    pub(in crate::layer) fn check_one_way(&self, what: &str) -> Result<()> {
        let kind = match &self.config {
            config if config.bidirectional => "bidirectional",
            config if config.reverse => "reverse",
            _ => return Ok(()),
        };
        Err(Error::option(format!(
            "a {kind} stack cannot {what}: its reverse direction begins at the end of the sequence"
        )))
    }

    /// That the cache is prepared for step `t` of all rows.
    fn check_step<F: Float>(&self, t: usize, cache: &StackCache<F>) -> Result<()> {
        self.check_one_way("go step by step")?;
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
}
