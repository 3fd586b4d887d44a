//! A step of a gated cell for many rows: the products, and the update of each
//! tile's units while their sums are in the registers; and its way back.
//!
//! ```text
//! saved (n, V)    sums, SUMS blocks of H | m (H) under a projection
//! state (n, S)    h (R = H), or (R) under a projection | c (H)
//! ```
//!
//! Under a projection the update makes `m` and reads no old `h`.

use super::dispatch::Task;
use super::ends::Ends;
use super::factor::Factor;
use super::lanes::Lanes;
use super::parts::{Parts, share};
use super::product::{LARGE, products_between};
use super::team::Team;
use crate::Float;
use crate::float::Apart;
use std::ops::Range;

/// Sums an update can have.
pub const SUMS: usize = 4;
/// Parts its state can have.
pub const STATES: usize = 2;
/// Weights of its own a unit can have.
pub const UNITS: usize = 3;

/// The pointwise half of a cell. Entries that it does not use are zero.
pub trait Update<F: Float> {
    /// Sums of a unit.
    const SUMS: usize;
    /// Parts of its state.
    const STATES: usize;
    /// Weights of its own.
    const UNITS: usize;

    /// What needs nothing but the sums, in their place; before
    /// [`update`](Self::update).
    fn gates<V: Lanes<F>>(&self, sums: &mut [V; SUMS]);

    /// The new state from the sums, the old state and the units' own weights;
    /// leaves what is saved in place of the sums.
    fn update<V: Lanes<F>>(
        &self,
        sums: &mut [V; SUMS],
        prev: [V; STATES],
        unit: [V; UNITS],
    ) -> [V; STATES];

    /// From the gradient of the new state those of the sums, of the old state
    /// beside the way through the sums, and of the units' own weights.
    fn back<V: Lanes<F>>(
        &self,
        saved: [V; SUMS],
        states: [[V; STATES]; 2],
        d_next: [V; STATES],
        unit: [V; UNITS],
    ) -> ([V; SUMS], [V; STATES], [V; UNITS]);
}

/// The sizes of a step.
#[derive(Debug, Clone, Copy)]
pub struct StepShape {
    /// Rows.
    pub n: usize,
    /// Units.
    pub h: usize,
    /// Where the second part of a state begins.
    pub r: usize,
    /// Numbers of a row of state.
    pub s: usize,
    /// Numbers of a saved row.
    pub v: usize,
    /// Whether the first part of the new state is `m`.
    pub projected: bool,
}

impl StepShape {
    /// That rows of state and saved rows have room for all blocks, and arrays of
    /// those lengths for all rows: what `SAFETY` lines below rest on.
    fn check<F: Float, U: Update<F>>(&self, states: &[usize], saved: &[usize]) {
        let rows = |len: &usize, stride: usize| self.n == 0 || *len / self.n >= stride;
        assert!(U::SUMS <= SUMS && U::STATES <= STATES && U::UNITS <= UNITS);
        let blocks = U::SUMS + usize::from(self.projected);
        assert!(self.v == blocks * self.h && self.s == self.r + (U::STATES - 1) * self.h);
        assert!(self.projected || self.r == self.h);
        assert!(states.iter().all(|len| rows(len, self.s)));
        assert!(saved.iter().all(|len| rows(len, self.v)));
    }
}

/// `N` or fewer numbers.
///
/// # Safety
/// `at + count` is within the slice.
#[inline(always)]
unsafe fn load<F: Float, V: Lanes<F>>(from: &[F], at: usize, count: usize) -> V {
    debug_assert!(at + count <= from.len());
    // SAFETY: the caller's.
    let from = unsafe { from.get_unchecked(at..at + count) };
    if count == V::N {
        V::load(from)
    } else {
        V::load_part(from)
    }
}

/// The way back from [`load`].
///
/// # Safety
/// As there.
#[inline(always)]
unsafe fn store<F: Float, V: Lanes<F>>(value: V, to: &mut [F], at: usize, count: usize) {
    debug_assert!(at + count <= to.len());
    // SAFETY: the caller's.
    let to = unsafe { to.get_unchecked_mut(at..at + count) };
    if count == V::N {
        value.store(to);
    } else {
        value.store_part(to);
    }
}

/// A step forward.
pub struct Step<'a, U, F> {
    /// The sizes.
    pub shape: StepShape,
    /// The product of the input; `None` where it is in `saved` already.
    pub input: Option<Factor<'a, F>>,
    /// The product of the state.
    pub hidden: Factor<'a, F>,
    /// The pointwise half.
    pub update: U,
    /// What sums begin with, blocks of H.
    pub biases: &'a [F],
    /// Sums that begin with what is in `saved` in place of that.
    pub prepared: Range<usize>,
    /// The units' own weights, blocks of H.
    pub unit: &'a [F],
    /// States before the step.
    pub prev: &'a [F],
    /// States after it.
    pub next: &'a mut [F],
    /// Whether `saved` is written for others to read.
    pub keeps: bool,
    /// Room for sums, then what is saved.
    pub saved: &'a mut [F],
    /// Whether the last units are first.
    pub backward: bool,
}

impl<F: Float, U: Update<F> + Sync> Step<'_, U, F> {
    /// Runs the step on the threads of a team, which divide its units where that
    /// is worth it.
    pub fn run(self, team: &Team) {
        let shape = self.shape;
        shape.check::<F, U>(&[self.prev.len(), self.next.len()], &[self.saved.len()]);
        assert!(self.biases.len() >= U::SUMS * shape.h && self.unit.len() >= U::UNITS * shape.h);
        self.hidden.check(shape.n, shape.h, U::SUMS == 1);
        let flop = self.hidden.flop() + self.input.as_ref().map_or(0, Factor::flop);
        let jobs = if flop < LARGE { 1 } else { team.threads() };
        let fused = Fused {
            shape,
            update: &self.update,
            biases: self.biases,
            prepared: (self.prepared.start, self.prepared.end),
            unit: self.unit,
            prev: self.prev,
            next: Parts::new(self.next),
            keeps: self.keeps,
            backward: self.backward,
            saved: Parts::new(self.saved),
        };
        team.run(jobs, |job| {
            F::dispatch(Panels {
                input: self.input,
                hidden: self.hidden,
                panels: share(self.hidden.panels(), jobs, job),
                ends: fused,
            });
        });
    }
}

/// Some panels of a step, which no other thread has.
struct Panels<'a, U, F> {
    input: Option<Factor<'a, F>>,
    hidden: Factor<'a, F>,
    panels: Range<usize>,
    ends: Fused<'a, U, F>,
}

impl<U, F> Clone for Fused<'_, U, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<U, F> Copy for Fused<'_, U, F> {}

impl<F: Float, U: Update<F>> Task<F> for Panels<'_, U, F> {
    type Out = ();

    #[inline(always)]
    fn run<V: Lanes<F>>(self) {
        let Self {
            input,
            hidden,
            panels,
            ends,
        } = self;
        products_between::<F, _, V>(input, hidden, U::SUMS, panels, ends);
    }
}

/// A [`Step`] whose sizes have been checked. Threads take disjoint units, each
/// with a copy of its own: what is behind a reference would be read again after
/// every store.
struct Fused<'a, U, F> {
    shape: StepShape,
    update: &'a U,
    biases: &'a [F],
    /// The first of them, and the one after the last.
    prepared: (usize, usize),
    unit: &'a [F],
    prev: &'a [F],
    next: Parts<'a, F>,
    keeps: bool,
    backward: bool,
    saved: Parts<'a, F>,
}

/// The units of the `repeat`-th vector of a panel, and how many there are.
#[inline(always)]
fn units<F, V: Lanes<F>>(col: usize, width: usize, repeat: usize) -> (usize, usize) {
    let before = repeat * V::N;
    (col + before, width.saturating_sub(before).min(V::N))
}

// SAFETY of every access below: the products call these with `row < n` and
// `col + width <= h`, and the sizes have been checked against the arrays; no two
// threads have the same units.
/// Bytes of states and saved sums that are near anyway.
const NEAR: usize = 128 << 10;

impl<F: Float, U: Update<F>> Ends<F> for Fused<'_, U, F> {
    /// Two of the only sum of a unit.
    const VECTORS: Option<usize> = Some(Self::REPEATS * U::SUMS);

    #[inline(always)]
    fn backward(&self) -> bool {
        self.backward
    }

    /// What is saved goes to new memory at every step.
    #[inline(always)]
    fn far(&self, bytes: usize) -> bool {
        bytes > if self.keeps { NEAR / 4 } else { NEAR }
    }

    #[inline(always)]
    fn soon<V: Lanes<F>>(&self, row: usize, col: usize, width: usize) {
        let StepShape { h, r, s, v, .. } = self.shape;
        let (state, saved) = (row * s + col, row * v + col);
        // SAFETY: see above; nothing is read.
        unsafe {
            if !self.shape.projected {
                V::fetch_last(self.next.at(state, width));
            }
            if U::STATES > 1 {
                V::fetch_last(self.next.at(state + r, width));
                V::fetch_last(self.prev.get_unchecked(state + r..state + r + width));
            }
            if self.keeps {
                for i in 0..U::SUMS {
                    V::fetch_last(self.saved.at(saved + i * h, width));
                }
            }
        }
    }

    #[inline(always)]
    fn start<V: Lanes<F>>(&self, col: usize) -> Option<(&[F], usize)> {
        let stride = if U::SUMS == 1 { V::N } else { self.shape.h };
        (self.prepared.1 == 0).then_some((&self.biases[col..], stride))
    }

    #[inline(always)]
    fn begin<V: Lanes<F>>(
        &self,
        rows: Range<usize>,
        (col, width): (usize, usize),
        sums: &mut [V],
        (count, stride): (usize, usize),
    ) {
        let StepShape { h, v, .. } = self.shape;
        let prepared = self.prepared;
        let each = Self::REPEATS * V::N;
        assert!(count == Self::REPEATS * U::SUMS);
        if prepared.1 == 0 && width == stride / count * each {
            // The same for all rows.
            let sums = &mut sums[..rows.len() * stride];
            for p in 0..stride / count {
                let mut same = [V::lit(0.0); SUMS];
                for (i, same) in same[..Self::REPEATS * U::SUMS].iter_mut().enumerate() {
                    let at = i / Self::REPEATS * h + col + p * each + i % Self::REPEATS * V::N;
                    // SAFETY: see above.
                    *same = unsafe { load(self.biases, at, V::N) };
                }
                for sums in sums.chunks_exact_mut(stride) {
                    let sums = &mut sums[p * count..][..Self::REPEATS * U::SUMS];
                    sums.copy_from_slice(&same[..Self::REPEATS * U::SUMS]);
                }
            }
            return;
        }
        for (row, sums) in rows.zip(sums.chunks_mut(stride)) {
            for (p, sums) in sums.chunks_exact_mut(count).enumerate() {
                let (first, left) = (col + p * each, width - p * each);
                for i in 0..U::SUMS {
                    for repeat in 0..Self::REPEATS {
                        let sum = &mut sums[i * Self::REPEATS + repeat];
                        let (j, units) = match left >= each {
                            true => (first + repeat * V::N, V::N),
                            false => units::<F, V>(first, left, repeat),
                        };
                        let at = i * h + j;
                        // SAFETY: see above.
                        *sum = unsafe {
                            match prepared.0 <= i && i < prepared.1 {
                                _ if units == 0 => V::lit(0.0),
                                true => load(self.saved.at(row * v + at, units), 0, units),
                                false => load(self.biases, at, units),
                            }
                        };
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn end<V: Lanes<F>>(
        &self,
        rows: Range<usize>,
        at: (usize, usize),
        sums: &mut [V],
        stride: (usize, usize),
    ) {
        V::apart(End {
            step: self,
            rows,
            at,
            sums,
            stride,
        });
    }
}

/// The end of some rows, which is compiled once for every cell.
struct End<'a, U, F, V> {
    step: &'a Fused<'a, U, F>,
    rows: Range<usize>,
    /// The first column and how many there are.
    at: (usize, usize),
    sums: &'a mut [V],
    /// Sums of a row, and from one row to the next.
    stride: (usize, usize),
}

impl<F: Float, U: Update<F>, V: Lanes<F>> Apart for End<'_, U, F, V> {
    #[inline(always)]
    fn run(self) {
        let (count, stride) = self.stride;
        let (col, width) = self.at;
        // A copy: what is behind a reference would be read again after every
        // store.
        let step = *self.step;
        let repeats = Fused::<U, F>::REPEATS;
        assert!(count == repeats * U::SUMS);
        // The gates of all rows first: the state of a row waits for its gates,
        // and a processor does not look far enough ahead for those of the next.
        let used = self.rows.len() * stride;
        let sums = &mut self.sums[..used];
        for sums in sums.chunks_exact_mut(repeats * U::SUMS) {
            for repeat in 0..repeats {
                let mut gates = take::<F, U, V>(sums, repeat);
                step.update.gates(&mut gates);
                for i in 0..U::SUMS {
                    sums[i * repeats + repeat] = gates[i];
                }
            }
        }
        let each = repeats * V::N;
        for p in 0..stride / count {
            let (first, left) = (col + p * each, width - p * each);
            let whole = left >= each && !step.shape.projected;
            for (row, sums) in self.rows.clone().zip(sums.chunks_exact(stride)) {
                let sums = &sums[p * count..][..repeats * U::SUMS];
                for repeat in 0..repeats {
                    let gates = take::<F, U, V>(sums, repeat);
                    if whole {
                        step.units(row, first + repeat * V::N, V::N, false, gates);
                        continue;
                    }
                    let (j, count) = units::<F, V>(first, left, repeat);
                    if count > 0 {
                        step.units(row, j, count, step.shape.projected, gates);
                    }
                }
            }
        }
    }
}

/// The sums of the `repeat`-th vector of units of a panel.
#[inline(always)]
fn take<F: Float, U: Update<F>, V: Lanes<F>>(sums: &[V], repeat: usize) -> [V; SUMS] {
    let mut gates = [V::lit(0.0); SUMS];
    for i in 0..U::SUMS {
        gates[i] = sums[i * Fused::<U, F>::REPEATS + repeat];
    }
    gates
}

impl<F: Float, U: Update<F>> Fused<'_, U, F> {
    /// Vectors of a sum in a panel.
    const REPEATS: usize = if U::SUMS == 1 { 2 } else { 1 };

    /// The update of some units of a row after their gates.
    #[expect(clippy::needless_range_loop, reason = "several arrays share an index")]
    #[inline(always)]
    fn units<V: Lanes<F>>(
        &self,
        row: usize,
        j: usize,
        count: usize,
        projected: bool,
        mut values: [V; SUMS],
    ) {
        let StepShape { h, r, .. } = self.shape;
        let (state, saved) = (row * self.shape.s, row * self.shape.v);
        let mut prev = [V::lit(0.0); STATES];
        let mut unit = [V::lit(0.0); UNITS];
        // SAFETY: see above.
        unsafe {
            if !projected {
                prev[0] = load(self.prev, state + j, count);
            }
            if U::STATES > 1 {
                prev[1] = load(self.prev, state + r + j, count);
            }
            for i in 0..U::UNITS {
                unit[i] = load(self.unit, i * h + j, count);
            }
        }
        let next = self.update.update(&mut values, prev, unit);
        // SAFETY: see above.
        unsafe {
            if self.keeps {
                for i in 0..U::SUMS {
                    store(values[i], self.saved.at(saved + i * h + j, count), 0, count);
                }
            }
            if projected {
                let m = self.saved.at(saved + U::SUMS * h + j, count);
                store(next[0], m, 0, count);
            } else {
                store(next[0], self.next.at(state + j, count), 0, count);
            }
            if U::STATES > 1 {
                store(next[1], self.next.at(state + r + j, count), 0, count);
            }
        }
    }
}

/// The derivative of the update for all rows of a step.
pub struct StepBack<'a, U, F> {
    /// The sizes.
    pub shape: StepShape,
    /// The pointwise half.
    pub update: U,
    /// The units' own weights, blocks of H.
    pub unit: &'a [F],
    /// States before the step.
    pub prev: &'a [F],
    /// States after it.
    pub next: &'a [F],
    /// What was saved.
    pub saved: &'a [F],
    /// From the gradient of the new state to the direct part of the old one's.
    pub d_state: &'a mut [F],
    /// Gradients of the sums; under a projection, that of `m` after them, read.
    pub d_saved: &'a mut [F],
    /// Gradients of the units' own weights, added to.
    pub d_unit: &'a mut [F],
}

impl<'a, F: Float, U: Update<F>> Task<F> for StepBack<'a, U, F> {
    /// The gradients of the state and of what was saved.
    type Out = (&'a mut [F], &'a mut [F]);

    #[inline(always)]
    fn run<V: Lanes<F>>(mut self) -> Self::Out {
        let states = [self.prev.len(), self.next.len(), self.d_state.len()];
        let saved = [self.saved.len(), self.d_saved.len()];
        self.shape.check::<F, U>(&states, &saved);
        let units = U::UNITS * self.shape.h;
        assert!(self.unit.len() >= units && self.d_unit.len() >= units);
        for row in 0..self.shape.n {
            for j in (0..self.shape.h).step_by(V::N) {
                self.units::<V>(row, j);
            }
        }
        (self.d_state, self.d_saved)
    }
}

impl<F: Float, U: Update<F>> StepBack<'_, U, F> {
    /// Up to `N` units of a row from `j` on.
    #[expect(clippy::needless_range_loop, reason = "several arrays share an index")]
    #[inline(always)]
    fn units<V: Lanes<F>>(&mut self, row: usize, j: usize) {
        let StepShape {
            h, r, projected, ..
        } = self.shape;
        let count = V::N.min(h - j);
        let (state, saved) = (row * self.shape.s, row * self.shape.v);
        let m = saved + U::SUMS * h + j;
        let zero = V::lit(0.0);
        let (mut sums, mut unit) = ([zero; SUMS], [zero; UNITS]);
        let (mut states, mut d_next) = ([[zero; STATES]; 2], [zero; STATES]);
        // SAFETY: row < n and j + count <= h, and `run` has checked the sizes
        // against the arrays.
        unsafe {
            for i in 0..U::SUMS {
                sums[i] = load(self.saved, saved + i * h + j, count);
            }
            for i in 0..U::UNITS {
                unit[i] = load(self.unit, i * h + j, count);
            }
            if projected {
                states[1][0] = load(self.saved, m, count);
                d_next[0] = load(self.d_saved, m, count);
            } else {
                states[0][0] = load(self.prev, state + j, count);
                states[1][0] = load(self.next, state + j, count);
                d_next[0] = load(self.d_state, state + j, count);
            }
            if U::STATES > 1 {
                states[0][1] = load(self.prev, state + r + j, count);
                states[1][1] = load(self.next, state + r + j, count);
                d_next[1] = load(self.d_state, state + r + j, count);
            }
        }
        let (d_sums, d_state, d_unit) = self.update.back(sums, states, d_next, unit);
        // SAFETY: as above.
        unsafe {
            for i in 0..U::SUMS {
                store(d_sums[i], self.d_saved, saved + i * h + j, count);
            }
            if projected {
                store(d_state[0], self.d_saved, m, count);
            } else {
                store(d_state[0], self.d_state, state + j, count);
            }
            if U::STATES > 1 {
                store(d_state[1], self.d_state, state + r + j, count);
            }
            for i in 0..U::UNITS {
                let so_far: V = load(self.d_unit, i * h + j, count);
                store(so_far + d_unit[i], self.d_unit, i * h + j, count);
            }
        }
    }
}
