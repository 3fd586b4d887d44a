//! The scalar of the engine: `f32` or `f64`, with the activations.
//!
//! `exp`, `tanh` and `sigmoid` are computed here and not by the system's
//! mathematics library: they are free of branches, so that a loop over them
//! becomes vector code, and they give the same bits on every machine with the
//! same instruction set.

pub(crate) mod half;

use num_traits::{FromPrimitive, NumAssign};
use std::f64::consts::{LN_2, LOG2_E};
use std::fmt::{Debug, Display};
use std::iter::Sum;
use std::ops::{Add, Div, Mul, Neg, Sub};

use crate::kernel::Dispatch;

/// A floating-point number the engine computes with: `f32` or `f64`.
///
/// Sealed: the kernels know these two types.
pub trait Float:
    num_traits::Float
    + NumAssign
    + FromPrimitive
    + Sum
    + Default
    + Debug
    + Display
    + Send
    + Sync
    + Dispatch
    + crate::cell::Compiled
    + sealed::Sealed
    + 'static
{
    /// PyTorch's name of the type: `float32` or `float64`.
    const NAME: &'static str;
    /// Bytes of one number.
    const BYTES: usize;

    /// A literal: the nearest number of this type.
    fn lit(x: f64) -> Self;

    /// This number as an `f64` (exact).
    fn f64(self) -> f64;

    /// What [`Scalar::exp_parts`] needs to know of the type.
    const EXP: Exp;

    /// `2^n` from `n + EXP.round`, where rounding has left the exponent in the
    /// low bits.
    fn exp2_rounded(self) -> Self;

    /// [`Scalar::exp_parts`] of a number.
    #[inline(always)]
    fn exp_parts(self) -> (Self, Self) {
        Scalar::exp_parts(self)
    }

    /// [`Scalar::sigmoid`] of a number.
    #[inline(always)]
    fn sigmoid_fast(self) -> Self {
        Scalar::sigmoid(self)
    }

    /// [`Scalar::tanh`] of a number, not the system's.
    #[inline(always)]
    fn tanh_fast(self) -> Self {
        Scalar::tanh(self)
    }

    /// A number from its little-endian bytes.
    fn from_le(bytes: &[u8]) -> Self;

    /// Appends the little-endian bytes of a number.
    fn push_le(self, out: &mut Vec<u8>);
}

/// The constants of the exponential function for one type.
#[derive(Debug)]
pub struct Exp {
    /// The logarithm of the smallest normal number, rounded up.
    lowest: f64,
    /// From here on tanh is 1.
    one: f64,
    /// `1.5 * 2^mantissa` and the bias of the exponent: adding it rounds to an
    /// integer, whose power of two has the sum's low bits as its exponent.
    round: f64,
    /// What is too small to count beside 1.
    tiny: f64,
    /// ln 2 / 2 in two parts, the first with trailing zeros.
    half_ln2: (f64, f64),
    /// `g` with `tanh z = z + z^3 g(z^2)` for `|z| <= ln 2 / 4`, from the highest
    /// coefficient down: minimax in the relative error of tanh, by the exchange
    /// algorithm of Remez in 50 digits.
    tanh: &'static [f64],
}

/// Work that is compiled into a function of its own.
pub trait Apart {
    /// Does the work. Must be `#[inline(always)]`.
    fn run(self);
}

/// [`Scalar::apart`] for what needs no features of the processor.
#[inline(never)]
fn apart(task: impl Apart) {
    task.run();
}

/// What a cell's pointwise update is written in: a number, a vector of numbers,
/// or a number with its derivative.
pub trait Scalar:
    Copy
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    /// The floating-point type underneath.
    type Base: Float;

    /// A literal: the nearest number of the type.
    fn lit(x: f64) -> Self;

    /// `|x|`.
    fn abs(self) -> Self;

    /// `self * b + c`: one rounding with AVX2 and AVX-512, else two.
    #[must_use]
    fn mul_add(self, b: Self, c: Self) -> Self;

    /// `yes` where `self < than`, else `no`, also where one is a NaN.
    fn select_less(self, than: Self, yes: Self, no: Self) -> Self;

    /// Does some work in a function of its own, compiled for this type, where
    /// it is too large to be part of everything that uses it.
    #[inline(always)]
    fn apart(task: impl Apart) {
        apart(task);
    }

    /// [`Float::exp2_rounded`].
    fn exp2_rounded(self) -> Self;

    /// `max(x, low)`; a NaN stays a NaN.
    #[inline(always)]
    #[must_use]
    fn at_least(self, low: Self) -> Self {
        self.select_less(low, low, self)
    }

    /// `min(x, high)`; a NaN stays a NaN.
    #[inline(always)]
    #[must_use]
    fn at_most(self, high: Self) -> Self {
        high.select_less(self, high, self)
    }

    /// `min(max(x, low), high)`; a NaN stays a NaN.
    #[inline(always)]
    #[must_use]
    fn limited(self, low: Self, high: Self) -> Self {
        self.at_least(low).at_most(high)
    }

    /// 0 where `|x|` is below the smallest normal number, else `x`. Arithmetic
    /// with denormal numbers takes many times as long as with others, and what
    /// decays, a state or its gradient, ends among them.
    #[inline(always)]
    #[must_use]
    fn flush(self) -> Self {
        let normal = Self::lit(<Self::Base as num_traits::Float>::min_positive_value().f64());
        self.abs().select_less(normal, Self::lit(0.0), self)
    }

    /// `(s, q)` with `exp(x) = s + s q` for `x <= 0`: `s` a power of two and
    /// `q = exp(r) - 1` for the rest `r`, `|r| <= ln 2 / 2`. Below the logarithm
    /// of the smallest normal number the answer stays at that number.
    #[inline(always)]
    fn exp_parts(self) -> (Self, Self) {
        let x = self.at_least(Self::lit(Self::Base::EXP.lowest));
        let (n, s) = power(x, LOG2_E);
        let w = tanh_of_rest(rest(x, -n));
        (s, (w + w) / (Self::lit(1.0) - w))
    }

    /// The logistic function `1 / (1 + exp(-x))`, never above 1, and where it is
    /// less than the smallest normal number about that. Elsewhere the error is
    /// at most 2.6 units in the last place for `f32` (over all numbers, by the
    /// example `activations`) and three epsilon times the value for `f64`.
    #[inline(always)]
    fn sigmoid(self) -> Self {
        // exp(-x) = s (1 - w) / (1 + w).
        let one = Self::lit(1.0);
        let lowest = Self::Base::EXP.lowest;
        let x = self.limited(Self::lit(lowest), Self::lit(-lowest));
        let (n, s) = power(x, -LOG2_E);
        let w = tanh_of_rest(rest(x, n));
        // 1 - s from 1 + s: as both round alike, the quotient is at most 1.
        let more = one + s;
        (one + w) / (Self::lit(2.0) - more).mul_add(w, more)
    }

    /// The hyperbolic tangent, exactly 1 or -1 at the ends and never beyond. The
    /// error is as that of [`sigmoid`](Self::sigmoid). The sign of a 0 is lost.
    #[inline(always)]
    fn tanh(self) -> Self {
        // (e - 1) / (e + 1) with e = exp(2x) = s (1 + w) / (1 - w). The rest
        // need not be as exact as above: the larger n, the less it matters.
        let one = Self::lit(1.0);
        let end = Self::Base::EXP.one;
        let x = self.limited(Self::lit(-end), Self::lit(end));
        let (n, s) = power(x, 2.0 * LOG2_E);
        let w = tanh_of_rest(n.mul_add(Self::lit(-0.5 * LN_2), x));
        let (less, more) = (s - one, s + one);
        more.mul_add(w, less) / less.mul_add(w, more)
    }

    /// `max(x, 0)`; a NaN stays a NaN.
    #[inline(always)]
    fn relu(self) -> Self {
        self.at_least(Self::lit(0.0))
    }

    /// 1 where `x > 0`, else 0, also at 0.
    #[inline(always)]
    fn positive(self) -> Self {
        let zero = Self::lit(0.0);
        zero.select_less(self, Self::lit(1.0), zero)
    }
}

/// `n`, the integer nearest to `x * factor`, and `2^n`.
#[inline(always)]
fn power<S: Scalar>(x: S, factor: f64) -> (S, S) {
    let round = S::lit(S::Base::EXP.round);
    let shifted = x.mul_add(S::lit(factor), round);
    (shifted - round, shifted.exp2_rounded())
}

/// `(x + n ln 2) / 2`.
#[inline(always)]
fn rest<S: Scalar>(x: S, n: S) -> S {
    let (high, low) = S::Base::EXP.half_ln2;
    let z = n.mul_add(S::lit(high), x * S::lit(0.5));
    n.mul_add(S::lit(low), z)
}

/// `tanh(z)` for `|z| <= ln 2 / 4`. With it `exp(2z) = (1 + w) / (1 - w)`, in
/// half the coefficients that the exponential itself would need.
#[inline(always)]
fn tanh_of_rest<S: Scalar>(z: S) -> S {
    // The cube of what is smaller would be a denormal number, and slow.
    let square = z.mul_add(z, S::lit(S::Base::EXP.tiny));
    let (first, others) = S::Base::EXP.tanh.split_at(1);
    let mut g = S::lit(first[0]);
    for c in others {
        g = g.mul_add(square, S::lit(*c));
    }
    (square * z).mul_add(g, z)
}

impl<F: Float> Scalar for F {
    type Base = F;

    #[inline(always)]
    fn lit(x: f64) -> Self {
        Float::lit(x)
    }

    #[inline(always)]
    fn abs(self) -> Self {
        num_traits::Float::abs(self)
    }

    #[inline(always)]
    fn mul_add(self, b: Self, c: Self) -> Self {
        // A fused one would be a call where the target has no instruction.
        self * b + c
    }

    #[inline(always)]
    fn select_less(self, than: Self, yes: Self, no: Self) -> Self {
        if self < than { yes } else { no }
    }

    #[inline(always)]
    fn exp2_rounded(self) -> Self {
        Float::exp2_rounded(self)
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

macro_rules! float {
    ($t:ty, $name:literal, mantissa $mantissa:literal, bias $bias:literal,
     lowest $lowest:literal, one $one:literal,
     tiny $tiny:literal, half_ln2 $half_ln2:expr, tanh $tanh:expr) => {
        impl Float for $t {
            const NAME: &'static str = $name;
            const BYTES: usize = size_of::<$t>();
            const EXP: Exp = Exp {
                lowest: $lowest,
                one: $one,
                tiny: $tiny,
                round: 1.5 * (1_u64 << $mantissa) as f64 + $bias as f64,
                half_ln2: $half_ln2,
                tanh: $tanh,
            };

            #[inline(always)]
            fn lit(x: f64) -> Self {
                x as $t
            }

            #[inline(always)]
            fn f64(self) -> f64 {
                f64::from(self)
            }

            #[inline(always)]
            fn exp2_rounded(self) -> Self {
                <$t>::from_bits(self.to_bits() << $mantissa)
            }

            #[inline(always)]
            fn from_le(bytes: &[u8]) -> Self {
                let mut raw = [0; size_of::<$t>()];
                raw.copy_from_slice(bytes);
                <$t>::from_le_bytes(raw)
            }

            #[inline(always)]
            fn push_le(self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
        }
    };
}

float!(f32, "float32", mantissa 23, bias 127, lowest -87.336_54, one 10.0,
    tiny 1e-9, half_ln2 (0.346_572_875_976_562_5, 7.143_034_101_547_086e-7),
    tanh &[0.131_106_704_428_226_34, -0.333_312_728_945_526_06]);
float!(f64, "float64", mantissa 52, bias 1023, lowest -708.396_418_532_264, one 22.0,
    tiny 1e-18, half_ln2 (0.346_573_590_184_561_9, 9.541_074_646_352_939e-11),
    tanh &[0.003_443_030_000_196_953_9, -0.008_857_210_834_331_502, 0.021_869_369_998_318_097,
        -0.053_968_252_818_427_18, 0.133_333_333_328_473_4, -0.333_333_333_333_327_3]);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::Activation;
    use crate::kernel::{Lanes, Task};

    /// An activation of numbers, a vector at a time.
    struct Each<'a, F>(&'a mut [F], Activation);

    impl<F: Float> Task<F> for Each<'_, F> {
        type Out = ();

        #[inline(always)]
        fn run<V: Lanes<F>>(self) {
            for x in self.0.chunks_exact_mut(V::N) {
                self.1.value(V::load(x)).store(x);
            }
        }
    }

    const BOTH: [Activation; 2] = [Activation::Sigmoid, Activation::Tanh];

    fn truth(activation: Activation, x: f64) -> f64 {
        match activation {
            Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            _ => x.tanh(),
        }
    }

    /// Calls `f` with every number, the truth, and what vectors and numbers make
    /// of it.
    fn compare<F: Float>(x: &[F], activation: Activation, f: &mut impl FnMut(F, f64, [F; 2])) {
        let [mut wide, mut alone] = [x.to_vec(), x.to_vec()];
        F::dispatch(Each(&mut wide, activation));
        Each(&mut alone, activation).run::<F>();
        for ((x, a), b) in x.iter().zip(wide).zip(alone) {
            f(*x, truth(activation, x.f64()), [a, b]);
        }
    }

    /// One in 257 of all numbers, and where the example `activations`, which
    /// takes them all, finds the worst.
    #[test]
    fn f32_activations_are_within_2_6_ulp() {
        let least = f32::MIN_POSITIVE;
        let worst = [0.520_101_25, -1.951_837, f32::INFINITY, -f32::INFINITY];
        let all = (0..=u32::MAX).step_by(257).map(f32::from_bits);
        let mut all: Vec<_> = all.chain(worst).collect();
        all.resize(all.len().next_multiple_of(16), 0.0);
        for activation in BOTH {
            for x in all.chunks(1 << 12) {
                compare(x, activation, &mut |x, truth, values| {
                    let exponent = ((truth.abs().to_bits() >> 52) as i32 - 1023).max(-126);
                    for y in values {
                        if x.is_nan() {
                            assert!(y.is_nan());
                        } else if activation == Activation::Sigmoid && truth < f64::from(least) {
                            assert!(least <= y && y < 1.000_01 * least, "{x}: {y}");
                        } else {
                            let ulps = (f64::from(y) - truth).abs() * 2.0_f64.powi(23 - exponent);
                            let near = ulps <= 2.6 && y.abs() <= 1.0;
                            assert!(near, "{activation} {x}: {y}, {ulps} ulp");
                        }
                    }
                });
            }
        }
    }

    #[test]
    fn f64_activations_are_within_three_epsilon() {
        let fine = (-400_000..=400_000).map(|i| f64::from(i) * 5e-5);
        let tail = (-7080..=7080).map(|i| f64::from(i) * 0.1);
        let small = (1..3000).flat_map(|i| [1.0, -1.0].map(|s| s * 0.9_f64.powi(i)));
        let mut x: Vec<_> = fine.chain(tail).chain(small).collect();
        x.truncate(x.len() / 8 * 8);
        for activation in BOTH {
            compare(&x, activation, &mut |x, truth, values| {
                for y in values {
                    let near = (y - truth).abs() <= 3.0 * f64::EPSILON * truth.abs();
                    assert!(y.abs() <= 1.0 && near, "{activation} {x}: {y}");
                }
            });
        }
    }

    #[test]
    fn flush_leaves_normal_numbers() {
        fn check<F: Float>() {
            let least = F::min_positive_value();
            let below = least * F::lit(0.75);
            for x in [least, F::one(), F::max_value(), F::infinity()] {
                assert_eq!((x.flush(), (-x).flush()), (x, -x));
            }
            for x in [below, F::zero(), least * F::epsilon()] {
                assert_eq!((x.flush(), (-x).flush()), (F::zero(), F::zero()));
            }
            assert!(F::nan().flush().is_nan());
        }
        check::<f32>();
        check::<f64>();
    }

    #[test]
    fn activations_at_the_ends() {
        for x in [f64::INFINITY, 1e30, 800.0] {
            assert_eq!((x.tanh_fast(), (-x).tanh_fast()), (1.0, -1.0));
            assert_eq!(x.sigmoid_fast(), 1.0);
            let least = (-x).sigmoid_fast();
            assert!(least.is_normal() && least < 1e-307);
            let x = x as f32;
            assert_eq!((x.tanh_fast(), (-x).tanh_fast()), (1.0, -1.0));
            assert_eq!(x.sigmoid_fast(), 1.0);
            let least = (-x).sigmoid_fast();
            assert!(least.is_normal() && least < 1e-37);
        }
        assert!(f32::NAN.tanh_fast().is_nan() && f64::NAN.tanh_fast().is_nan());
        assert!(f32::NAN.sigmoid_fast().is_nan() && f64::NAN.sigmoid().is_nan());
        assert_eq!(0.0_f32.tanh_fast(), 0.0);
        assert_eq!(0.0_f64.sigmoid_fast(), 0.5);
    }
}
