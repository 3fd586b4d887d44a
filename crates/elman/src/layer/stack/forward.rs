//! A whole sequence, forward.

use super::super::{Pass, State, Steps};
use super::cache::{Run, Starts, kept_at};
use super::{Merge, Slot, Stack, StackCache, of, span};
use crate::cell::{Cell, Rows, Weights};
use crate::params::Params;
use crate::{Error, Float, Result};
use ndarray::{ArrayView3, ArrayViewMut3, s};
use std::ops::Range;

impl<C> Stack<C> {
    /// A whole sequence: reads `x` (T, B, I), writes `y` (T, B, D*R), zero in
    /// the padding, and replaces `state` by the one after each row's last step
    /// (in reverse, its first). With `batch_first`, `x` and `y` are (B, T, ..);
    /// where directions are merged other than side by side, `y` has R features.
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
        let (x, y) = (self.time_first(x), self.time_first(y));
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
            starts,
            inputs,
            masks,
            runs,
            dropped,
            ..
        } = cache;
        steps.gather(x, &mut inputs[0]);
        for layer in 0..self.config.num_layers {
            for (at, slot) in self.slots_of(layer) {
                let run = &mut runs[at];
                let reads = Reads {
                    weights: dropped[at].weights(slot, params),
                    initial: slot.initial(params),
                    x: &inputs[layer],
                    steps,
                    starts,
                };
                let (x, saved) = (reads.x, &mut run.saved);
                slot.cell.prepare(reads.weights, &mut run.packs, x, saved);
                for t in steps.times(slot.reverse) {
                    slot.advance(reads, t, run);
                }
            }
            self.pass_up(layer, runs, 0..steps.rows(), masks, inputs);
        }
        self.write_output(runs, inputs, steps, y);
        self.write_state(cache, state);
        Ok(())
    }

    /// The outputs of a slot, row by row: the first part of its states.
    pub(super) fn outputs<'a, F: Float>(
        &self,
        at: usize,
        runs: &'a [Run<F>],
        rows: Range<usize>,
    ) -> impl Iterator<Item = &'a [F]> + use<'a, F, C> {
        let (r, s) = (self.slots[at].output_size, self.slots[at].state_size);
        runs[at].states()[span(&rows, s)]
            .chunks_exact(s)
            .map(move |row| &row[..r])
    }

    /// Makes the input of the next layer from the outputs of one.
    pub(super) fn pass_up<F: Float>(
        &self,
        layer: usize,
        runs: &[Run<F>],
        rows: Range<usize>,
        masks: &[Vec<F>],
        inputs: &mut [Vec<F>],
    ) {
        let (read, above) = inputs.split_at_mut(layer + 1);
        let (Some(above), Some(mask)) = (above.first_mut(), masks.get(layer)) else {
            return; // the last one
        };
        let width = self.layer_size(layer);
        let span = span(&rows, width);
        let above = &mut above[span.clone()];
        for (second, (at, _)) in self.slots_of(layer).enumerate() {
            let merge = match second {
                0 => Merge::Concat,
                _ => self.config.merge,
            };
            let first = match merge {
                Merge::Concat => self.columns(at).start,
                _ => 0,
            };
            let outputs = self.outputs(at, runs, rows.clone());
            for (to, output) in above.chunks_exact_mut(width).zip(outputs) {
                let to = &mut to[first..][..output.len()];
                match merge {
                    Merge::Concat => to.copy_from_slice(output),
                    _ => (to.iter_mut().zip(output)).for_each(|(y, h)| *y = merge.join(*y, *h)),
                }
            }
        }
        for (to, m) in above.iter_mut().zip(mask.iter().skip(span.start)) {
            *to *= *m;
        }
        if self.is_residual(layer) {
            for (to, x) in above.iter_mut().zip(&read[layer][span]) {
                *to += *x;
            }
        }
    }

    /// Writes the outputs of the last layer, zero in the padding.
    fn write_output<F: Float>(
        &self,
        runs: &[Run<F>],
        inputs: &[Vec<F>],
        steps: &Steps,
        mut y: ArrayViewMut3<'_, F>,
    ) {
        y.fill(F::zero());
        let merge = self.config.merge;
        let slots = self.last_slots();
        for at in slots.clone() {
            let outputs = self.outputs(at, runs, 0..steps.rows());
            if merge == Merge::Concat || at == slots.start {
                let y = y.slice_mut(s![.., .., self.columns(at)]);
                steps.scatter(outputs, y, |y, h| *y = h);
            } else {
                steps.scatter(outputs, y.view_mut(), |y, h| *y = merge.join(*y, h));
            }
        }
        let last = self.config.num_layers - 1;
        if self.is_residual(last) {
            let x = inputs[last].chunks_exact(self.layer_size(last));
            steps.scatter(x, y, |y, x| *y += x);
        }
    }
}

/// What every step of a slot reads.
#[derive(Clone, Copy)]
pub(super) struct Reads<'a, F> {
    pub weights: Weights<'a, F>,
    /// The state of rows that start afresh, (S); empty for zeros.
    pub initial: &'a [F],
    /// Inputs of all steps, (rows, I).
    pub x: &'a [F],
    pub steps: &'a Steps,
    pub starts: &'a Starts,
}

impl<C> Slot<C> {
    /// Step `t` forward.
    pub(super) fn advance<F: Float>(&self, reads: Reads<'_, F>, t: usize, run: &mut Run<F>)
    where
        C: Cell<F>,
    {
        let rows = reads.steps.at(t);
        let size = self.state_size;
        let s = span(&rows, size);
        let newest = &mut run.state[..s.len()];
        let prev = &mut run.prev[s.clone()];
        prev.copy_from_slice(newest);
        for row in reads.starts.afresh(reads.steps, t, self.reverse) {
            let prev = &mut prev[row * size..][..size];
            match reads.initial {
                [] => prev.fill(F::zero()),
                initial => prev.copy_from_slice(initial),
            }
        }
        let prev = &*prev;
        let hidden = if run.mask.is_empty() {
            prev
        } else {
            let hidden = &mut run.hidden[s.clone()];
            hidden.copy_from_slice(prev);
            let masks = run.mask.chunks_exact(self.output_size);
            for (h, mask) in hidden.chunks_exact_mut(size).zip(masks) {
                h.iter_mut().zip(mask).for_each(|(h, m)| *h *= *m);
            }
            hidden
        };
        let step = Rows {
            x: &reads.x[span(&rows, self.input_size)],
            prev,
            hidden,
            next: &mut run.next[s.clone()],
            saved: of(&mut run.saved, &rows, self.saved_size),
        };
        self.cell
            .forward(reads.weights, &mut run.packs, rows.len(), step);
        let next = &run.next[s.clone()];
        if run.kept.is_empty() {
            return newest.copy_from_slice(next);
        }
        let kept = kept_at(&run.kept, &s);
        for (((new, old), next), kept) in newest.iter_mut().zip(prev).zip(next).zip(kept) {
            *new = mix(*kept, *old, *next);
        }
        run.mixed[s].copy_from_slice(newest);
    }
}

/// The share `kept` of the old value and the rest of the new one.
fn mix<F: Float>(kept: F, old: F, new: F) -> F {
    if kept == F::zero() {
        new
    } else if kept == F::one() {
        old
    } else {
        kept * old + (F::one() - kept) * new
    }
}
