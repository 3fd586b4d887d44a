//! The pointwise half of a step: one unit at a time in the theory, vectors of
//! units in the kernels, where it goes on from the sums in the registers.

use super::places::Places;
use super::{GatedCell, STATES, SUMS, UNITS};
use crate::Float;
use crate::cell::{Packs, Rows, RowsBack};
use crate::float::Scalar;
use crate::kernel::{Ends, Lanes, Matrix, Packed, Task, load, product_between, store};

/// The numbers of units `j..` in the first `used` blocks of `h` of a row.
#[inline(always)]
fn load_blocks<F: Float, V: Lanes<F>, const N: usize>(
    row: &[F],
    h: usize,
    used: usize,
    j: usize,
    count: usize,
) -> [V; N] {
    let mut values = [V::lit(0.0); N];
    for (i, value) in values.iter_mut().enumerate().take(used) {
        *value = load(row, i * h + j, count);
    }
    values
}

/// The way back from [`load_blocks`].
#[inline(always)]
fn store_blocks<F: Float, V: Lanes<F>, const N: usize>(
    values: [V; N],
    row: &mut [F],
    h: usize,
    used: usize,
    j: usize,
    count: usize,
) {
    for (i, value) in values.into_iter().enumerate().take(used) {
        store(value, row, i * h + j, count);
    }
}

/// The numbers of units `j..` in the parts of a state.
#[inline(always)]
fn load_state<F: Float, V: Lanes<F>>(
    parts: [&[F]; STATES],
    used: usize,
    j: usize,
    count: usize,
) -> [V; STATES] {
    let mut values = [V::lit(0.0); STATES];
    for (value, part) in values.iter_mut().zip(parts).take(used) {
        if !part.is_empty() {
            *value = load(part, j, count);
        }
    }
    values
}

/// The way back from [`load_state`].
#[inline(always)]
fn store_state<F: Float, V: Lanes<F>>(
    values: [V; STATES],
    parts: &mut [&mut [F]; STATES],
    used: usize,
    j: usize,
    count: usize,
) {
    for (part, value) in parts.iter_mut().zip(values).take(used) {
        store(value, part, j, count);
    }
}

/// What decays ends at zero: numbers below the normal ones would cost many
/// times the time of others.
#[inline(always)]
fn flush<S: Scalar, const N: usize>(mut values: [S; N]) -> [S; N] {
    // A closure would be compiled without the features of its surroundings.
    for value in &mut values {
        *value = value.flush();
    }
    values
}

/// One row of the update, unit by unit: sums, prev -> saved in their place,
/// next.
pub fn update_row<C: GatedCell, F: Float>(
    cell: &C,
    h: usize,
    sums: &mut [F],
    prev: [&[F]; STATES],
    mut next: [&mut [F]; STATES],
    unit: &[F],
) {
    for j in 0..h {
        let mut values: [F; SUMS] = load_blocks(sums, h, C::SAVED.len(), j, 1);
        let prev = load_state(prev, C::STATE.len(), j, 1);
        let unit = load_blocks(unit, h, C::UNIT.len(), j, 1);
        let state = flush(cell.update_with(&mut values, prev, unit));
        store_blocks(values, sums, h, C::SAVED.len(), j, 1);
        store_state(state, &mut next, C::STATE.len(), j, 1);
    }
}

/// What the derivative of the update reads and writes.
pub struct RowBack<'a, F> {
    pub saved: &'a [F],
    pub prev: [&'a [F]; STATES],
    pub next: [&'a [F]; STATES],
    pub d_state: [&'a mut [F]; STATES],
    pub d_sums: &'a mut [F],
    /// The units' own weights.
    pub unit: &'a [F],
    /// Their gradients, added to.
    pub d_unit: &'a mut [F],
}

/// One row of the update's derivative: `d_state` changes from the new state's
/// gradient to the direct part of the old state's.
#[inline(always)]
pub fn update_row_back<C: GatedCell, F: Float, V: Lanes<F>>(
    cell: &C,
    h: usize,
    mut row: RowBack<'_, F>,
) {
    let whole = h - h % V::N;
    for j in (0..whole).step_by(V::N) {
        update_units_back::<C, F, V>(cell, h, &mut row, j, V::N);
    }
    if whole < h {
        update_units_back::<C, F, V>(cell, h, &mut row, whole, h - whole);
    }
}

#[inline(always)]
fn update_units_back<C: GatedCell, F: Float, V: Lanes<F>>(
    cell: &C,
    h: usize,
    row: &mut RowBack<'_, F>,
    j: usize,
    count: usize,
) {
    let (sums, states) = (C::SAVED.len(), C::STATE.len());
    let mut d_next = [V::lit(0.0); STATES];
    for (value, part) in d_next.iter_mut().zip(&row.d_state).take(states) {
        *value = load(part, j, count);
    }
    let (d_sums, d_state, d_unit) = cell.update_back_with::<V>(
        load_blocks(row.saved, h, sums, j, count),
        load_state(row.prev, states, j, count),
        load_state(row.next, states, j, count),
        d_next,
        load_blocks(row.unit, h, C::UNIT.len(), j, count),
    );
    store_blocks(flush(d_sums), row.d_sums, h, sums, j, count);
    store_state(flush(d_state), &mut row.d_state, states, j, count);
    let so_far: [V; UNITS] = load_blocks(row.d_unit, h, C::UNIT.len(), j, count);
    let mut sums = so_far;
    for (sum, d) in sums.iter_mut().zip(d_unit) {
        *sum = *sum + d;
    }
    store_blocks(sums, row.d_unit, h, C::UNIT.len(), j, count);
}

/// A step of many rows: the product of the state, and the update of each tile's
/// units as soon as their sums are there.
pub struct Step<'a, C, F> {
    cell: &'a C,
    places: &'a Places,
    hidden_weights: &'a Packed<F>,
    hidden: Matrix<'a, F>,
    biases: &'a [F],
    unit: &'a [F],
    prev: &'a [F],
    next: &'a mut [F],
    saved: &'a mut [F],
}

impl<'a, C: GatedCell, F: Float> Step<'a, C, F> {
    pub fn new(
        cell: &'a C,
        places: &'a Places,
        packs: &'a Packs<F>,
        unit: &'a [F],
        n: usize,
        rows: Rows<'a, F>,
    ) -> Self {
        Self {
            cell,
            places,
            hidden_weights: &packs.hidden,
            hidden: Matrix::new(rows.hidden, n, places.r, places.s),
            biases: &packs.biases,
            unit,
            prev: rows.prev,
            next: rows.next,
            saved: rows.saved,
        }
    }
}

impl<'a, C: GatedCell, F: Float> Task<F> for Step<'a, C, F> {
    /// What was saved, and the new states.
    type Out = (&'a mut [F], &'a mut [F]);

    #[inline(always)]
    fn run<V: Lanes<F>>(self) -> Self::Out {
        let Self { saved, next, .. } = self;
        let ends = StepEnds {
            cell: self.cell,
            p: self.places,
            biases: self.biases,
            unit: self.unit,
            prev: self.prev,
            next: &mut *next,
            saved: &mut *saved,
        };
        let panels = 0..self.hidden_weights.panels();
        product_between::<F, _, V>(self.hidden, self.hidden_weights, panels, ends);
        (saved, next)
    }
}

struct StepEnds<'a, C, F> {
    cell: &'a C,
    p: &'a Places,
    biases: &'a [F],
    unit: &'a [F],
    prev: &'a [F],
    next: &'a mut [F],
    saved: &'a mut [F],
}

impl<C: GatedCell, F: Float> StepEnds<'_, C, F> {
    /// Units of a full panel of so many vectors.
    #[inline(always)]
    fn width<V: Lanes<F>>(vectors: usize) -> usize {
        vectors / C::HIDDEN.gates.len() * V::N
    }

    /// The sum of a row that vector `v` of a panel belongs to, its first unit,
    /// and how many units there are.
    #[inline(always)]
    fn place<V: Lanes<F>>(col: usize, width: usize, v: usize, full: bool) -> (usize, usize, usize) {
        let gates = C::HIDDEN.gates.len();
        let (repeat, gate) = (v / gates, v % gates);
        let count = match full {
            true => V::N,
            false => width.saturating_sub(repeat * V::N).min(V::N),
        };
        (C::HIDDEN.first + gate, col + repeat * V::N, count)
    }

    /// From the sums of some units to their new states.
    #[inline(always)]
    fn update<V: Lanes<F>, const FULL: bool>(
        &mut self,
        row: usize,
        col: usize,
        width: usize,
        sums: &[V],
    ) {
        let (p, gates) = (self.p, C::HIDDEN.gates.len());
        let (saved, m) = self.saved[row * p.v..][..p.v].split_at_mut(p.sums);
        let prev = p.units(&self.prev[row * p.s..][..p.s], &[]);
        let mut next = p.units_mut(&mut self.next[row * p.s..][..p.s], m);
        for repeat in 0..sums.len() / gates {
            let sums = &sums[repeat * gates..][..gates];
            let (_, j, count) = Self::place::<V>(col, width, repeat * gates, FULL);
            if count == 0 {
                continue;
            }
            let mut values = [V::lit(0.0); SUMS];
            for (sum, value) in values.iter_mut().enumerate().take(C::SAVED.len()) {
                let gate = sum.wrapping_sub(C::HIDDEN.first);
                *value = match gate < gates {
                    true => sums[gate],
                    false => load(saved, sum * p.h + j, count),
                };
            }
            let prev = load_state(prev, C::STATE.len(), j, count);
            let unit = load_blocks(self.unit, p.h, C::UNIT.len(), j, count);
            let state = flush(self.cell.update_with(&mut values, prev, unit));
            store_blocks(values, saved, p.h, C::SAVED.len(), j, count);
            store_state(state, &mut next, C::STATE.len(), j, count);
        }
    }
}

impl<C: GatedCell, F: Float> Ends<F> for StepEnds<'_, C, F> {
    /// The products of the input, or, of a sum that takes none, its bias.
    #[inline(always)]
    fn begin<V: Lanes<F>>(&self, row: usize, col: usize, width: usize, sums: &mut [V]) {
        let saved = &self.saved[row * self.p.v..][..self.p.sums];
        let full = width == Self::width::<V>(sums.len());
        for (v, value) in sums.iter_mut().enumerate() {
            let (sum, j, count) = Self::place::<V>(col, width, v, full);
            let with_input = sum < C::INPUT.first + C::INPUT.gates.len();
            let from = if with_input { saved } else { self.biases };
            *value = load(from, sum * self.p.h + j, count);
        }
    }

    #[inline(always)]
    fn pause<V: Lanes<F>>(&mut self, row: usize, col: usize, width: usize, sums: &[V]) {
        let saved = &mut self.saved[row * self.p.v..][..self.p.sums];
        let full = width == Self::width::<V>(sums.len());
        for (v, value) in sums.iter().enumerate() {
            let (sum, j, count) = Self::place::<V>(col, width, v, full);
            store(*value, saved, sum * self.p.h + j, count);
        }
    }

    #[inline(always)]
    fn resume<V: Lanes<F>>(&self, row: usize, col: usize, width: usize, sums: &mut [V]) {
        let saved = &self.saved[row * self.p.v..][..self.p.sums];
        let full = width == Self::width::<V>(sums.len());
        for (v, value) in sums.iter_mut().enumerate() {
            let (sum, j, count) = Self::place::<V>(col, width, v, full);
            *value = load(saved, sum * self.p.h + j, count);
        }
    }

    #[inline(always)]
    fn end<V: Lanes<F>>(&mut self, row: usize, col: usize, width: usize, sums: &[V]) {
        if width == Self::width::<V>(sums.len()) {
            self.update::<V, true>(row, col, width, sums);
        } else {
            self.update::<V, false>(row, col, width, sums);
        }
    }
}

/// The derivative of the update for all rows of a step.
pub struct UpdateBack<'a, C, F> {
    cell: &'a C,
    places: &'a Places,
    unit: &'a [F],
    rows: RowsBack<'a, F>,
}

impl<'a, C: GatedCell, F: Float> UpdateBack<'a, C, F> {
    pub fn new(cell: &'a C, places: &'a Places, unit: &'a [F], rows: RowsBack<'a, F>) -> Self {
        Self {
            cell,
            places,
            unit,
            rows,
        }
    }
}

impl<'a, C: GatedCell, F: Float> Task<F> for UpdateBack<'a, C, F> {
    /// The gradients of the state and of the sums.
    type Out = (&'a mut [F], &'a mut [F]);

    #[inline(always)]
    fn run<V: Lanes<F>>(self) -> Self::Out {
        let p = self.places;
        let r = self.rows;
        let d_unit = r.d_weights.get_mut(p.unit..).unwrap_or_default();
        let forward = r
            .saved
            .chunks_exact(p.v)
            .zip(r.prev.chunks_exact(p.s))
            .zip(r.next.chunks_exact(p.s));
        let back = r
            .d_state
            .chunks_exact_mut(p.s)
            .zip(r.d_saved.chunks_exact_mut(p.v));
        for (((saved, prev), next), (d_state, d_saved)) in forward.zip(back) {
            let (saved, m) = saved.split_at(p.sums);
            let (d_sums, dm) = d_saved.split_at_mut(p.sums);
            let row = RowBack {
                saved,
                prev: p.units(prev, &[]),
                next: p.units(next, m),
                d_state: p.units_mut(d_state, dm),
                d_sums,
                unit: self.unit,
                d_unit: &mut *d_unit,
            };
            update_row_back::<C, F, V>(self.cell, p.h, row);
        }
        (r.d_state, r.d_saved)
    }
}
