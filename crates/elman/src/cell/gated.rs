//! Cells of affine gates and a pointwise update.
//!
//! Every gate is a sum, `b + W_i x + W_h h`, and the update maps the sums and
//! the old state of one unit to its new state. The sums of a row lie in blocks
//! of `H`; a cell says which of its sums take the input's product and which
//! the state's (in the GRU, `W_hn h` is a sum of its own).
//!
//! The first part of the new state is the output `h`. With a projection it is
//! an intermediate `m` (H), saved after the sums, and `h = W_hr m` (R).

use super::{Bias, Cell, Packs, Part, Rows, RowsBack, Weights};
use crate::Float;
use crate::float::Scalar;
use crate::kernel::{Lanes, Matrix, Packed, Task, product};

/// The sizes of a gated cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// `I`.
    pub input_size: usize,
    /// `H`.
    pub hidden_size: usize,
    /// Which biases there are.
    pub bias: Bias,
}

/// Which sums one of the two products goes into: the sums from `first` on take
/// the gates (blocks of rows of the weight) in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Side {
    /// The first sum.
    pub first: usize,
    /// The gate that each sum takes.
    pub gates: &'static [usize],
}

/// Sums a gated cell can have.
pub const SUMS: usize = 4;
/// Parts the state of a gated cell can have.
pub const STATES: usize = 2;
/// Weights of its own a unit of a gated cell can have.
pub const UNITS: usize = 3;

/// A cell of affine gates and a pointwise update.
///
/// A step of one unit: the sums are filled, [`update`](Self::update) turns them
/// into the new state and leaves in their place what the backward pass and a
/// trace need. Unused entries of the arrays are zero.
pub trait GatedCell: Clone + Send + Sync {
    /// Names of the sums after the update, in order: the gates.
    const SAVED: &'static [&'static str];
    /// Parts of the state: `["h"]` or `["h", "c"]`.
    const STATE: &'static [&'static str];
    /// Where `W_ih x + b_ih` goes.
    const INPUT: Side;
    /// Where `W_hh h + b_hh` goes.
    const HIDDEN: Side;
    /// Names of the parameters (H) that only the update of their unit reads:
    /// peepholes.
    const UNIT: &'static [&'static str] = &[];

    /// The sizes.
    fn sizes(&self) -> Sizes;

    /// `R`, the size of `h` under a projection; 0 for none. The update of a
    /// cell with a projection is given no old `h`, and its derivative has none.
    fn proj_size(&self) -> usize {
        0
    }

    /// The new state of one unit. Must be `#[inline(always)]`.
    fn update<S: Scalar>(&self, sums: &mut [S; SUMS], prev: [S; STATES]) -> [S; STATES];

    /// [`update`](Self::update) with the unit's own weights, which without
    /// [`UNIT`](Self::UNIT) there are none of. Must be `#[inline(always)]`.
    #[inline(always)]
    fn update_with<S: Scalar>(
        &self,
        sums: &mut [S; SUMS],
        prev: [S; STATES],
        _: [S; UNITS],
    ) -> [S; STATES] {
        self.update(sums, prev)
    }

    /// The derivative of [`update`](Self::update): from the gradient of the new
    /// state those of the sums and, beside the way through the sums, that of
    /// the old state. Must be `#[inline(always)]`.
    fn update_back<S: Scalar>(
        &self,
        saved: [S; SUMS],
        prev: [S; STATES],
        next: [S; STATES],
        d_next: [S; STATES],
    ) -> ([S; SUMS], [S; STATES]);

    /// The derivative of [`update_with`](Self::update_with): beside that of
    /// [`update_back`](Self::update_back) the gradients of the unit's own
    /// weights. Must be `#[inline(always)]`.
    #[inline(always)]
    fn update_back_with<S: Scalar>(
        &self,
        saved: [S; SUMS],
        prev: [S; STATES],
        next: [S; STATES],
        d_next: [S; STATES],
        _: [S; UNITS],
    ) -> ([S; SUMS], [S; STATES], [S; UNITS]) {
        let (d_sums, d_prev) = self.update_back(saved, prev, next, d_next);
        (d_sums, d_prev, [S::lit(0.0); UNITS])
    }
}

/// Where the parameters of a gated cell begin in its slice.
struct Places {
    i: usize,
    h: usize,
    /// Features of the output.
    r: usize,
    /// Sums in one row.
    sums: usize,
    /// Numbers in one saved row: the sums, and `m` under a projection.
    v: usize,
    /// Numbers in one row of state.
    s: usize,
    weight_ih: usize,
    weight_hh: usize,
    bias_ih: Option<usize>,
    bias_hh: Option<usize>,
    weight_hr: Option<usize>,
    /// The weights of the units' own.
    unit: usize,
}

impl Places {
    fn of<C: GatedCell>(cell: &C) -> Self {
        let Sizes {
            input_size: i,
            hidden_size: h,
            bias,
        } = cell.sizes();
        let projected = cell.proj_size() > 0;
        let r = if projected { cell.proj_size() } else { h };
        let gates = C::INPUT.gates.len() * h;
        let end = gates * (i + r);
        let biases = match bias {
            Bias::Both => 2,
            Bias::Single => 1,
            Bias::None => 0,
        };
        let sums = C::SAVED.len() * h;
        let weight_hr = end + biases * gates;
        Self {
            i,
            h,
            r,
            sums,
            v: if projected { sums + h } else { sums },
            s: r + (C::STATE.len() - 1) * h,
            weight_ih: 0,
            weight_hh: gates * i,
            bias_ih: (biases > 0).then_some(end),
            bias_hh: (biases > 1).then_some(end + gates),
            weight_hr: projected.then_some(weight_hr),
            unit: weight_hr + if projected { r * h } else { 0 },
        }
    }

    /// The parts of a row of state by units; `m` stands for the output under a
    /// projection.
    #[inline(always)]
    fn units<'a, F>(&self, state: &'a [F], m: &'a [F]) -> [&'a [F]; STATES] {
        let (output, rest) = state.split_at(self.r);
        [if self.weight_hr.is_some() { m } else { output }, rest]
    }

    /// As [`units`](Self::units), to be changed.
    #[inline(always)]
    fn units_mut<'a, F>(&self, state: &'a mut [F], m: &'a mut [F]) -> [&'a mut [F]; STATES] {
        let (output, rest) = state.split_at_mut(self.r);
        [if self.weight_hr.is_some() { m } else { output }, rest]
    }

    /// The weights of one side, a matrix (H, K) a gate, in the order of sums.
    fn blocks<'a, F: Float>(
        &self,
        side: Side,
        start: usize,
        k: usize,
        values: &'a [F],
    ) -> impl Iterator<Item = Matrix<'a, F>> + Clone {
        let h = self.h;
        side.gates
            .iter()
            .map(move |g| Matrix::new(&values[start + g * h * k..], h, k, k))
    }

    /// The sums of a row without its products: the biases.
    fn biases<C: GatedCell, F: Float>(&self, values: &[F], sums: &mut [F]) {
        sums.fill(F::zero());
        for (side, bias) in [(C::INPUT, self.bias_ih), (C::HIDDEN, self.bias_hh)] {
            let Some(start) = bias else { continue };
            for (s, g) in side.gates.iter().enumerate() {
                let sums = &mut sums[(side.first + s) * self.h..][..self.h];
                for (sum, b) in sums.iter_mut().zip(&values[start + g * self.h..]) {
                    *sum += *b;
                }
            }
        }
    }
}

impl<F: Float, C: GatedCell> Cell<F> for C {
    fn input_size(&self) -> usize {
        self.sizes().input_size
    }

    fn hidden_size(&self) -> usize {
        self.sizes().hidden_size
    }

    fn proj_size(&self) -> usize {
        GatedCell::proj_size(self)
    }

    fn takes_mask(&self) -> bool {
        true
    }

    fn kernels(&self) -> bool {
        true
    }

    fn states(&self) -> Vec<Part> {
        let p = Places::of(self);
        let sizes = std::iter::once(p.r).chain(std::iter::repeat(p.h));
        C::STATE
            .iter()
            .zip(sizes)
            .map(|(name, size)| Part {
                name,
                shape: vec![size],
            })
            .collect()
    }

    fn params(&self) -> Vec<Part> {
        let Sizes {
            input_size: i,
            hidden_size: h,
            bias,
        } = self.sizes();
        // A layout refuses what is too large.
        let rows = h.saturating_mul(C::INPUT.gates.len());
        let r = Cell::<F>::output_size(self);
        let mut parts = vec![("weight_ih", vec![rows, i]), ("weight_hh", vec![rows, r])];
        if bias != Bias::None {
            parts.push(("bias_ih", vec![rows]));
        }
        if bias == Bias::Both {
            parts.push(("bias_hh", vec![rows]));
        }
        if GatedCell::proj_size(self) > 0 {
            parts.push(("weight_hr", vec![r, h]));
        }
        parts.extend(C::UNIT.iter().map(|name| (*name, vec![h])));
        parts
            .into_iter()
            .map(|(name, shape)| Part { name, shape })
            .collect()
    }

    fn saved(&self) -> Vec<&'static str> {
        let m = (GatedCell::proj_size(self) > 0).then_some("m");
        C::SAVED.iter().copied().chain(m).collect()
    }

    fn state_size(&self) -> usize {
        Places::of(self).s
    }

    fn saved_size(&self) -> usize {
        Places::of(self).v
    }

    /// A single bias takes the values that PyTorch draws for `bias_ih`; those
    /// of `bias_hh` are drawn and dropped, so that whatever comes after them is
    /// the same.
    fn init(&self, weights: &mut [F], uniform: &mut dyn FnMut(f64, f64) -> F) {
        let p = Places::of(self);
        let s = 1.0 / (p.h as f64).sqrt();
        let end = p.weight_hr.unwrap_or(p.unit);
        let (weights, after_biases) = weights.split_at_mut(end);
        for w in weights {
            *w = uniform(-s, s);
        }
        if self.sizes().bias == Bias::Single {
            for _ in 0..C::INPUT.gates.len() * p.h {
                uniform(-s, s);
            }
        }
        for w in after_biases {
            *w = uniform(-s, s);
        }
    }

    /// The theory: every sum by its definition, then the update, and `h = W_hr
    /// m` under a projection.
    fn step(&self, weights: &[F], row: Rows<'_, F>) {
        let p = Places::of(self);
        let (sums, m) = row.saved.split_at_mut(p.sums);
        p.biases::<C, F>(weights, sums);
        for (side, start, x) in [
            (C::INPUT, p.weight_ih, row.x),
            (C::HIDDEN, p.weight_hh, &row.hidden[..p.r]),
        ] {
            for (s, gate) in side.gates.iter().enumerate() {
                for j in 0..p.h {
                    let sum = &mut sums[(side.first + s) * p.h + j];
                    let w = &weights[start + (gate * p.h + j) * x.len()..][..x.len()];
                    for (w, x) in w.iter().zip(x) {
                        *sum += *w * *x;
                    }
                }
            }
        }
        let (prev, next) = (p.units(row.prev, &[]), p.units_mut(row.next, m));
        update_row::<C, F, F>(self, p.h, sums, prev, next, &weights[p.unit..]);
        if let Some(start) = p.weight_hr {
            for (h, w) in row.next[..p.r].iter_mut().zip(weights[start..].chunks(p.h)) {
                *h = w.iter().zip(&*m).map(|(w, m)| *w * *m).sum();
            }
        }
    }

    /// The theory: with `a` the gradients of the sums, `dx = W_ih' a`,
    /// `dh = W_hh' a` (times the mask) beside the direct part, `dW += a x'`,
    /// `db += a`; under a projection `dm = W_hr' dh`, `dW_hr += dh m'`.
    fn step_back(&self, weights: &[F], row: RowsBack<'_, F>) {
        let p = Places::of(self);
        let (sums, m) = row.saved.split_at(p.sums);
        let (a, dm) = row.d_saved.split_at_mut(p.sums);
        let dw = row.d_weights;
        if let Some(start) = p.weight_hr {
            dm.fill(F::zero());
            for (k, dh) in row.d_state[..p.r].iter_mut().enumerate() {
                let at = start + k * p.h;
                for j in 0..p.h {
                    dm[j] += weights[at + j] * *dh;
                    dw[at + j] += *dh * m[j];
                }
                *dh = F::zero();
            }
        }
        let update = RowBack {
            saved: sums,
            prev: p.units(row.prev, &[]),
            next: p.units(row.next, m),
            d_state: p.units_mut(row.d_state, dm),
            d_sums: a,
            unit: &weights[p.unit..],
            d_unit: &mut dw[p.unit..],
        };
        update_row_back::<C, F, F>(self, p.h, update);
        let mut unused = Vec::new();
        let d_x = row.d_x.unwrap_or_else(|| {
            unused.resize(p.i, F::zero());
            &mut unused
        });
        let (h, d_h) = (&row.hidden[..p.r], &mut row.d_state[..p.r]);
        for (side, start, bias, x, mask, d_x) in [
            (C::INPUT, p.weight_ih, p.bias_ih, row.x, None, d_x),
            (C::HIDDEN, p.weight_hh, p.bias_hh, h, row.mask, d_h),
        ] {
            for (s, gate) in side.gates.iter().enumerate() {
                for j in 0..p.h {
                    let a = a[(side.first + s) * p.h + j];
                    let at = start + (gate * p.h + j) * x.len();
                    for k in 0..x.len() {
                        d_x[k] += weights[at + k] * a * mask.map_or(F::one(), |m| m[k]);
                        dw[at + k] += a * x[k];
                    }
                    if let Some(bias) = bias {
                        dw[bias + gate * p.h + j] += a;
                    }
                }
            }
        }
    }

    fn prepare(&self, weights: Weights<'_, F>, packs: &mut Packs<F>, x: &[F], saved: &mut [F]) {
        let p = Places::of(self);
        if saved.is_empty() {
            return;
        }
        if packs.stamp != weights.stamp {
            let w = weights.values;
            let input = p.blocks(C::INPUT, p.weight_ih, p.i, w).map(Matrix::t);
            packs.input.pack_beside(input);
            let hidden = p.blocks(C::HIDDEN, p.weight_hh, p.r, w).map(Matrix::t);
            packs.hidden.pack_beside(hidden);
            if let Some(start) = p.weight_hr {
                let w_hr = Matrix::new(&w[start..], p.r, p.h, p.h);
                packs.projection.pack(w_hr.t());
            }
            packs.stamp = weights.stamp;
        }
        let (first, rest) = saved.split_at_mut(p.v);
        p.biases::<C, F>(weights.values, first);
        for row in rest.chunks_exact_mut(p.v) {
            row.copy_from_slice(first);
        }
        let x = Matrix::new(x, saved.len() / p.v, p.i, p.i);
        product(x, &packs.input, &mut saved[C::INPUT.first * p.h..], p.v);
    }

    fn forward(&self, weights: Weights<'_, F>, packs: &mut Packs<F>, n: usize, rows: Rows<'_, F>) {
        let p = Places::of(self);
        if n == 0 {
            return;
        }
        let h = Matrix::new(rows.hidden, n, p.r, p.s);
        let sums = &mut rows.saved[C::HIDDEN.first * p.h..];
        product(h, &packs.hidden, sums, p.v);
        let (saved, next) = F::dispatch(Update {
            cell: self,
            places: &p,
            unit: &weights.values[p.unit..],
            rows,
        });
        if p.weight_hr.is_some() {
            for state in next.chunks_exact_mut(p.s) {
                state[..p.r].fill(F::zero());
            }
            let m = Matrix::new(&saved[p.sums..], n, p.h, p.v);
            product(m, &packs.projection, next, p.s);
        }
    }

    fn backward(
        &self,
        weights: Weights<'_, F>,
        packs: &mut Packs<F>,
        n: usize,
        rows: RowsBack<'_, F>,
    ) {
        let p = Places::of(self);
        if n == 0 {
            return;
        }
        pack_back::<C, F>(&p, weights, packs);
        if p.weight_hr.is_some() {
            for d_saved in rows.d_saved.chunks_exact_mut(p.v) {
                d_saved[p.sums..].fill(F::zero());
            }
            let dh = Matrix::new(rows.d_state, n, p.r, p.s);
            let dm = &mut rows.d_saved[p.sums..];
            product(dh, &packs.projection_back, dm, p.v);
        }
        let mask = rows.mask;
        let (d_state, d_saved) = F::dispatch(UpdateBack {
            cell: self,
            places: &p,
            unit: &weights.values[p.unit..],
            rows,
        });
        if p.weight_hr.is_some() {
            keep_output_gradients(&p, d_state, d_saved);
        }
        let a = &d_saved[C::HIDDEN.first * p.h..];
        let a = Matrix::new(a, n, C::HIDDEN.gates.len() * p.h, p.v);
        let Some(mask) = mask else {
            return product(a, &packs.hidden_back, d_state, p.s);
        };
        let d_hidden = &mut packs.d_hidden;
        d_hidden.clear();
        d_hidden.resize(n * p.r, F::zero());
        product(a, &packs.hidden_back, d_hidden, p.r);
        let masked = d_hidden.chunks_exact(p.r).zip(mask.chunks_exact(p.r));
        for (d_state, (d, m)) in d_state.chunks_exact_mut(p.s).zip(masked) {
            for ((to, d), m) in d_state.iter_mut().zip(d).zip(m) {
                *to += *d * *m;
            }
        }
    }

    fn input_back(
        &self,
        weights: Weights<'_, F>,
        packs: &mut Packs<F>,
        d_saved: &[F],
        d_x: &mut [F],
    ) {
        let p = Places::of(self);
        if d_saved.is_empty() {
            return;
        }
        pack_back::<C, F>(&p, weights, packs);
        let a = &d_saved[C::INPUT.first * p.h..];
        let a = Matrix::new(a, d_saved.len() / p.v, C::INPUT.gates.len() * p.h, p.v);
        product(a, &packs.input_back, d_x, p.i);
    }

    fn weights_back(
        &self,
        packs: &mut Packs<F>,
        x: &[F],
        hidden: &[F],
        saved: &[F],
        d_saved: &[F],
        d_weights: &mut [F],
    ) {
        let p = Places::of(self);
        let n = d_saved.len() / p.v;
        if n == 0 {
            return;
        }
        for (side, start, bias, x) in [
            (
                C::INPUT,
                p.weight_ih,
                p.bias_ih,
                Matrix::new(x, n, p.i, p.i),
            ),
            (
                C::HIDDEN,
                p.weight_hh,
                p.bias_hh,
                Matrix::new(hidden, n, p.r, p.s),
            ),
        ] {
            let k = if start == p.weight_ih { p.i } else { p.r };
            packs.rows.pack(x);
            for (s, gate) in side.gates.iter().enumerate() {
                let a = &d_saved[(side.first + s) * p.h..];
                let at = start + gate * p.h * k;
                let a_t = Matrix::new(a, n, p.h, p.v).t();
                product(a_t, &packs.rows, &mut d_weights[at..], k.max(1));
                if let Some(bias) = bias {
                    let d_bias = &mut d_weights[bias + gate * p.h..][..p.h];
                    for a in a.chunks(p.v) {
                        for (d, a) in d_bias.iter_mut().zip(a) {
                            *d += *a;
                        }
                    }
                }
            }
        }
        if let Some(start) = p.weight_hr {
            packs.rows.pack(Matrix::new(&saved[p.sums..], n, p.h, p.v));
            let dh = Matrix::new(&d_saved[p.sums..], n, p.r, p.v);
            product(dh.t(), &packs.rows, &mut d_weights[start..], p.h);
        }
    }
}

/// Under a projection: moves `dh` of every row to where `dm` has been, for the
/// gradient of `W_hr` at the end.
fn keep_output_gradients<F: Float>(p: &Places, d_state: &mut [F], d_saved: &mut [F]) {
    let rows = d_state.chunks_exact_mut(p.s);
    for (d_state, d_saved) in rows.zip(d_saved.chunks_exact_mut(p.v)) {
        let (dh, kept) = (&mut d_state[..p.r], &mut d_saved[p.sums..][..p.r]);
        kept.copy_from_slice(dh);
        dh.fill(F::zero());
    }
}

/// Packs the weights for the way back, one gate's rows below the other's.
fn pack_back<C: GatedCell, F: Float>(p: &Places, weights: Weights<'_, F>, packs: &mut Packs<F>) {
    if packs.back_stamp == weights.stamp {
        return;
    }
    let pack = |packed: &mut Packed<F>, side, start, k| {
        packed.pack_below(p.blocks(side, start, k, weights.values));
    };
    pack(&mut packs.input_back, C::INPUT, p.weight_ih, p.i);
    pack(&mut packs.hidden_back, C::HIDDEN, p.weight_hh, p.r);
    if let Some(start) = p.weight_hr {
        let w_hr = Matrix::new(&weights.values[start..], p.r, p.h, p.h);
        packs.projection_back.pack(w_hr);
    }
    packs.back_stamp = weights.stamp;
}

/// The numbers of units `j..` in the first `used` blocks of `h` of a row.
#[inline(always)]
fn load<F: Float, V: Lanes<F>, const N: usize>(
    row: &[F],
    h: usize,
    used: usize,
    j: usize,
) -> [V; N] {
    std::array::from_fn(|i| {
        if i < used {
            V::load(&row[i * h + j..])
        } else {
            V::lit(0.0)
        }
    })
}

/// The way back from [`load`].
#[inline(always)]
fn store<F: Float, V: Lanes<F>, const N: usize>(
    values: [V; N],
    row: &mut [F],
    h: usize,
    used: usize,
    j: usize,
) {
    for (i, value) in values.into_iter().enumerate().take(used) {
        value.store(&mut row[i * h + j..]);
    }
}

/// The numbers of units `j..` in the parts of a state.
#[inline(always)]
fn load_state<F: Float, V: Lanes<F>>(parts: [&[F]; STATES], used: usize, j: usize) -> [V; STATES] {
    std::array::from_fn(|i| {
        if i < used && !parts[i].is_empty() {
            V::load(&parts[i][j..])
        } else {
            V::lit(0.0)
        }
    })
}

/// The way back from [`load_state`].
#[inline(always)]
fn store_state<F: Float, V: Lanes<F>>(
    values: [V; STATES],
    parts: &mut [&mut [F]; STATES],
    used: usize,
    j: usize,
) {
    for (part, value) in parts.iter_mut().zip(values).take(used) {
        value.store(&mut part[j..]);
    }
}

/// One row of the update: sums, prev -> saved in their place, next.
#[inline(always)]
fn update_row<C: GatedCell, F: Float, V: Lanes<F>>(
    cell: &C,
    h: usize,
    sums: &mut [F],
    prev: [&[F]; STATES],
    mut next: [&mut [F]; STATES],
    unit: &[F],
) {
    let wide = h - h % V::N;
    for j in (0..wide).step_by(V::N) {
        update_units::<C, F, V>(cell, h, sums, prev, &mut next, unit, j);
    }
    for j in wide..h {
        update_units::<C, F, F>(cell, h, sums, prev, &mut next, unit, j);
    }
}

#[inline(always)]
fn update_units<C: GatedCell, F: Float, V: Lanes<F>>(
    cell: &C,
    h: usize,
    sums: &mut [F],
    prev: [&[F]; STATES],
    next: &mut [&mut [F]; STATES],
    unit: &[F],
    j: usize,
) {
    let mut values: [V; SUMS] = load(sums, h, C::SAVED.len(), j);
    let prev = load_state(prev, C::STATE.len(), j);
    let unit = load(unit, h, C::UNIT.len(), j);
    let state = cell.update_with(&mut values, prev, unit);
    store(values, sums, h, C::SAVED.len(), j);
    store_state(state, next, C::STATE.len(), j);
}

/// One row of the update's derivative: `d_state` changes from the new state's
/// gradient to the direct part of the old state's.
#[inline(always)]
fn update_row_back<C: GatedCell, F: Float, V: Lanes<F>>(cell: &C, h: usize, row: RowBack<'_, F>) {
    let wide = h - h % V::N;
    let mut row = row;
    for j in (0..wide).step_by(V::N) {
        update_units_back::<C, F, V>(cell, h, &mut row, j);
    }
    for j in wide..h {
        update_units_back::<C, F, F>(cell, h, &mut row, j);
    }
}

/// What the derivative of the update reads and writes.
struct RowBack<'a, F> {
    saved: &'a [F],
    prev: [&'a [F]; STATES],
    next: [&'a [F]; STATES],
    d_state: [&'a mut [F]; STATES],
    d_sums: &'a mut [F],
    /// The units' own weights.
    unit: &'a [F],
    /// Their gradients, added to.
    d_unit: &'a mut [F],
}

#[inline(always)]
fn update_units_back<C: GatedCell, F: Float, V: Lanes<F>>(
    cell: &C,
    h: usize,
    row: &mut RowBack<'_, F>,
    j: usize,
) {
    let (sums, states) = (C::SAVED.len(), C::STATE.len());
    let d_next = std::array::from_fn(|i| {
        if i < states {
            V::load(&row.d_state[i][j..])
        } else {
            V::lit(0.0)
        }
    });
    let (d_sums, d_state, d_unit) = cell.update_back_with::<V>(
        load(row.saved, h, sums, j),
        load_state(row.prev, states, j),
        load_state(row.next, states, j),
        d_next,
        load(row.unit, h, C::UNIT.len(), j),
    );
    store(d_sums, row.d_sums, h, sums, j);
    store_state(d_state, &mut row.d_state, states, j);
    let so_far: [V; UNITS] = load(row.d_unit, h, C::UNIT.len(), j);
    let d_unit = std::array::from_fn::<_, UNITS, _>(|i| so_far[i] + d_unit[i]);
    store(d_unit, row.d_unit, h, C::UNIT.len(), j);
}

struct Update<'a, C, F> {
    cell: &'a C,
    places: &'a Places,
    unit: &'a [F],
    rows: Rows<'a, F>,
}

impl<'a, C: GatedCell, F: Float> Task<F> for Update<'a, C, F> {
    /// What was saved, and the new states.
    type Out = (&'a [F], &'a mut [F]);

    #[inline(always)]
    fn run<V: Lanes<F>>(self) -> Self::Out {
        let p = self.places;
        let r = self.rows;
        let states = r.prev.chunks_exact(p.s).zip(r.next.chunks_exact_mut(p.s));
        for (saved, (prev, next)) in r.saved.chunks_exact_mut(p.v).zip(states) {
            let (sums, m) = saved.split_at_mut(p.sums);
            let (prev, next) = (p.units(prev, &[]), p.units_mut(next, m));
            update_row::<C, F, V>(self.cell, p.h, sums, prev, next, self.unit);
        }
        (r.saved, r.next)
    }
}

struct UpdateBack<'a, C, F> {
    cell: &'a C,
    places: &'a Places,
    unit: &'a [F],
    rows: RowsBack<'a, F>,
}

impl<'a, C: GatedCell, F: Float> Task<F> for UpdateBack<'a, C, F> {
    /// The gradients of the state and of the sums.
    type Out = (&'a mut [F], &'a mut [F]);

    #[inline(always)]
    fn run<V: Lanes<F>>(self) -> Self::Out {
        let p = self.places;
        let r = self.rows;
        let d_unit = &mut r.d_weights[p.unit..];
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
