//! Cells of affine gates and a pointwise update.
//!
//! Every gate is a sum, `b + W_i x + W_h h`, and the update maps the sums and
//! the old state of one unit to its new state. The sums of a row lie in blocks
//! of `H`; a cell says which of its sums take the input's product and which
//! the state's (in the GRU, `W_hn h` is a sum of its own).
//!
//! The first part of the new state is the output `h`. With a projection it is
//! an intermediate `m` (H), saved after the sums, and `h = W_hr m` (R).

mod places;
mod update;

use super::{Bias, Cell, DoneRows, Packs, Part, Room, Rows, RowsBack, Weights};
use crate::Float;
use crate::float::Scalar;
use crate::kernel::{self, Block, Factor, Matrix, Outer, Packed, Step, StepBack, Team, WholeRows};
use crate::kernel::{product_from, product_scaled};
use crate::params::Storage;
use places::Places;
use update::{Of, RowBack, update_row, update_row_back};

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
    /// The gate that each sum takes, none of them twice.
    pub gates: &'static [usize],
}

/// Sums a gated cell can have.
pub const SUMS: usize = kernel::SUMS;
/// Parts the state of a gated cell can have.
pub const STATES: usize = kernel::STATES;
/// Weights of its own a unit of a gated cell can have.
pub const UNITS: usize = kernel::UNITS;

/// A cell of affine gates and a pointwise update.
///
/// A step of one unit: the sums are filled, [`gates`](Self::gates) turns some of
/// them into gates, and [`update`](Self::update) makes the new state of all and
/// leaves in their place what the backward pass and a trace need. Unused entries
/// of the arrays are zero.
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

    /// The gates that are functions of their sums alone, in the place of these;
    /// none where [`update`](Self::update) does it all. The kernels do this for
    /// many rows before the rest. Must be `#[inline(always)]`.
    #[inline(always)]
    fn gates<S: Scalar>(&self, _: &mut [S; SUMS]) {}

    /// The new state of one unit, after [`gates`](Self::gates). Must be
    /// `#[inline(always)]`.
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

/// Rows of a step below which the products of a wide input are faster when many
/// steps are taken at once.
const FEW: usize = 6;

/// Bytes of packed weights that stay in the cache, where fewer are not faster.
const IN_CACHE: usize = 256 << 10;

/// Features of an input that is not wide, and bytes of weights of one that is not
/// either.
const SMALL_INPUT: usize = 8;
const SMALL_WEIGHTS: usize = 16 << 10;

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

    fn rows_apart(&self) -> bool {
        C::UNIT.is_empty()
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
        update_row(self, p.h, sums, prev, next, &weights[p.unit..]);
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
        update_row_back(self, p.h, update);
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

    fn pack(&self, weights: Weights<'_, F>, packs: &mut Packs<F>) {
        if (packs.stamp, packs.storage) == (weights.stamp, weights.storage) {
            return;
        }
        let (p, w) = (Places::of(self), weights.values);
        let input = p.blocks(C::INPUT, p.weight_ih, p.i, w).map(Matrix::t);
        let alone = C::SAVED.len() == 1;
        packs.input.pack_beside(input, alone);
        let hidden = p.blocks(C::HIDDEN, p.weight_hh, p.r, w).map(Matrix::t);
        packs.hidden.pack_beside(hidden, alone);
        if let Some(start) = p.weight_hr {
            let w_hr = Matrix::new(&w[start..], p.r, p.h, p.h);
            packs.projection.pack(w_hr.t());
        }
        packs.biases.resize(p.sums, F::zero());
        p.biases::<C, F>(w, &mut packs.biases);
        let all = [&mut packs.input, &mut packs.hidden, &mut packs.projection];
        let bytes = all.iter().map(|packed| packed.bytes()).sum::<usize>();
        let storage = match weights.storage {
            // The bits are the same, and nothing has to be widened.
            Storage::Bf16 if bytes <= IN_CACHE => Storage::Full,
            storage => storage,
        };
        all.into_iter().for_each(|packed| packed.keep(storage));
        (packs.stamp, packs.storage) = (weights.stamp, weights.storage);
    }

    fn pack_back(&self, weights: Weights<'_, F>, packs: &mut Packs<F>) {
        if packs.back_stamp == weights.stamp {
            return;
        }
        let (p, w) = (Places::of(self), weights.values);
        let input = p.blocks(C::INPUT, p.weight_ih, p.i, w);
        packs.input_back.pack_below(input);
        let hidden = p.blocks(C::HIDDEN, p.weight_hh, p.r, w);
        packs.hidden_back.pack_below(hidden);
        if let Some(start) = p.weight_hr {
            let w_hr = Matrix::new(&w[start..], p.r, p.h, p.h);
            packs.projection_back.pack(w_hr);
        }
        packs.back_stamp = weights.stamp;
    }

    /// Where there are few rows, the weights of the input would be read for a
    /// few products each.
    fn prepares(&self, rows: usize) -> bool {
        let Sizes {
            input_size: i,
            hidden_size: h,
            ..
        } = self.sizes();
        let weights = i * C::INPUT.gates.len() * h * F::BYTES;
        rows < FEW && i > SMALL_INPUT && weights > SMALL_WEIGHTS
    }

    fn prepare(&self, packs: &Packs<F>, team: &Team, x: &[F], saved: &mut [F], room: &mut Room<F>) {
        let p = Places::of(self);
        if saved.is_empty() {
            return;
        }
        let first = C::INPUT.first * p.h;
        let x = Matrix::new(x, saved.len() / p.v, p.i, p.i);
        let start = Some(&packs.biases[first..]);
        let input = factor(x, &packs.input, &mut room.input);
        product_from(start, input, &mut saved[first..], p.v, team);
    }

    fn forward(&self, weights: Weights<'_, F>, packs: &Packs<F>, n: usize, rows: Rows<'_, F>) {
        let p = Places::of(self);
        if n == 0 {
            return;
        }
        let Room {
            input: whole,
            hidden: whole_hidden,
            backward,
        } = rows.room;
        // One row takes less time than its weights need from the second-level
        // cache; those of the units that came last are in the first one still.
        *backward = n == 1 && !*backward;
        let input = (!rows.prepared).then(|| {
            let x = Matrix::new(rows.x, n, p.i, p.i);
            factor(x, &packs.input, whole).from(C::INPUT.first)
        });
        let hidden = Matrix::new(rows.hidden, n, p.r, p.s);
        let prepared = C::INPUT.first..C::INPUT.first + C::INPUT.gates.len();
        let step = Step {
            shape: p.shape(n),
            input,
            hidden: factor(hidden, &packs.hidden, whole_hidden).from(C::HIDDEN.first),
            update: Of(self),
            biases: &packs.biases,
            prepared: if rows.prepared { prepared } else { 0..0 },
            unit: &weights.values[p.unit..],
            prev: rows.prev,
            next: &mut *rows.next,
            keeps: rows.keeps,
            saved: &mut *rows.saved,
            backward: *backward,
        };
        step.run(rows.team);
        if p.weight_hr.is_some() {
            for state in rows.next.chunks_exact_mut(p.s) {
                state[..p.r].fill(F::zero());
            }
            let m = Matrix::new(&rows.saved[p.sums..], n, p.h, p.v);
            let m = factor(m, &packs.projection, whole_hidden);
            product_from(None, m, rows.next, p.s, rows.team);
        }
    }

    fn backward(&self, weights: Weights<'_, F>, packs: &Packs<F>, n: usize, rows: RowsBack<'_, F>) {
        let p = Places::of(self);
        if n == 0 {
            return;
        }
        if p.weight_hr.is_some() {
            for d_saved in rows.d_saved.chunks_exact_mut(p.v) {
                d_saved[p.sums..].fill(F::zero());
            }
            let dh = Matrix::new(rows.d_state, n, p.r, p.s);
            let dh = Factor::of(dh, &packs.projection_back);
            let dm = &mut rows.d_saved[p.sums..];
            product_from(None, dh, dm, p.v, rows.team);
        }
        let mask = rows.mask;
        let (d_state, d_saved) = F::dispatch(StepBack {
            shape: p.shape(n),
            update: Of(self),
            unit: &weights.values[p.unit..],
            prev: rows.prev,
            next: rows.next,
            saved: rows.saved,
            d_state: rows.d_state,
            d_saved: rows.d_saved,
            d_unit: rows.d_weights.get_mut(p.unit..).unwrap_or_default(),
        });
        if p.weight_hr.is_some() {
            keep_output_gradients(&p, d_state, d_saved);
        }
        let a = &d_saved[C::HIDDEN.first * p.h..];
        let a = Matrix::new(a, n, C::HIDDEN.gates.len() * p.h, p.v);
        match mask {
            None => {
                let a = Factor::of(a, &packs.hidden_back);
                product_from(None, a, d_state, p.s, rows.team);
            }
            Some(mask) => product_scaled(a, &packs.hidden_back, mask, d_state, p.s),
        }
    }

    fn input_back(&self, packs: &Packs<F>, team: &Team, d_saved: &[F], d_x: &mut [F]) {
        let p = Places::of(self);
        if d_saved.is_empty() {
            return;
        }
        let a = &d_saved[C::INPUT.first * p.h..];
        let a = Matrix::new(a, d_saved.len() / p.v, C::INPUT.gates.len() * p.h, p.v);
        product_from(None, Factor::of(a, &packs.input_back), d_x, p.i, team);
    }

    fn weights_back<'a>(
        &self,
        room: &mut Outer<F>,
        team: &Team,
        rows: usize,
        row: &DoneRows<'a, '_, F>,
        d_weights: &mut [F],
    ) {
        let p = Places::of(self);
        let sides = [
            (C::INPUT, p.weight_ih, p.bias_ih, p.i),
            (C::HIDDEN, p.weight_hh, p.bias_hh, p.r),
        ];
        let mut blocks = [Block::default(); 2 * SUMS + 1];
        let mut count = 0;
        for (from, (side, start, bias, width)) in sides.into_iter().enumerate() {
            for (s, gate) in side.gates.iter().enumerate() {
                blocks[count] = Block {
                    first: (side.first + s) * p.h,
                    rows: p.h,
                    from,
                    out: start + gate * p.h * width,
                    sum: bias.map(|bias| bias + gate * p.h),
                };
                count += 1;
            }
        }
        if let Some(start) = p.weight_hr {
            blocks[count] = Block {
                first: p.sums,
                rows: p.r,
                from: 2,
                out: start,
                sum: None,
            };
            count += 1;
        }
        let widths = [p.i, p.r, if p.weight_hr.is_some() { p.h } else { 0 }];
        let row = |i: usize| {
            let done = row(i);
            let m = done.saved.get(p.sums..).unwrap_or_default();
            (done.d_saved, [done.x, done.hidden, m])
        };
        room.add(team, rows, &row, widths, &blocks[..count], d_weights);
    }
}

/// The product of these rows; of whole numbers, where the panels are.
fn factor<'a, F: Float>(
    rows: Matrix<'a, F>,
    packed: &'a Packed<F>,
    room: &'a mut WholeRows<F>,
) -> Factor<'a, F> {
    let factor = Factor::of(rows, packed);
    match packed.storage() {
        Storage::Int8 => {
            room.set(rows);
            factor.whole(room)
        }
        _ => factor,
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
