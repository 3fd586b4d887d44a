//! A whole sequence, back.

use super::super::State;
use super::cache::{Run, kept_at};
use super::forward::Reads;
use super::{Merge, Slot, Stack, StackCache, of, refill, span};
use crate::cell::{Cell, RowsBack};
use crate::params::{Grads, Params};
use crate::{Error, Float, Result};
use ndarray::{ArrayView3, ArrayViewMut3};
use std::ops::Range;

impl<C> Stack<C> {
    /// Back-propagation through time, after [`forward`](Self::forward) with
    /// the same `params` and `cache`.
    ///
    /// Takes the gradient of the output, `dy` (shaped as `y`; its padding is
    /// not read; `None` is zero), and in `d_state` that of the final state;
    /// leaves in `d_state` the gradient of the initial state, and adds to
    /// `grads` and `dx`. No gradient crosses a reset; that of a learned initial
    /// state goes to its parameters, and is zero in `d_state`.
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
        self.make_room(cache.steps.rows(), cache);
        match dy {
            Some(dy) => cache.steps.gather(dy, &mut cache.d_output),
            None => refill(&mut cache.d_output, cache.steps.rows() * self.output_size()),
        }
        for layer in (0..self.config.num_layers).rev() {
            self.pass_down(layer, 0..cache.steps.rows(), cache);
            let StackCache {
                steps,
                starts,
                inputs,
                runs,
                dropped,
                d_output,
                d_input,
                d_directions,
                ..
            } = cache;
            let d_output = match self.config.merge {
                Merge::Concat => d_output,
                _ => d_directions,
            };
            for (at, slot) in self.slots_of(layer) {
                let run = &mut runs[at];
                let (weights, d_weights, d_initial) =
                    dropped[at].weights_and_grads(slot, params, grads);
                let reads = Reads {
                    weights,
                    initial: slot.initial(params),
                    x: &inputs[layer],
                    steps,
                    starts,
                };
                for t in steps.times(!slot.reverse) {
                    let rows = steps.at(t);
                    self.take_down(at, d_output, rows.clone(), run);
                    let d_x = of(d_input, &rows, slot.input_size);
                    slot.retreat(reads, t, run, d_x, d_weights, d_initial);
                }
                let d_saved = &run.d_saved;
                slot.cell
                    .input_back(weights, &mut run.packs, d_saved, d_input);
                slot.weights_back(reads.x, run, d_weights);
                dropped[at].end_back(slot, grads);
            }
            std::mem::swap(&mut cache.d_output, &mut cache.d_input);
        }
        if let Some(dx) = dx {
            let rows = cache.d_output.chunks_exact(self.input_size);
            cache.steps.scatter(rows, dx, |dx, d| *dx += d);
        }
        self.write_d_state(cache, d_state);
        Ok(())
    }

    /// Empties the buffers that are swapped from layer to layer; each has room
    /// for the widest.
    pub(super) fn make_room<F: Float>(&self, rows: usize, cache: &mut StackCache<F>) {
        let inputs = self.slots.iter().map(|s| s.input_size);
        let widest = inputs.fold(self.output_size(), usize::max);
        for buffer in [&mut cache.d_output, &mut cache.d_input] {
            buffer.clear();
            buffer.reserve(rows * widest);
        }
        cache.d_directions.clear();
        if self.config.merge != Merge::Concat {
            let sizes = self.slots.iter().map(|s| s.output_size);
            let widest = sizes.fold(0, usize::max) * self.num_directions();
            cache.d_directions.reserve(rows * widest);
        }
    }

    /// From the gradient of what a layer passes up, `d_output` of these rows:
    /// what goes past the layer begins `d_input`, the rest goes through the
    /// mask, and on to each direction.
    pub(super) fn pass_down<F: Float>(
        &self,
        layer: usize,
        rows: Range<usize>,
        cache: &mut StackCache<F>,
    ) {
        let StackCache {
            masks,
            runs,
            d_output,
            d_input,
            d_directions,
            ..
        } = cache;
        let slot = &self.slots[layer * self.num_directions()];
        if self.is_residual(layer) {
            d_input.clear();
            d_input.extend_from_slice(d_output);
        } else {
            refill(d_input, rows.len() * slot.input_size);
        }
        let width = self.layer_size(layer);
        if let Some(mask) = masks.get(layer) {
            let mask = mask.iter().skip(rows.start * width);
            for (d, m) in d_output.iter_mut().zip(mask) {
                *d *= *m;
            }
        }
        let merge = self.config.merge;
        if merge != Merge::Concat {
            let at = layer * self.num_directions();
            let forward = self.outputs(at, runs, rows.clone());
            let reverse = self.outputs(at + 1, runs, rows);
            let both = forward.zip(reverse);
            d_directions.clear();
            for (d, (forward, reverse)) in d_output.chunks_exact(width).zip(both) {
                for other in [reverse, forward] {
                    let d = d.iter().zip(other);
                    d_directions.extend(d.map(|(d, other)| merge.split(*d, *other)));
                }
            }
        }
    }

    /// Adds the gradient of a slot's outputs, rows `from` of `d_output` (both
    /// directions side by side), to that of its state.
    pub(super) fn take_down<F: Float>(
        &self,
        at: usize,
        d_output: &[F],
        from: Range<usize>,
        run: &mut Run<F>,
    ) {
        let slot = &self.slots[at];
        let width = slot.output_size * self.num_directions();
        let d_rows = d_output[span(&from, width)].chunks_exact(width);
        for (d_state, d) in run.d_state.chunks_exact_mut(slot.state_size).zip(d_rows) {
            for (s, d) in d_state.iter_mut().zip(&d[self.columns(at)]) {
                *s += *d;
            }
        }
    }

    pub(super) fn write_d_state<F: Float>(&self, cache: &StackCache<F>, d_state: &mut State<F>) {
        for (at, run) in cache.runs.iter().enumerate() {
            cache.steps.unsort(&run.d_state, d_state.slot_mut(at));
        }
    }
}

impl<C> Slot<C> {
    /// The derivative of [`advance`](Self::advance); `d_x` has these rows only.
    pub(super) fn retreat<F: Float>(
        &self,
        reads: Reads<'_, F>,
        t: usize,
        run: &mut Run<F>,
        d_x: &mut [F],
        d_weights: &mut [F],
        d_initial: &mut [F],
    ) where
        C: Cell<F>,
    {
        let rows = reads.steps.at(t);
        let (r, size) = (self.output_size, self.state_size);
        let s = span(&rows, size);
        let d_state = &mut run.d_state[..s.len()];
        run.d_kept.clear();
        if !run.kept.is_empty() {
            for (d, kept) in d_state.iter_mut().zip(kept_at(&run.kept, &s)) {
                run.d_kept.push(*kept * *d);
                *d *= F::one() - *kept;
            }
        }
        let prev = &run.prev[s.clone()];
        let hidden = match run.mask.is_empty() {
            true => prev,
            false => &run.hidden[s.clone()],
        };
        let step = RowsBack {
            x: &reads.x[span(&rows, self.input_size)],
            prev,
            hidden,
            mask: (!run.mask.is_empty()).then(|| &run.mask[..rows.len() * r]),
            next: &run.next[s],
            saved: &run.saved[span(&rows, self.saved_size)],
            d_state,
            d_saved: of(&mut run.d_saved, &rows, self.saved_size),
            d_x: Some(d_x),
            d_weights,
        };
        self.cell
            .backward(reads.weights, &mut run.packs, rows.len(), step);
        for (d, kept) in run.d_state.iter_mut().zip(&run.d_kept) {
            *d += *kept;
        }
        for row in reads.starts.afresh(reads.steps, t, self.reverse) {
            let d_state = &mut run.d_state[row * size..][..size];
            for (to, d) in d_initial.iter_mut().zip(&*d_state) {
                *to += *d;
            }
            d_state.fill(F::zero());
        }
    }

    /// The gradients of the weights, once all steps have gone back.
    pub(super) fn weights_back<F: Float>(&self, x: &[F], run: &mut Run<F>, d_weights: &mut [F])
    where
        C: Cell<F>,
    {
        let hidden = match run.mask.is_empty() {
            true => &run.prev,
            false => &run.hidden,
        };
        let (saved, d_saved) = (&run.saved, &run.d_saved);
        self.cell
            .weights_back(&mut run.packs, x, hidden, saved, d_saved, d_weights);
    }
}
