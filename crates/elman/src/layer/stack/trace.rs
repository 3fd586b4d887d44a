//! What went on inside: every state and gate of every step.

use super::share::Run;
use super::{Stack, StackCache};
use crate::Float;
use crate::cell::Cell;
use ndarray::Array3;
use std::ops::Range;

/// A state or a gate of one layer and direction, (T, B, width) or (B, T, width)
/// as the output is; zero in the padding. The width is `H` of the layer but for
/// a state that a cell declares with another, such as `h` under a projection
/// (`R`).
#[derive(Debug, Clone)]
pub struct Trace<F> {
    /// Layer.
    pub layer: usize,
    /// Direction.
    pub reverse: bool,
    /// `h`, `c`; `r`, `z`, `n`, `hn`; `i`, `f`, `g`, `o`; `m` under a
    /// projection. States are those that the next step reads, after zoneout.
    pub name: &'static str,
    /// The numbers.
    pub values: Array3<F>,
}

impl<C> Stack<C> {
    /// Every state and gate of the last forward pass; none after one for inference,
    /// which keeps no more than the next step reads.
    pub fn trace<F: Float>(&self, cache: &StackCache<F>) -> Vec<Trace<F>>
    where
        C: Cell<F>,
    {
        let steps = &cache.steps;
        let mut out = Vec::new();
        let shares = cache.shares();
        if !cache.keeps || shares.is_empty() || !shares.iter().all(|s| s.fits(self)) {
            return out;
        }
        for (at, slot) in self.slots.iter().enumerate() {
            let mut take =
                |name, numbers: &dyn Fn(&Run<F>) -> &[F], row: usize, columns: Range<usize>| {
                    let mut array = Array3::zeros((steps.seq_len(), steps.batch(), columns.len()));
                    for share in cache.shares() {
                        let rows = numbers(&share.runs[at]).chunks_exact(row);
                        let rows = rows.map(|row| &row[columns.clone()]);
                        share.steps.scatter(rows, array.view_mut(), |a, v| *a = v);
                    }
                    out.push(Trace {
                        layer: slot.layer,
                        reverse: slot.reverse,
                        name,
                        values: self.time_first(array.view()).to_owned(),
                    });
                };
            let mut start = 0;
            for part in slot.cell.states() {
                let columns = start..start + part.size();
                start = columns.end;
                take(part.name, &Run::states, slot.state_size, columns);
            }
            let h = slot.cell.hidden_size();
            for (i, name) in slot.cell.saved().into_iter().enumerate() {
                let columns = i * h..(i + 1) * h;
                take(name, &|run| &run.saved, slot.saved_size, columns);
            }
        }
        out
    }
}
