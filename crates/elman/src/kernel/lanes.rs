//! Vectors of numbers: 32 bytes wide, by AVX2 or by plain arrays, or 64 by
//! AVX-512.

use super::tile::{Product, Start};
use crate::Float;
use crate::float::{Scalar, half};
use std::ops::{Add, Div, Mul, Neg, Sub};

/// As many whole numbers of 32 bits as a vector has numbers, for exact sums.
pub trait Whole: Copy {
    /// Zeros.
    fn zeros() -> Self;

    /// Adds `a[0] w[2 i] + a[1] w[2 i + 1]` to number `i`.
    ///
    /// # Panics
    /// Where `w` has fewer than two numbers for each.
    #[must_use]
    fn add_pairs(self, a: [i16; 2], w: &[i8]) -> Self;
}

impl<const N: usize> Whole for [i32; N] {
    #[inline(always)]
    fn zeros() -> Self {
        [0; N]
    }

    #[inline(always)]
    fn add_pairs(mut self, a: [i16; 2], w: &[i8]) -> Self {
        let (a, b) = (i32::from(a[0]), i32::from(a[1]));
        for (i, sum) in self.iter_mut().enumerate() {
            let (v, w) = (i32::from(w[2 * i]), i32::from(w[2 * i + 1]));
            *sum = sum.wrapping_add(a * v + b * w);
        }
        self
    }
}

/// A vector of [`N`](Self::N) numbers.
pub trait Lanes<F>: Scalar {
    /// Numbers in the vector.
    const N: usize;

    /// Vectors that the processor has registers for.
    const REGISTERS: usize = 16;

    /// Sums of whole numbers, one for each number of the vector.
    type Whole: Whole;

    /// The nearest numbers to whole ones.
    fn of_whole(whole: Self::Whole) -> Self;

    /// The nearest whole numbers, the even one of two, into the first `N` of a
    /// slice. What 16 bits do not hold, and a NaN, become any number.
    ///
    /// # Panics
    /// Where the slice has fewer.
    fn store_whole(self, to: &mut [i16]);

    /// The first and the second of `N` pairs of numbers, each the upper half of
    /// an `f32`.
    ///
    /// # Panics
    /// Where there are fewer.
    fn load_bf16(from: &[u16]) -> [Self; 2];

    /// The first `N` numbers of a slice.
    ///
    /// # Panics
    /// Where there are fewer.
    fn load(from: &[F]) -> Self;

    /// Writes the first `N` numbers of a slice.
    ///
    /// # Panics
    /// Where there are fewer.
    fn store(self, to: &mut [F]);

    /// Fewer than `N` numbers, and zeros after them.
    ///
    /// # Panics
    /// Where there are more.
    fn load_part(from: &[F]) -> Self;

    /// Writes the first numbers only, as many as the slice has.
    ///
    /// # Panics
    /// Where there are more than `N`.
    fn store_part(self, to: &mut [F]);

    /// `N` times the same number.
    fn splat(x: F) -> Self;

    /// Says that a slice is going to be read, so that it is on its way into the
    /// second-level cache meanwhile. Changes nothing else.
    #[inline(always)]
    fn fetch<T>(_: &[T]) {}

    /// The same for the end of a slice that is no longer than two vectors, and its
    /// beginning where that is another line of the cache.
    #[inline(always)]
    fn fetch_last<T>(_: &[T]) {}

    /// Adds products of `R` rows with `P` panels of `N` vectors to the sums, one
    /// after the other, where this vector has instructions of its own for it;
    /// whether it has. The sums have a stride of rows and panels, and all
    /// products the same stride of columns. What the sums begin with is the
    /// same for all rows.
    ///
    /// # Safety
    /// The left factor of each has number `(R - 1) row_stride + (depth - 1)
    /// col_stride`, every panel of the right one `depth` times `N` vectors, and
    /// the sums have `(R P - 1) stride + N`.
    #[inline(always)]
    unsafe fn steps<const N: usize, const R: usize, const P: usize>(
        _: &[Product<'_, F>],
        _: Option<Start<'_, F>>,
        _: (&mut [Self], usize),
    ) -> bool {
        false
    }
}

/// An array; the compiler makes vector instructions of it where it can.
#[derive(Debug, Clone, Copy)]
pub struct Plain<F, const N: usize>([F; N]);

impl<F: Float, const N: usize> Plain<F, N> {
    #[inline(always)]
    fn map(mut self, f: impl Fn(F) -> F) -> Self {
        for x in &mut self.0 {
            *x = f(*x);
        }
        self
    }

    #[inline(always)]
    fn with(mut self, b: Self, f: impl Fn(F, F) -> F) -> Self {
        for i in 0..N {
            self.0[i] = f(self.0[i], b.0[i]);
        }
        self
    }
}

macro_rules! operators {
    ($($op:ident $method:ident),*) => {$(
        impl<F: Float, const N: usize> $op for Plain<F, N> {
            type Output = Self;

            #[inline(always)]
            fn $method(self, b: Self) -> Self {
                self.with(b, |a, b| a.$method(b))
            }
        }
    )*};
}

operators!(Add add, Sub sub, Mul mul, Div div);

impl<F: Float, const N: usize> Neg for Plain<F, N> {
    type Output = Self;

    #[inline(always)]
    fn neg(self) -> Self {
        self.map(|a| -a)
    }
}

impl<F: Float, const N: usize> Scalar for Plain<F, N> {
    type Base = F;

    #[inline(always)]
    fn lit(x: f64) -> Self {
        Self([<F as Float>::lit(x); N])
    }

    #[inline(always)]
    fn abs(self) -> Self {
        self.map(num_traits::Float::abs)
    }

    #[inline(always)]
    fn mul_add(self, b: Self, c: Self) -> Self {
        self * b + c
    }

    #[inline(always)]
    fn select_less(self, than: Self, yes: Self, no: Self) -> Self {
        Self(std::array::from_fn(|i| {
            if self.0[i] < than.0[i] {
                yes.0[i]
            } else {
                no.0[i]
            }
        }))
    }

    #[inline(always)]
    fn exp2_rounded(self) -> Self {
        self.map(Float::exp2_rounded)
    }
}

/// The nearest whole number, the even one of two.
#[inline(always)]
pub(super) fn nearest<F: Float>(x: F) -> i16 {
    // What follows the last place of a number so large is rounded away.
    let large = F::lit(1.5) / F::epsilon();
    let whole = (x + large) - large;
    whole.f64() as i16
}

/// A number from the upper half of an `f32`.
#[inline(always)]
pub(super) fn widened<F: Float>(bits: u16) -> F {
    <F as Float>::lit(half::bf16(bits).into())
}

impl<F: Float, const N: usize> Lanes<F> for Plain<F, N> {
    const N: usize = N;

    type Whole = [i32; N];

    #[inline(always)]
    fn of_whole(whole: [i32; N]) -> Self {
        let mut all = [F::zero(); N];
        for i in 0..N {
            all[i] = <F as Float>::lit(whole[i].into());
        }
        Self(all)
    }

    #[inline(always)]
    fn store_whole(self, to: &mut [i16]) {
        for (to, x) in to[..N].iter_mut().zip(self.0) {
            *to = nearest(x);
        }
    }

    #[inline(always)]
    fn load_bf16(from: &[u16]) -> [Self; 2] {
        let from = &from[..2 * N];
        let mut all = [[F::zero(); N]; 2];
        for i in 0..N {
            all[0][i] = widened(from[2 * i]);
            all[1][i] = widened(from[2 * i + 1]);
        }
        [Self(all[0]), Self(all[1])]
    }

    #[inline(always)]
    fn load(from: &[F]) -> Self {
        let from = &from[..N];
        Self(std::array::from_fn(|i| from[i]))
    }

    #[inline(always)]
    fn store(self, to: &mut [F]) {
        to[..N].copy_from_slice(&self.0);
    }

    #[inline(always)]
    fn load_part(from: &[F]) -> Self {
        let mut all = [F::zero(); N];
        all[..from.len()].copy_from_slice(from);
        Self(all)
    }

    #[inline(always)]
    fn store_part(self, to: &mut [F]) {
        to.copy_from_slice(&self.0[..to.len()]);
    }

    #[inline(always)]
    fn splat(x: F) -> Self {
        Self([x; N])
    }
}

/// One number is a vector of one.
impl<F: Float> Lanes<F> for F {
    const N: usize = 1;

    type Whole = [i32; 1];

    #[inline(always)]
    fn of_whole(whole: [i32; 1]) -> Self {
        <F as Float>::lit(whole[0].into())
    }

    #[inline(always)]
    fn store_whole(self, to: &mut [i16]) {
        to[0] = nearest(self);
    }

    #[inline(always)]
    fn load_bf16(from: &[u16]) -> [Self; 2] {
        [widened(from[0]), widened(from[1])]
    }

    #[inline(always)]
    fn load(from: &[F]) -> Self {
        from[0]
    }

    #[inline(always)]
    fn store(self, to: &mut [F]) {
        to[0] = self;
    }

    #[inline(always)]
    fn load_part(from: &[F]) -> Self {
        from.first().copied().unwrap_or(F::zero())
    }

    #[inline(always)]
    fn store_part(self, to: &mut [F]) {
        to.iter_mut().for_each(|to| *to = self);
    }

    #[inline(always)]
    fn splat(x: F) -> Self {
        x
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Task;

    /// Applies every function of a vector to sixteen numbers.
    struct Functions<F>([F; 16]);

    impl<F: Float> Task<F> for Functions<F> {
        type Out = Vec<[F; 16]>;

        #[inline(always)]
        fn run<V: Lanes<F>>(self) -> Vec<[F; 16]> {
            let mut out = vec![[F::zero(); 16]; 9];
            for at in (0..16).step_by(V::N) {
                let x = V::load(&self.0[at..]);
                let (s, q) = (-x.abs()).exp_parts();
                let functions = [
                    x.sigmoid(),
                    x.tanh(),
                    s.mul_add(q, s),
                    x.mul_add(x, V::lit(3.0)),
                    x.relu(),
                    x.positive(),
                    x.limited(V::lit(-1.5), V::lit(0.5)),
                    x.flush(),
                    x / V::lit(3.0),
                ];
                for (y, out) in functions.into_iter().zip(&mut out) {
                    y.store(&mut out[at..]);
                }
            }
            out
        }
    }

    /// Arrays have the bits of numbers one by one. The vectors of this machine,
    /// which may round once where those round twice, are within four epsilon of
    /// them, with the same bits in whatever lane a number stands.
    fn check<F: Float, P: Lanes<F>>(bits: fn(F) -> u64) {
        let ends = [
            0.0,
            -0.0,
            1e-30,
            -88.5,
            88.5,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
        ];
        let denormals = std::array::from_fn(|i| (i as f64 - 4.0) * F::min_positive_value().f64());
        let more = (0..2000).map(|i| {
            std::array::from_fn(|j| (f64::from(i) - 1000.0) * 0.0731 * 1.7_f64.powi(j as i32 - 6))
        });
        let same = |a: F, b: F| bits(a) == bits(b) || (a.is_nan() && b.is_nan());
        let first = std::array::from_fn(|i| if i < 8 { ends[i] } else { denormals[i - 8] });
        for x in [first, denormals.map(|x| x / 4.0)].into_iter().chain(more) {
            let x = x.map(<F as Float>::lit);
            let (arrays, alone) = (Functions(x).run::<P>(), Functions(x).run::<F>());
            let wide = F::dispatch(Functions(x));
            for (f, alone) in alone.iter().enumerate() {
                for (lane, b) in alone.iter().enumerate() {
                    let (a, wide) = (arrays[f][lane], wide[f][lane]);
                    assert!(same(a, *b), "{f} {}: {a} {b}", x[lane]);
                    let near = (wide - *b).abs() <= F::lit(4.0) * F::epsilon() * b.abs();
                    assert!(near || same(wide, *b), "{f} {}: {wide} {b}", x[lane]);
                }
            }
            let turned = std::array::from_fn(|lane| x[(lane + 3) % 16]);
            let turned = F::dispatch(Functions(turned));
            for (wide, turned) in wide.iter().zip(&turned) {
                for (lane, turned) in turned.iter().enumerate() {
                    assert!(same(*turned, wide[(lane + 3) % 16]), "{x:?}");
                }
            }
        }
    }

    #[test]
    fn vectors_have_the_values_of_numbers() {
        check::<f32, Plain<f32, 8>>(|x| u64::from(x.to_bits()));
        check::<f64, Plain<f64, 4>>(f64::to_bits);
    }
}
