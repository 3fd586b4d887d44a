//! A whole sequence, forward.

use super::super::{Pass, State, Steps};
use super::share::{Prev, Run, Share, Starts, chunks, kept_at, rows_of};
use super::{Merge, Slot, Stack, StackCache, of, span};
use crate::cell::{Cell, Packs, Rows, Weights};
use crate::kernel::{RowsMut, Team};
use crate::params::Params;
use crate::{Error, Float, Result};
use ndarray::{ArrayView3, ArrayViewMut1, ArrayViewMut3};
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
        self.begin((seq_len, batch), pass, state, cache, true)?;
        self.pack(params, cache, false);
        let StackCache {
            team,
            shares,
            used,
            small,
            keeps,
            packs,
            dropped,
            taken,
            ..
        } = cache;
        let y = RowsMut::new(y, taken);
        let weights = |at: usize| dropped[at].weights(&self.slots[at], params);
        // The rows go to as many threads as they are enough for; of a few rows,
        // the directions do, and of one direction, the units of a step.
        let (one, d) = (Team::alone(), self.num_directions());
        let all = if *used == 1 { &*team } else { &one };
        let (directions, units) = if d > 1 { (all, &one) } else { (&one, all) };
        team.each(&mut shares[..*used], |_, share| {
            share.steps.gather(x, &mut share.inputs[0]);
            if share.hands_on {
                let mut reads = |at: usize| {
                    (
                        weights(at),
                        &packs[at],
                        self.slots[at].initial(params),
                        units,
                    )
                };
                self.hand_on(share, *keeps, &y, &mut reads);
                return;
            }
            for layer in 0..self.config.num_layers {
                let (x, steps, starts) = (&share.inputs[layer], &share.steps, &share.starts);
                let large = self.flop(layer, steps.rows()) >= *small;
                let directions = if large { directions } else { &one };
                directions.each(&mut share.runs[layer * d..][..d], |direction, run| {
                    let at = layer * d + direction;
                    let slot = &self.slots[at];
                    let reads = Reads {
                        weights: weights(at),
                        packs: &packs[at],
                        initial: slot.initial(params),
                        x,
                        steps,
                        starts,
                        team: units,
                    };
                    slot.run(reads, run, *keeps, None);
                });
                self.pass_up(layer, share, 0..share.steps.rows());
            }
            self.write_output(share, &y);
        });
        self.write_state(cache, state);
        Ok(())
    }

    /// All layers of a share whose outputs are handed on step by step, to the layer
    /// above or into `y`.
    fn hand_on<'a, F: Float>(
        &self,
        share: &mut Share<F>,
        keeps: bool,
        y: &RowsMut<'_, F>,
        reads: &mut dyn FnMut(usize) -> (Weights<'a, F>, &'a Packs<F>, &'a [F], &'a Team),
    ) where
        C: Cell<F>,
    {
        let Share {
            steps,
            starts,
            inputs,
            runs,
            ..
        } = share;
        let (steps, starts) = (&*steps, &*starts);
        let mut y = y.take(steps.order());
        for layer in 0..self.config.num_layers {
            let (read, above) = inputs.split_at_mut(layer + 1);
            let width = self.layer_size(layer);
            for (at, slot) in self.slots_of(layer) {
                let (weights, packs, initial, team) = reads(at);
                let reads = Reads {
                    weights,
                    packs,
                    initial,
                    x: &read[layer],
                    steps,
                    starts,
                    team,
                };
                let (columns, size) = (self.columns(at), slot.state_size);
                let mut hand_on = |t: usize, states: &[F]| {
                    let outputs = states.chunks_exact(size).map(|s| &s[..slot.output_size]);
                    if let Some(above) = above.first_mut() {
                        let above = above[span(&steps.at(t), width)].chunks_exact_mut(width);
                        for (to, h) in above.zip(outputs) {
                            to[columns.clone()].copy_from_slice(h);
                        }
                        return;
                    }
                    for (i, h) in outputs.enumerate() {
                        copy(h, columns.clone(), &mut y.at(t, i));
                    }
                    if columns.start == 0 {
                        for i in steps.at(t).len()..steps.batch() {
                            y.at(t, i).fill(F::zero());
                        }
                    }
                };
                slot.run(reads, &mut runs[at], keeps, Some(&mut hand_on));
            }
        }
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
    pub(super) fn pass_up<F: Float>(&self, layer: usize, share: &mut Share<F>, rows: Range<usize>) {
        let Share {
            inputs,
            masks,
            runs,
            ..
        } = share;
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
    fn write_output<F: Float>(&self, share: &Share<F>, y: &RowsMut<'_, F>) {
        let Share {
            steps,
            inputs,
            runs,
            ..
        } = share;
        let merge = self.config.merge;
        let slots = self.last_slots();
        let last = self.config.num_layers - 1;
        let mut y = y.take(steps.order());
        // Step by step, as both lie in memory.
        for t in 0..steps.seq_len() {
            let rows = steps.at(t);
            for i in 0..steps.batch() {
                let mut y = y.at(t, i);
                let row = rows.start + i;
                if row >= rows.end {
                    y.fill(F::zero());
                    continue;
                }
                for at in slots.clone() {
                    let size = self.slots[at].state_size;
                    let h = &runs[at].states()[row * size..][..self.slots[at].output_size];
                    if merge == Merge::Concat || at == slots.start {
                        copy(h, self.columns(at), &mut y);
                    } else {
                        y.iter_mut()
                            .zip(h)
                            .for_each(|(y, h)| *y = merge.join(*y, *h));
                    }
                }
                if self.is_residual(last) {
                    let width = self.layer_size(last);
                    let x = &inputs[last][row * width..][..width];
                    y.iter_mut().zip(x).for_each(|(y, x)| *y += *x);
                }
            }
        }
    }
}

/// Copies into some columns of a row.
fn copy<F: Float>(from: &[F], columns: Range<usize>, to: &mut ArrayViewMut1<'_, F>) {
    match to.as_slice_mut() {
        Some(to) => to[columns].copy_from_slice(from),
        None => {
            let to = to.iter_mut().skip(columns.start);
            to.zip(from).for_each(|(to, from)| *to = *from);
        }
    }
}

/// What every step of a slot reads.
#[derive(Clone, Copy)]
pub(super) struct Reads<'a, F: Float> {
    pub weights: Weights<'a, F>,
    pub packs: &'a Packs<F>,
    /// The state of rows that start afresh, (S); empty for zeros.
    pub initial: &'a [F],
    /// Inputs of all steps, (rows, I).
    pub x: &'a [F],
    pub steps: &'a Steps,
    pub starts: &'a Starts,
    /// Threads that may divide the units of a step.
    pub team: &'a Team,
}

/// Is given the number of a step and its states, (rows of it, S), right after it.
type AfterStep<'a, F> = &'a mut dyn FnMut(usize, &[F]);

/// Bytes of saved numbers that are prepared at a time, so that they are still
/// in the cache when their steps come.
const PREPARED: usize = 128 << 10;

impl<C> Slot<C> {
    /// All steps forward; keeps what was saved, or throws it away.
    fn run<F: Float>(
        &self,
        reads: Reads<'_, F>,
        run: &mut Run<F>,
        keeps: bool,
        mut done: Option<AfterStep<'_, F>>,
    ) where
        C: Cell<F>,
    {
        let steps = reads.steps;
        let most = if steps.seq_len() > 0 {
            steps.at(0).len()
        } else {
            0
        };
        let prepared = self.cell.prepares(most);
        let rows = match prepared {
            true => PREPARED / (self.saved_size * F::BYTES).max(1),
            false => 1,
        };
        for part in chunks(steps, rows, self.reverse) {
            let rows = rows_of(steps, &part);
            let first = if keeps {
                0
            } else {
                run.saved.resize(rows.len() * self.saved_size, F::zero());
                rows.start
            };
            if prepared {
                let x = &reads.x[span(&rows, self.input_size)];
                let saved = rows.start - first..rows.end - first;
                let saved = of(&mut run.saved, &saved, self.saved_size);
                self.cell
                    .prepare(reads.packs, reads.team, x, saved, &mut run.room);
            }
            let (start, end) = (part.start, part.end);
            for i in 0..part.len() {
                let t = if self.reverse { end - 1 - i } else { start + i };
                self.advance(reads, t, run, first, (keeps, prepared));
                if let Some(done) = &mut done {
                    let (row, rows) = (run.row(steps, t), steps.at(t).len());
                    done(t, &run.next[span(&(row..row + rows), self.state_size)]);
                }
            }
        }
    }

    /// Step `t` forward; what was saved begins with row `first`. Whether it is
    /// kept, and was prepared.
    pub(super) fn advance<F: Float>(
        &self,
        reads: Reads<'_, F>,
        t: usize,
        run: &mut Run<F>,
        first: usize,
        (keeps, prepared): (bool, bool),
    ) where
        C: Cell<F>,
    {
        let rows = reads.steps.at(t);
        let size = self.state_size;
        let row = run.row(reads.steps, t);
        let s = span(&(row..row + rows.len()), size);
        self.find_prev(reads, t, run);
        let hidden = !run.mask.is_empty();
        if hidden {
            // `prev` borrows all of the run.
            let mut masked = std::mem::take(&mut run.hidden);
            let to = &mut masked[s.clone()];
            to.copy_from_slice(run.prev(t, rows.len(), size));
            let masks = run.mask.chunks_exact(self.output_size);
            for (h, mask) in to.chunks_exact_mut(size).zip(masks) {
                h.iter_mut().zip(mask).for_each(|(h, m)| *h *= *m);
            }
            run.hidden = masked;
        }
        let (next, prev) = match run.prev[t] {
            Prev::Before(at) => (
                &mut run.next[s.clone()],
                &run.before[at..][..rows.len() * size],
            ),
            Prev::States(row) if run.kept.is_empty() => {
                let from = row * size..(row + rows.len()) * size;
                apart(&mut run.next, s.clone(), from)
            }
            Prev::States(row) => (
                &mut run.next[s.clone()],
                &run.mixed[row * size..][..rows.len() * size],
            ),
        };
        let step = Rows {
            x: &reads.x[span(&rows, self.input_size)],
            prev,
            hidden: if hidden { &run.hidden[s.clone()] } else { prev },
            next,
            saved: of(
                &mut run.saved,
                &(rows.start - first..rows.end - first),
                self.saved_size,
            ),
            keeps,
            prepared,
            team: reads.team,
            room: &mut run.room,
        };
        self.cell
            .forward(reads.weights, reads.packs, rows.len(), step);
        if !run.kept.is_empty() {
            let mut mixed = std::mem::take(&mut run.mixed);
            let (to, prev) = match run.prev[t] {
                Prev::Before(at) => (&mut mixed[s.clone()], &run.before[at..][..s.len()]),
                Prev::States(row) => {
                    let from = row * size..row * size + s.len();
                    apart(&mut mixed, s.clone(), from)
                }
            };
            let new = to.iter_mut().zip(&run.next[s.clone()]);
            for (((to, next), old), kept) in new.zip(prev).zip(kept_at(&run.kept, &s)) {
                *to = mix(*kept, *old, *next);
            }
            run.mixed = mixed;
        }
        self.keep_state(reads.steps, t, run);
    }

    /// Finds the states before step `t`, or makes them.
    fn find_prev<F: Float>(&self, reads: Reads<'_, F>, t: usize, run: &mut Run<F>) {
        let size = self.state_size;
        let rows = reads.steps.at(t).len();
        let earlier = match self.reverse {
            false => t.checked_sub(1),
            true => Some(t + 1).filter(|t| *t < reads.steps.seq_len()),
        };
        let goes_on = earlier.map_or(0, |e| reads.steps.at(e).len().min(rows));
        let earlier = earlier.map(|e| run.row(reads.steps, e));
        let mut afresh = reads.starts.afresh(reads.steps, t, self.reverse).peekable();
        if let Some(earlier) = earlier
            && goes_on == rows
            && afresh.peek().is_none()
        {
            run.prev[t] = Prev::States(earlier);
            return;
        }
        if run.forgets {
            run.before.clear();
        }
        let at = run.before.len();
        let mut before = std::mem::take(&mut run.before);
        if let Some(earlier) = earlier {
            let states = &run.states()[earlier * size..];
            before.extend_from_slice(&states[..goes_on * size]);
        }
        before.extend_from_slice(&run.state[goes_on * size..rows * size]);
        for row in afresh {
            let row = &mut before[at + row * size..][..size];
            match reads.initial {
                [] => row.fill(F::zero()),
                initial => row.copy_from_slice(initial),
            }
        }
        run.before = before;
        run.prev[t] = Prev::Before(at);
    }

    /// After step `t`: the states of rows that end with it.
    fn keep_state<F: Float>(&self, steps: &Steps, t: usize, run: &mut Run<F>) {
        let rows = steps.at(t);
        let goes_on = match self.reverse {
            false if t + 1 < steps.seq_len() => steps.at(t + 1).len(),
            true if t > 0 => return,
            _ => 0,
        };
        let size = self.state_size;
        let row = run.row(steps, t);
        let ended = span(&(row + goes_on..row + rows.len()), size);
        let from = match run.kept.is_empty() {
            true => &run.next,
            false => &run.mixed,
        };
        run.state[goes_on * size..rows.len() * size].copy_from_slice(&from[ended]);
    }
}

/// One part of an array to be written, and another, before or after it, to be
/// read.
fn apart<F>(array: &mut [F], write: Range<usize>, read: Range<usize>) -> (&mut [F], &[F]) {
    if write.start >= read.end {
        let (before, after) = array.split_at_mut(write.start);
        (&mut after[..write.len()], &before[read])
    } else {
        let (before, after) = array.split_at_mut(read.start);
        (&mut before[write], &after[..read.len()])
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
