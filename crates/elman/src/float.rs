//! The scalar of the engine: `f32` or `f64`, with the activations.
//!
//! `exp`, `tanh` and `sigmoid` are computed here and not by the system's
//! mathematics library: they are free of branches, so that a loop over them
//! becomes vector code, and they give the same bits on every machine.

use num_traits::{FromPrimitive, NumAssign};
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

    /// `2^n` from `n + EXP.round`, where rounding has left `n` in the low bits.
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
    /// About the logarithm of the smallest normal number.
    lowest: f64,
    /// 1.5 * 2^mantissa: adding it rounds to an integer.
    round: f64,
    /// ln 2 in two parts, the first with trailing zeros.
    ln2: (f64, f64),
    /// Factorials from the highest term of the Taylor series down; the first
    /// term left out is below a tenth of an ulp at ln 2 / 2.
    factorials: &'static [f64],
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

    /// `yes` where `self < than`, else `no`, also where one is a NaN.
    fn select_less(self, than: Self, yes: Self, no: Self) -> Self;

    /// [`Float::exp2_rounded`].
    fn exp2_rounded(self) -> Self;

    /// `(s, q)` with `exp(x) = s + s q` for `x <= 0`: `s` a power of two and
    /// `q = exp(r) - 1` for the rest `r`, `|r| <= ln 2 / 2`. Below about
    /// `ln(smallest normal number)` the answer stays at that number.
    #[inline(always)]
    fn exp_parts(self) -> (Self, Self) {
        let exp = &Self::Base::EXP;
        // A NaN stays a NaN.
        let lowest = Self::lit(exp.lowest);
        let x = self.select_less(lowest, lowest, self);
        let round = Self::lit(exp.round);
        let shifted = x * Self::lit(std::f64::consts::LOG2_E) + round;
        let n = shifted - round;
        let r = (x - n * Self::lit(exp.ln2.0)) - n * Self::lit(exp.ln2.1);
        let mut q = Self::lit(0.0);
        for factorial in exp.factorials {
            q = q * r + Self::lit(1.0 / factorial);
        }
        (shifted.exp2_rounded(), q * r)
    }

    /// The logistic function `1 / (1 + exp(-x))`, within 3 ulp of the true
    /// value where that is a normal number.
    #[inline(always)]
    fn sigmoid(self) -> Self {
        // For x >= 0: 1/(1+e), for x < 0: e/(1+e), with e = exp(-|x|) <= 1.
        let one = Self::lit(1.0);
        let (s, q) = (-self.abs()).exp_parts();
        let e = s + s * q;
        self.select_less(Self::lit(0.0), e, one) / (one + e)
    }

    /// The hyperbolic tangent, as `-u / (2 + u)` with `u = exp(-2|x|) - 1`,
    /// within 3 ulp of the true value.
    #[inline(always)]
    fn tanh(self) -> Self {
        let twice = self.abs() + self.abs();
        let (s, q) = (-twice).exp_parts();
        let u = s * q + (s - Self::lit(1.0));
        let t = -u / (Self::lit(2.0) + u);
        self.select_less(Self::lit(0.0), -t, t)
    }

    /// `max(x, 0)`; a NaN stays a NaN.
    #[inline(always)]
    fn relu(self) -> Self {
        let zero = Self::lit(0.0);
        self.select_less(zero, zero, self)
    }

    /// 1 where `x > 0`, else 0, also at 0.
    #[inline(always)]
    fn positive(self) -> Self {
        let zero = Self::lit(0.0);
        zero.select_less(self, Self::lit(1.0), zero)
    }
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
     lowest $lowest:literal, ln2 $ln2:expr, factorials $factorials:expr) => {
        impl Float for $t {
            const NAME: &'static str = $name;
            const BYTES: usize = size_of::<$t>();
            const EXP: Exp = Exp {
                lowest: $lowest,
                round: 1.5 * (1_u64 << $mantissa) as f64,
                ln2: $ln2,
                factorials: $factorials,
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
                <$t>::from_bits(self.to_bits().wrapping_add($bias) << $mantissa)
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

float!(f32, "float32", mantissa 23, bias 127, lowest -87.0,
    ln2 (0.693_145_751_953_125, 1.428_606_820_309_417_2e-6),
    factorials &[40320.0, 5040.0, 720.0, 120.0, 24.0, 6.0, 2.0, 1.0]);
float!(f64, "float64", mantissa 52, bias 1023, lowest -708.0,
    ln2 (0.693_147_180_369_123_8, 1.908_214_929_270_587_8e-10),
    factorials &[87178291200.0, 6227020800.0, 479001600.0, 39916800.0, 3628800.0, 362880.0,
        40320.0, 5040.0, 720.0, 120.0, 24.0, 6.0, 2.0, 1.0]);

#[cfg(test)]
mod tests {
    use super::*;

    /// Largest error in units of the last place against `f64`'s own functions.
    fn worst<F: Float>(points: impl Iterator<Item = f64>, f: fn(F) -> F, g: fn(f64) -> f64) -> f64 {
        points
            .map(|x| {
                let x = F::lit(x);
                let truth = g(x.f64());
                let ulp = F::epsilon().f64() * truth.abs().max(1e-30);
                (f(x).f64() - truth).abs() / ulp
            })
            .fold(0.0, f64::max)
    }

    fn grid() -> impl Iterator<Item = f64> {
        let fine = (-400_000..=400_000).map(|i| f64::from(i) * 5e-5);
        let tail = (-860..=860).map(|i| f64::from(i) * 0.1);
        let small = (1..300).flat_map(|i| [1.0, -1.0].map(|s| s * 0.9_f64.powi(i)));
        fine.chain(tail).chain(small)
    }

    #[test]
    fn activations_are_within_three_ulp() {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let e = [
            worst::<f32>(grid(), Float::tanh_fast, f64::tanh),
            worst::<f32>(grid(), Float::sigmoid_fast, sigmoid),
            worst::<f64>(grid(), Float::tanh_fast, f64::tanh),
            worst::<f64>(grid(), Float::sigmoid_fast, sigmoid),
        ];
        assert!(e.iter().all(|e| *e <= 3.0), "{e:?}");
    }

    #[test]
    fn activations_at_the_ends() {
        for x in [f64::INFINITY, 1e30, 800.0] {
            assert_eq!((x.tanh_fast(), (-x).tanh_fast()), (1.0, -1.0));
            assert_eq!(x.sigmoid_fast(), 1.0);
            assert!((-x).sigmoid_fast() < 1e-300);
            let x = x as f32;
            assert_eq!((x.tanh_fast(), (-x).tanh_fast()), (1.0, -1.0));
            assert_eq!(x.sigmoid_fast(), 1.0);
            assert!((-x).sigmoid_fast() < 1e-30);
        }
        assert!(f32::NAN.tanh_fast().is_nan() && f64::NAN.tanh_fast().is_nan());
        assert!(f32::NAN.sigmoid_fast().is_nan() && f64::NAN.sigmoid().is_nan());
        assert_eq!(0.0_f32.tanh_fast(), 0.0);
        assert_eq!(0.0_f64.sigmoid_fast(), 0.5);
    }
}
