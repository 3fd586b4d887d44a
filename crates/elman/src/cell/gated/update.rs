//! The pointwise half of a step: one unit at a time in the theory, and as the
//! kernels take it, vectors of units.

use super::{GatedCell, STATES, SUMS, UNITS};
use crate::Float;
use crate::float::Scalar;
use crate::kernel::{Lanes, Update};

/// The update of a cell for the kernels.
pub struct Of<'a, C>(pub &'a C);

impl<C: GatedCell, F: Float> Update<F> for Of<'_, C> {
    const SUMS: usize = C::SAVED.len();
    const STATES: usize = C::STATE.len();
    const UNITS: usize = C::UNIT.len();

    #[inline(always)]
    fn gates<V: Lanes<F>>(&self, sums: &mut [V; SUMS]) {
        self.0.gates(sums);
    }

    #[inline(always)]
    fn update<V: Lanes<F>>(
        &self,
        sums: &mut [V; SUMS],
        prev: [V; STATES],
        unit: [V; UNITS],
    ) -> [V; STATES] {
        flush(self.0.update_with(sums, prev, unit))
    }

    #[inline(always)]
    fn back<V: Lanes<F>>(
        &self,
        saved: [V; SUMS],
        [prev, next]: [[V; STATES]; 2],
        d_next: [V; STATES],
        unit: [V; UNITS],
    ) -> ([V; SUMS], [V; STATES], [V; UNITS]) {
        let (d_sums, d_prev, d_unit) = self.0.update_back_with(saved, prev, next, d_next, unit);
        (flush(d_sums), flush(d_prev), d_unit)
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

/// The numbers of unit `j`, one of each block of `h`; 0 where there is none.
fn take<F: Float, const N: usize>(blocks: &[F], h: usize, used: usize, j: usize) -> [F; N] {
    std::array::from_fn(|i| {
        if i < used {
            blocks[i * h + j]
        } else {
            F::zero()
        }
    })
}

/// The numbers of unit `j`, one of each part of a state.
fn take_state<F: Float>(parts: [&[F]; STATES], j: usize) -> [F; STATES] {
    parts.map(|part| part.get(j).copied().unwrap_or(F::zero()))
}

/// The way back from [`take_state`].
fn put_state<F: Float>(values: [F; STATES], parts: &mut [&mut [F]; STATES], j: usize) {
    for (part, value) in parts.iter_mut().zip(values) {
        part.get_mut(j).into_iter().for_each(|to| *to = value);
    }
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
        let mut values = take(sums, h, C::SAVED.len(), j);
        let unit = take(unit, h, C::UNIT.len(), j);
        cell.gates(&mut values);
        let state = flush(cell.update_with(&mut values, take_state(prev, j), unit));
        for (sum, value) in sums.chunks_exact_mut(h).zip(values) {
            sum[j] = value;
        }
        put_state(state, &mut next, j);
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
pub fn update_row_back<C: GatedCell, F: Float>(cell: &C, h: usize, mut row: RowBack<'_, F>) {
    for j in 0..h {
        let d_next = row.d_state.each_ref().map(|part| &**part);
        let (d_sums, d_prev, d_unit) = cell.update_back_with::<F>(
            take(row.saved, h, C::SAVED.len(), j),
            take_state(row.prev, j),
            take_state(row.next, j),
            take_state(d_next, j),
            take(row.unit, h, C::UNIT.len(), j),
        );
        for (to, d) in row.d_sums.chunks_exact_mut(h).zip(flush(d_sums)) {
            to[j] = d;
        }
        put_state(flush(d_prev), &mut row.d_state, j);
        for (to, d) in row
            .d_unit
            .chunks_exact_mut(h)
            .zip(d_unit)
            .take(C::UNIT.len())
        {
            to[j] += d;
        }
    }
}
