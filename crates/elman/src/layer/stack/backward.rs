//! A whole sequence, back.

use super::super::{State, Steps};
use super::cache::Place;
use super::forward::Reads;
use super::share::{Run, Share, chunks, kept_at};
use super::{Merge, Slot, Stack, StackCache, of, refill, span};
use crate::cell::{Cell, Done, Packs, RowsBack, Weights};
use crate::kernel::{Outer, RowsMut, Team};
use crate::params::{Grads, Params};
use crate::{Error, Float, Result};
use ndarray::{ArrayView3, ArrayViewMut3};
use std::ops::Range;

/// Operations of the gradients of weights below which the thread that has run all
/// rows is faster alone.
const ALONE: usize = 8_000_000;

/// Rows of a chunk: enough for the gradients of the weights to be worth their
/// way to memory and back.
const CHUNK: usize = 512;

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
        self.load_d_state(d_state, cache)?;
        self.pack(params, cache, true);
        let StackCache {
            team,
            steps,
            shares,
            used,
            packs,
            dropped,
            outer,
            order,
            taken,
            ..
        } = cache;
        let shares = &mut shares[..*used];
        // Of rows too few to be divided, threads divide what a step passes back.
        let (alone, one) = (shares.len() == 1, Team::alone());
        let units = if alone { &*team } else { &one };
        team.each(shares, |_, share| {
            let rows = share.steps.rows();
            self.make_room(rows, share);
            match dy {
                Some(dy) => share.steps.gather(dy, &mut share.d_output),
                None => refill(&mut share.d_output, rows * self.output_size()),
            }
        });
        for layer in (0..self.config.num_layers).rev() {
            team.each(shares, |_, share| {
                self.pass_down(layer, share, 0..share.steps.rows());
            });
            for (at, slot) in self.slots_of(layer) {
                let (weights, d_weights, d_initial) =
                    dropped[at].weights_and_grads(slot, params, grads);
                let go = |share: &mut Share<F>,
                          part: &Range<usize>,
                          d_weights: &mut [F],
                          d_initial: &mut [F]| {
                    let packs = &packs[at];
                    self.retreat_part(
                        at, weights, packs, params, units, share, part, d_weights, d_initial,
                    );
                };
                for part in chunks(steps, CHUNK, !slot.reverse) {
                    if alone {
                        go(&mut shares[0], &part, d_weights, d_initial);
                    } else {
                        // No row touches the weights' gradients.
                        team.each(shares, |_, share| go(share, &part, &mut [], &mut []));
                    }
                    self.weights_back(at, team, steps, shares, &part, outer, order, d_weights);
                }
                dropped[at].end_back(slot, grads);
            }
            for share in &mut *shares {
                std::mem::swap(&mut share.d_output, &mut share.d_input);
            }
        }
        if let Some(dx) = dx {
            let dx = RowsMut::new(dx, taken);
            team.each(shares, |_, share| self.write_d_input(share, &dx));
        }
        self.write_d_state(cache, d_state);
        Ok(())
    }

    /// Adds the gradient of the input.
    fn write_d_input<F: Float>(&self, share: &Share<F>, dx: &RowsMut<'_, F>) {
        let (steps, width) = (&share.steps, self.input_size);
        let mut dx = dx.take(steps.order());
        for t in 0..steps.seq_len() {
            for (i, row) in steps.at(t).enumerate() {
                let mut dx = dx.at(t, i);
                let d = &share.d_output[row * width..][..width];
                match dx.as_slice_mut() {
                    Some(dx) => dx.iter_mut().zip(d).for_each(|(dx, d)| *dx += *d),
                    None => dx.iter_mut().zip(d).for_each(|(dx, d)| *dx += *d),
                }
            }
        }
    }

    /// Some steps of a slot back, and what they pass down.
    #[expect(clippy::too_many_arguments, reason = "the call shape of every layer")]
    fn retreat_part<F: Float>(
        &self,
        at: usize,
        weights: Weights<'_, F>,
        packs: &Packs<F>,
        params: &Params<F>,
        team: &Team,
        share: &mut Share<F>,
        part: &Range<usize>,
        d_weights: &mut [F],
        d_initial: &mut [F],
    ) where
        C: Cell<F>,
    {
        let slot = &self.slots[at];
        let rows = share.rows_of(part);
        let Share {
            steps,
            starts,
            inputs,
            runs,
            d_output,
            d_input,
            d_directions,
            ..
        } = share;
        let d_output = match self.config.merge {
            Merge::Concat => d_output,
            _ => d_directions,
        };
        let run = &mut runs[at];
        let reads = Reads {
            weights,
            packs,
            initial: slot.initial(params),
            x: &inputs[slot.layer],
            steps,
            starts,
            team,
        };
        run.d_saved.resize(rows.len() * slot.saved_size, F::zero());
        for i in 0..part.len() {
            let t = match slot.reverse {
                true => part.start + i,
                false => part.end - 1 - i,
            };
            self.take_down(at, d_output, steps.at(t), run);
            let d_x = of(d_input, &steps.at(t), slot.input_size);
            slot.retreat(reads, t, run, rows.start, d_x, d_weights, d_initial);
        }
        let d_x = of(d_input, &rows, slot.input_size);
        slot.cell.input_back(packs, team, &run.d_saved, d_x);
    }

    /// The gradients of a slot's weights from some steps, whose rows are added
    /// in the order of the whole batch.
    #[expect(clippy::too_many_arguments, reason = "all that a product reads")]
    pub(super) fn weights_back<F: Float>(
        &self,
        at: usize,
        team: &Team,
        steps: &Steps,
        shares: &[Share<F>],
        part: &Range<usize>,
        outer: &mut Outer<F>,
        order: &mut Vec<Place>,
        d_weights: &mut [F],
    ) where
        C: Cell<F>,
    {
        let slot = &self.slots[at];
        if !slot.cell.kernels() {
            return;
        }
        order.clear();
        for t in part.clone() {
            let (mut share, mut row) = (0, 0);
            for _ in steps.at(t) {
                let its = &shares[share].steps;
                let (at, first) = (its.at(t).start + row, its.at(part.start).start);
                order.push(Place {
                    share,
                    t,
                    row,
                    at,
                    from_first: at - first,
                });
                share += 1;
                if share == shares.len() {
                    (share, row) = (0, row + 1);
                }
            }
        }
        // What one thread has run is in its caches, from where another gets it only
        // slowly.
        let flop = 2 * order.len() * slot.saved_size * (slot.input_size + slot.output_size);
        let one = Team::alone();
        let team = match shares.len() {
            1 if flop < ALONE => &one,
            _ => team,
        };
        let row = |i: usize| {
            let place: &Place = &order[i];
            let share = &shares[place.share];
            slot.done(share, at, place)
        };
        slot.cell
            .weights_back(outer, team, order.len(), &row, d_weights);
    }

    /// Empties the buffers that are swapped from layer to layer; each has room
    /// for the widest.
    pub(super) fn make_room<F: Float>(&self, rows: usize, cache: &mut Share<F>) {
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
        share: &mut Share<F>,
        rows: Range<usize>,
    ) {
        let Share {
            masks,
            runs,
            d_output,
            d_input,
            d_directions,
            ..
        } = share;
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
}

impl<C> Slot<C> {
    /// The derivative of [`advance`](Self::advance); `d_x` has these rows only,
    /// and the gradients of what was saved begin with row `first`.
    #[expect(clippy::too_many_arguments, reason = "all that a step touches")]
    pub(super) fn retreat<F: Float>(
        &self,
        reads: Reads<'_, F>,
        t: usize,
        run: &mut Run<F>,
        first: usize,
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
        let mut d_saved = std::mem::take(&mut run.d_saved);
        let mut d_state = std::mem::take(&mut run.d_state);
        let prev = run.prev(t, rows.len(), size);
        let step = RowsBack {
            x: &reads.x[span(&rows, self.input_size)],
            prev,
            hidden: run.hidden.get(s.clone()).unwrap_or(prev),
            mask: (!run.mask.is_empty()).then(|| &run.mask[..rows.len() * r]),
            next: &run.next[s.clone()],
            saved: &run.saved[span(&rows, self.saved_size)],
            d_state: &mut d_state[..s.len()],
            d_saved: of(
                &mut d_saved,
                &(rows.start - first..rows.end - first),
                self.saved_size,
            ),
            d_x: Some(d_x),
            d_weights,
            team: reads.team,
        };
        self.cell
            .backward(reads.weights, reads.packs, rows.len(), step);
        (run.d_saved, run.d_state) = (d_saved, d_state);
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

    /// A row of a step that has gone back.
    pub(super) fn done<'a, F: Float>(
        &self,
        share: &'a Share<F>,
        at: usize,
        place: &Place,
    ) -> Done<'a, F> {
        let (run, size) = (&share.runs[at], self.state_size);
        let row = place.at..place.at + 1;
        let hidden = match run.mask.is_empty() {
            true => &run.prev(place.t, place.row + 1, size)[place.row * size..],
            false => &run.hidden[span(&row, size)],
        };
        Done {
            x: &share.inputs[self.layer][span(&row, self.input_size)],
            hidden: &hidden[..self.output_size],
            saved: &run.saved[span(&row, self.saved_size)],
            d_saved: &run.d_saved[place.from_first * self.saved_size..][..self.saved_size],
        }
    }
}
