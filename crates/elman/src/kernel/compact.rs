//! Numbers in fewer bits than they are computed in: panels of two bytes and of
//! one byte a number, and the rows that are multiplied with the latter.
//!
//! ```text
//! bf16   [panel][K / 2][vectors][lanes][2]         two rows beside each other
//! int8   the same
//!        scales [panel][vectors][lanes]            a column's largest number / 127
//! rows   (n, K), whole numbers up to `largest`     a row's largest number / `largest`
//! ```
//!
//! A sum of whole numbers is exact in any order, so that a row has the same bits
//! in any batch here too. Where a number of a row is not finite, its scale is a
//! NaN, and so are all its sums.

use super::aligned::Aligned;
use super::dispatch::Task;
use super::lanes::{Lanes, Whole};
use super::packed::Matrix;
use crate::Float;
use crate::float::{Apart, half};
use std::marker::PhantomData;

/// The panels of a [`Packed`](super::Packed) matrix.
#[derive(Debug, Clone)]
pub(super) enum Panels<F> {
    Full(Aligned<F>),
    Bf16(Aligned<u16>),
    Int8(Int8<F>),
}

/// Panels of one byte a number.
#[derive(Debug, Clone)]
pub(super) struct Int8<F> {
    pub numbers: Aligned<i8>,
    pub scales: Aligned<F>,
}

/// The nearest `bfloat16` of every number of `count` panels of `rows` rows of
/// `width` numbers.
pub(super) fn to_bf16<F: Float>(
    panels: &[F],
    count: usize,
    rows: usize,
    width: usize,
) -> Aligned<u16> {
    let len = 2 * rows.div_ceil(2) * width;
    let mut numbers = Aligned::of(&vec![0; count * len]);
    for p in 0..count {
        let panel = &panels[p * rows * width..][..rows * width];
        for (at, x) in panel.iter().enumerate() {
            let (k, col) = (at / width, at % width);
            let at = p * len + (k / 2 * width + col) * 2 + k % 2;
            numbers[at] = half::to_bf16(x.f64());
        }
    }
    numbers
}

/// The largest whole number of a weight.
const LARGEST: f64 = 127.0;

/// Every column of `count` panels of `rows` rows of `width` numbers as whole
/// numbers and a scale.
pub(super) fn to_int8<F: Float>(panels: &[F], count: usize, rows: usize, width: usize) -> Int8<F> {
    let pairs = rows.div_ceil(2);
    let mut numbers = Aligned::of(&vec![0; count * pairs * 2 * width]);
    let mut scales = Aligned::of(&vec![F::zero(); count * width]);
    for p in 0..count {
        let panel = &panels[p * rows * width..][..rows * width];
        for col in 0..width {
            let column = || panel.iter().skip(col).step_by(width);
            let largest = column().fold(F::zero(), |most, x| {
                // `max` would pass over a NaN.
                if most.is_nan() || x.abs() <= most {
                    most
                } else {
                    x.abs()
                }
            });
            let scale = largest / F::lit(LARGEST);
            scales[p * width + col] = scale;
            if !scale.is_normal() {
                continue; // all zero, or not a number anyway
            }
            for (k, x) in column().enumerate() {
                let at = ((p * pairs + k / 2) * width + col) * 2 + k % 2;
                numbers[at] = (*x / scale).round().f64() as i8;
            }
        }
    }
    Int8 { numbers, scales }
}

/// Rows as whole numbers, to be multiplied with panels of one byte a number.
/// Belongs to the caller; no allocation once it is large enough.
#[derive(Debug, Clone, Default)]
pub struct WholeRows<F> {
    numbers: Vec<i16>,
    scales: Vec<F>,
    /// From one row to the next: `K` and zeros.
    stride: usize,
}

/// Rows are filled up with zeros to a multiple of this.
const FILL: usize = 16;

impl<F: Float> WholeRows<F> {
    /// Rounds every row to whole numbers.
    pub fn set(&mut self, a: Matrix<'_, F>) {
        let (rows, cols) = a.dim();
        self.stride = cols.next_multiple_of(FILL);
        self.numbers.resize(rows * self.stride, 0);
        self.scales.resize(rows, F::zero());
        F::dispatch(Round { a, to: self });
    }

    /// Rows and numbers of a row, zeros among them.
    pub(super) fn dim(&self) -> (usize, usize) {
        (self.scales.len(), self.stride)
    }

    /// The numbers from a row on.
    #[inline(always)]
    pub(super) fn from(&self, row: usize) -> (&[i16], &[F]) {
        (&self.numbers[row * self.stride..], &self.scales[row..])
    }
}

/// The largest whole number of a row: as fine as 12 bits where no sum of so
/// many products with numbers up to 127 leaves 32 bits.
fn largest(cols: usize) -> i32 {
    let bound = i32::MAX / 127;
    let bound = bound.checked_div(i32::try_from(cols).unwrap_or(i32::MAX));
    bound.unwrap_or(2047).clamp(1, 2047)
}

struct Round<'a, 'b, F> {
    a: Matrix<'a, F>,
    to: &'b mut WholeRows<F>,
}

impl<F: Float> Task<F> for Round<'_, '_, F> {
    type Out = ();

    #[inline(always)]
    fn run<V: Lanes<F>>(self) {
        let (rows, cols) = self.a.dim();
        let most = F::lit(largest(cols).into());
        let zero = V::splat(F::zero());
        for r in 0..rows {
            let row = self.a.row(r);
            let (full, rest) = row.split_at(cols - cols % V::N);
            let (mut large, mut bad) = (zero, zero);
            let mut at = 0;
            while at < cols {
                let x = match full.get(at..at + V::N) {
                    Some(x) => V::load(x),
                    None => V::load_part(rest),
                };
                large = x.abs().at_least(large);
                bad = x.mul_add(zero, bad);
                at += V::N;
            }
            let (mut each, mut nans) = ([F::zero(); FILL], [F::zero(); FILL]);
            large.store(&mut each);
            bad.store(&mut nans);
            let (mut largest, mut scale) = (F::zero(), F::zero());
            for i in 0..V::N {
                if each[i] > largest {
                    largest = each[i];
                }
                // Zero, or not a number.
                scale += nans[i];
            }
            scale += largest / most;
            self.to.scales[r] = scale;
            let to = &mut self.to.numbers[r * self.to.stride..][..self.to.stride];
            if !scale.is_normal() {
                to.fill(0);
                continue;
            }
            let factor = V::splat(most / largest);
            let mut at = 0;
            while at < cols {
                let x = match full.get(at..at + V::N) {
                    Some(x) => V::load(x),
                    None => V::load_part(rest),
                };
                (x * factor).store_whole(&mut to[at..]);
                at += V::N;
            }
            // Most vectors have fewer numbers than a row is filled up to.
            to[at.min(self.to.stride)..].fill(0);
        }
    }
}

/// Rows of a tile by vectors of a panel of one byte a number: whole numbers need
/// registers of their own.
pub(super) const fn tile_rows(vectors: usize) -> usize {
    match vectors {
        1 | 2 => 6,
        _ => 3,
    }
}

/// Some rows of whole numbers times some panels of one byte a number; the sums
/// `[row][panel][stride]`, from `first` on the vectors of the product.
pub(super) struct Int8Tile<'a, F, V> {
    pub a: &'a [i16],
    pub a_scales: &'a [F],
    pub a_stride: usize,
    pub b: &'a [i8],
    pub b_scales: &'a [F],
    /// Pairs of rows of a panel.
    pub pairs: usize,
    /// Vectors of a panel, rows, panels.
    pub shape: (usize, usize, usize),
    pub sums: &'a mut [V],
    pub first: usize,
    pub stride: usize,
}

impl<F: Float, V: Lanes<F>> Apart for Int8Tile<'_, F, V> {
    #[inline(always)]
    fn run(mut self) {
        let (vectors, rows, panels) = self.shape;
        for p in 0..panels {
            match (vectors, rows) {
                (1, 1) => self.of::<1, 1>(p),
                (1, 2) => self.of::<1, 2>(p),
                (1, 3) => self.of::<1, 3>(p),
                (1, 4) => self.of::<1, 4>(p),
                (1, 5) => self.of::<1, 5>(p),
                (1, 6) => self.of::<1, 6>(p),
                (2, 1) => self.of::<2, 1>(p),
                (2, 2) => self.of::<2, 2>(p),
                (2, 3) => self.of::<2, 3>(p),
                (2, 4) => self.of::<2, 4>(p),
                (2, 5) => self.of::<2, 5>(p),
                (2, 6) => self.of::<2, 6>(p),
                (3, 1) => self.of::<3, 1>(p),
                (3, 2) => self.of::<3, 2>(p),
                (3, 3) => self.of::<3, 3>(p),
                (4, 1) => self.of::<4, 1>(p),
                (4, 2) => self.of::<4, 2>(p),
                (4, 3) => self.of::<4, 3>(p),
                shape => unreachable!("no tile of {shape:?}"),
            }
        }
    }
}

impl<F: Float, V: Lanes<F>> Int8Tile<'_, F, V> {
    #[expect(clippy::needless_range_loop, reason = "several arrays share an index")]
    #[inline(always)]
    fn of<const N: usize, const R: usize>(&mut self, p: usize) {
        let (pairs, stride) = (self.pairs, self.a_stride);
        let step = N * V::N * 2;
        let b = &self.b[p * pairs * step..][..pairs * step];
        let b_scales = &self.b_scales[p * N * V::N..][..N * V::N];
        assert!(pairs == 0 || self.a.len() >= (R - 1) * stride + 2 * pairs);
        let mut whole = [[V::Whole::zeros(); N]; R];
        for k in 0..pairs {
            for r in 0..R {
                let at = r * stride + 2 * k;
                // SAFETY: r < R and k < pairs, so that the assertion above holds
                // for both; the panel has `pairs * step` numbers.
                unsafe {
                    let a = [*self.a.get_unchecked(at), *self.a.get_unchecked(at + 1)];
                    for v in 0..N {
                        let at = k * step + v * V::N * 2;
                        let w = b.get_unchecked(at..at + V::N * 2);
                        whole[r][v] = whole[r][v].add_pairs(a, w);
                    }
                }
            }
        }
        let panels = self.shape.2;
        for r in 0..R {
            let row = V::splat(self.a_scales[r]);
            for v in 0..N {
                let scale = row * V::load(&b_scales[v * V::N..]);
                let sum = &mut self.sums[(r * panels + p) * self.stride + self.first + v];
                *sum = V::of_whole(whole[r][v]).mul_add(scale, *sum);
            }
        }
    }
}

/// Pairs of rows of a panel of two bytes a number, as they are computed with.
pub(super) struct Widen<'a, F, V> {
    pub from: &'a [u16],
    /// Numbers of a row.
    pub width: usize,
    pub to: &'a mut [F],
    pub vector: PhantomData<V>,
}

impl<F: Float, V: Lanes<F>> Apart for Widen<'_, F, V> {
    #[inline(always)]
    fn run(self) {
        let width = self.width;
        let pairs = self.from.chunks_exact(2 * width);
        for (pair, to) in pairs.zip(self.to.chunks_exact_mut(2 * width)) {
            let (first, second) = to.split_at_mut(width);
            let mut at = 0;
            while at < width {
                let [a, b] = V::load_bf16(&pair[2 * at..]);
                a.store(&mut first[at..]);
                b.store(&mut second[at..]);
                at += V::N;
            }
        }
    }
}

/// One row or two times some panels of two bytes a number; the sums as of
/// [`Int8Tile`].
pub(super) struct Bf16Tile<'a, F, V> {
    pub a: &'a [F],
    pub row_stride: usize,
    /// Rows of a panel.
    pub cols: usize,
    pub b: &'a [u16],
    /// Vectors of a panel, rows, panels.
    pub shape: (usize, usize, usize),
    pub sums: &'a mut [V],
    pub first: usize,
    pub stride: usize,
}

impl<F: Float, V: Lanes<F>> Apart for Bf16Tile<'_, F, V> {
    #[inline(always)]
    fn run(self) {
        match self.shape {
            (1, 1, 1) => self.of::<1, 1, 1>(),
            (1, 2, 1) => self.of::<1, 2, 1>(),
            (2, 1, 1) => self.of::<2, 1, 1>(),
            (2, 2, 1) => self.of::<2, 2, 1>(),
            (2, 1, 4) => self.of::<2, 1, 4>(),
            (2, 2, 2) => self.of::<2, 2, 2>(),
            (3, 1, 1) => self.of::<3, 1, 1>(),
            (3, 2, 1) => self.of::<3, 2, 1>(),
            (3, 1, 3) => self.of::<3, 1, 3>(),
            (3, 2, 2) => self.of::<3, 2, 2>(),
            (4, 1, 1) => self.of::<4, 1, 1>(),
            (4, 2, 1) => self.of::<4, 2, 1>(),
            (4, 1, 2) => self.of::<4, 1, 2>(),
            shape => unreachable!("no tile of {shape:?}"),
        }
    }
}

impl<F: Float, V: Lanes<F>> Bf16Tile<'_, F, V> {
    #[expect(clippy::needless_range_loop, reason = "several arrays share an index")]
    #[inline(always)]
    fn of<const N: usize, const R: usize, const P: usize>(self) {
        let (cols, row_stride) = (self.cols, self.row_stride);
        let (pairs, step) = (cols.div_ceil(2), 2 * N * V::N);
        let (first, stride) = (self.first, self.stride);
        let b = &self.b[..P * pairs * step];
        assert!(cols == 0 || self.a.len() >= (R - 1) * row_stride + cols);
        let mut sums = [[[V::lit(0.0); N]; P]; R];
        for r in 0..R {
            for p in 0..P {
                for v in 0..N {
                    sums[r][p][v] = self.sums[(r * P + p) * stride + first + v];
                }
            }
        }
        for pair in 0..cols / 2 {
            // SAFETY: r < R and 2 pair + 1 < cols, so that the assertion above
            // holds for both; all panels have `P * pairs * step` numbers.
            unsafe {
                let mut x = [[V::lit(0.0); 2]; R];
                for r in 0..R {
                    let at = r * row_stride + 2 * pair;
                    x[r][0] = V::splat(*self.a.get_unchecked(at));
                    x[r][1] = V::splat(*self.a.get_unchecked(at + 1));
                }
                for p in 0..P {
                    for v in 0..N {
                        let at = (p * pairs + pair) * step + v * V::N * 2;
                        let w = V::load_bf16(b.get_unchecked(at..at + V::N * 2));
                        for r in 0..R {
                            let sum = x[r][0].mul_add(w[0], sums[r][p][v]);
                            sums[r][p][v] = x[r][1].mul_add(w[1], sum);
                        }
                    }
                }
            }
        }
        if cols % 2 == 1 {
            for p in 0..P {
                for v in 0..N {
                    let at = (p * pairs + pairs - 1) * step + v * V::N * 2;
                    let w = V::load_bf16(&b[at..]);
                    for r in 0..R {
                        let x = V::splat(self.a[r * row_stride + cols - 1]);
                        sums[r][p][v] = x.mul_add(w[0], sums[r][p][v]);
                    }
                }
            }
        }
        for r in 0..R {
            for p in 0..P {
                for v in 0..N {
                    self.sums[(r * P + p) * stride + first + v] = sums[r][p][v];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::factor::Factor;
    use super::super::lanes::Plain;
    use super::super::packed::Packed;
    use super::super::product::{product, product_from};
    use super::super::team::Team;
    use super::*;
    use crate::params::Storage;

    /// None of them halfway between two whole numbers of any scale.
    fn numbers<F: Float>(n: usize, seed: usize) -> Vec<F> {
        let number = |i: usize| ((i * 37 + seed * 101) % 97) as f64 / 48.0 - 1.0;
        (0..n).map(|i| F::lit(number(i).exp() - 1.1)).collect()
    }

    fn packed<F: Float>(b: &[F], k: usize, m: usize, groups: usize) -> Packed<F> {
        let first = |g: usize| (g * m).min(b.len());
        let blocks = (0..groups).map(|g| Matrix::new(&b[first(g)..], k, m, m * groups));
        let mut packed = Packed::default();
        packed.pack_beside(blocks, true);
        packed
    }

    /// Two bytes a number have the bits of the rounded numbers; one byte those
    /// of exact sums, scaled at the end; and every row alone has the same.
    fn check<F: Float>(n: usize, k: usize, m: usize, groups: usize) {
        let all = m * groups;
        let (a, b) = (numbers::<F>(n * k, 1), numbers::<F>(k * all, 2));
        let rows = Matrix::new(&a, n, k, k);
        let start = numbers::<F>(n * all, 3);

        let rounded: Vec<F> = (b.iter())
            .map(|x| F::lit(half::bf16(half::to_bf16(x.f64())).into()))
            .collect();
        let (mut full, mut bf16) = (start.clone(), start.clone());
        product(rows, &packed(&rounded, k, m, groups), &mut full, all);
        let mut kept = packed(&b, k, m, groups);
        kept.keep(Storage::Bf16);
        assert_eq!(kept.storage(), Storage::Bf16);
        product(rows, &kept, &mut bf16, all);
        assert_eq!(full, bf16, "{n} {k} {m} {groups}");

        let mut kept = packed(&b, k, m, groups);
        kept.keep(Storage::Int8);
        let mut whole = WholeRows::default();
        whole.set(rows);
        let mut int8 = start.clone();
        let factor = Factor::of(rows, &kept).whole(&whole);
        product_from(None, factor, &mut int8, all, &Team::alone());
        let most =
            |values: &mut dyn Iterator<Item = F>| values.fold(F::zero(), |m, x| m.max(x.abs()));
        let fine = f64::from(largest(k));
        for i in 0..n {
            let row = &a[i * k..][..k];
            let row_most = most(&mut row.iter().copied());
            for j in 0..all {
                let column = || b.iter().skip(j).step_by(all).copied();
                let col_most = most(&mut column());
                let round = |x: F, most: F, fine: f64| match most == F::zero() {
                    true => 0.0,
                    false => (x * (F::lit(fine) / most)).f64().round_ties_even(),
                };
                let terms = row.iter().zip(column());
                let exact: f64 = terms
                    .map(|(x, w)| round(*x, row_most, fine) * round(w, col_most, LARGEST))
                    .sum();
                let scale = row_most.f64() / fine * col_most.f64() / LARGEST;
                let expected = start[i * all + j].f64() + exact * scale;
                let error = (expected - int8[i * all + j].f64()).abs();
                let bound = F::epsilon().f64() * (8.0 * (exact * scale).abs() + 8.0);
                assert!(error <= bound, "{n} {k} {m} {groups}: {error}");
            }
            let alone = Matrix::new(row, 1, k, k.max(1));
            let mut sums = start[i * all..][..all].to_vec();
            whole.set(alone);
            let factor = Factor::of(alone, &kept).whole(&whole);
            product_from(None, factor, &mut sums, all, &Team::alone());
            assert_eq!(sums, int8[i * all..][..all]);
        }
    }

    #[test]
    fn sums_are_those_of_the_rounded_numbers() {
        for n in [1, 2, 3, 4, 7, 17] {
            for k in [0, 1, 2, 3, 8, 65, 300] {
                for (m, groups) in [(1, 1), (17, 1), (40, 1), (9, 2), (8, 3), (33, 3), (17, 4)] {
                    check::<f32>(n, k, m, groups);
                    check::<f64>(n, k, m, groups);
                }
            }
        }
    }

    /// Whole numbers of the largest sizes do not leave 32 bits.
    #[test]
    fn long_rows_stay_exact() {
        for k in [8258, 8260, 20_000] {
            let (a, b) = (vec![1.0_f32; k], vec![-1.0_f32; k]);
            let rows = Matrix::new(&a, 1, k, k);
            let mut kept = packed(&b, k, 1, 1);
            kept.keep(Storage::Int8);
            let (mut whole, mut sum) = (WholeRows::default(), [0.0]);
            whole.set(rows);
            let factor = Factor::of(rows, &kept).whole(&whole);
            product_from(None, factor, &mut sum, 1, &Team::alone());
            let error = (sum[0] + k as f32).abs();
            assert!(error < 1e-6 * k as f32, "{k}: {}", sum[0]);
        }
    }

    /// What is not finite stays so; a row of zeros, or too small to divide by,
    /// adds nothing.
    #[test]
    fn nothing_is_hidden() {
        let run = |a: &[f32], b: &[f32]| {
            let rows = Matrix::new(a, 1, a.len(), a.len());
            let mut kept = packed(b, b.len(), 1, 1);
            kept.keep(Storage::Int8);
            let (mut whole, mut sum) = (WholeRows::default(), [0.5]);
            whole.set(rows);
            let factor = Factor::of(rows, &kept).whole(&whole);
            product_from(None, factor, &mut sum, 1, &Team::alone());
            sum[0]
        };
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for at in [0, 3, 8, 10] {
                let mut odd = [0.25; 11];
                odd[at] = bad;
                assert!(run(&odd, &[0.5; 11]).is_nan());
                assert!(run(&[0.5; 11], &odd).is_nan());
            }
        }
        assert_eq!(run(&[0.0; 11], &[1.0; 11]), 0.5);
        assert_eq!(run(&[1e-44; 11], &[1.0; 11]), 0.5);
        assert_eq!(run(&[1.0; 11], &[0.0; 11]), 0.5);
    }

    /// Vectors of this machine and plain arrays find the same whole numbers.
    #[test]
    fn rows_are_rounded_alike() {
        let a = numbers::<f32>(3 * 21, 5);
        let rows = Matrix::new(&a, 3, 21, 21);
        let (mut ours, mut plain) = (WholeRows::default(), WholeRows::default());
        ours.set(rows);
        plain.set(rows);
        plain.numbers.fill(7);
        Round {
            a: rows,
            to: &mut plain,
        }
        .run::<Plain<f32, 8>>();
        assert_eq!(ours.numbers, plain.numbers);
        assert_eq!(ours.scales, plain.scales);
        assert_eq!(ours.dim(), (3, 32));
    }
}
