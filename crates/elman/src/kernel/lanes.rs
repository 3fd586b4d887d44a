//! Vectors of numbers: 32 bytes wide, by AVX2 or by plain arrays.

use crate::Float;
use crate::float::Scalar;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// A vector of [`N`](Self::N) numbers.
pub trait Lanes<F>: Scalar {
    /// Numbers in the vector.
    const N: usize;

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

    /// `N` times the same number.
    fn splat(x: F) -> Self;

    /// `self * b + c`: one rounding with AVX2, else two.
    #[must_use]
    fn mul_add(self, b: Self, c: Self) -> Self;
}

/// An array; the compiler makes vector instructions of it where it can.
#[derive(Debug, Clone, Copy)]
pub struct Plain<F, const N: usize>([F; N]);

impl<F: Float, const N: usize> Plain<F, N> {
    #[inline(always)]
    fn map(self, f: impl Fn(F) -> F) -> Self {
        Self(std::array::from_fn(|i| f(self.0[i])))
    }

    #[inline(always)]
    fn with(self, b: Self, f: impl Fn(F, F) -> F) -> Self {
        Self(std::array::from_fn(|i| f(self.0[i], b.0[i])))
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

impl<F: Float, const N: usize> Lanes<F> for Plain<F, N> {
    const N: usize = N;

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
    fn splat(x: F) -> Self {
        Self([x; N])
    }

    #[inline(always)]
    fn mul_add(self, b: Self, c: Self) -> Self {
        self * b + c
    }
}

/// One number is a vector of one.
impl<F: Float> Lanes<F> for F {
    const N: usize = 1;

    #[inline(always)]
    fn load(from: &[F]) -> Self {
        from[0]
    }

    #[inline(always)]
    fn store(self, to: &mut [F]) {
        to[0] = self;
    }

    #[inline(always)]
    fn splat(x: F) -> Self {
        x
    }

    #[inline(always)]
    fn mul_add(self, b: Self, c: Self) -> Self {
        self * b + c
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) mod avx2 {
    //! These types are for [`dispatch`](super::super::dispatch) alone, which
    //! uses them only after it has asked the processor: this is what every
    //! `SAFETY` line below rests on.

    use super::{Add, Div, Lanes, Mul, Neg, Scalar, Sub};
    use std::arch::x86_64::*;

    macro_rules! vector {
        ($name:ident, $raw:ty, $base:ty, $n:literal, $doc:literal,
         $add:ident $sub:ident $mul:ident $div:ident $fma:ident $set:ident $load:ident $store:ident
         $cmp:ident $blend:ident $and:ident $xor:ident,
         $to_bits:ident $from_bits:ident $set_bits:ident $add_bits:ident $shift:ident,
         bias $bias:literal, mantissa $mantissa:literal) => {
            #[doc = $doc]
            #[derive(Debug, Clone, Copy)]
            pub struct $name($raw);

            impl Add for $name {
                type Output = Self;

                #[inline(always)]
                fn add(self, b: Self) -> Self {
                    // SAFETY: the processor has AVX2 and FMA, see above.
                    Self(unsafe { $add(self.0, b.0) })
                }
            }

            impl Sub for $name {
                type Output = Self;

                #[inline(always)]
                fn sub(self, b: Self) -> Self {
                    // SAFETY: the processor has AVX2 and FMA, see above.
                    Self(unsafe { $sub(self.0, b.0) })
                }
            }

            impl Mul for $name {
                type Output = Self;

                #[inline(always)]
                fn mul(self, b: Self) -> Self {
                    // SAFETY: the processor has AVX2 and FMA, see above.
                    Self(unsafe { $mul(self.0, b.0) })
                }
            }

            impl Div for $name {
                type Output = Self;

                #[inline(always)]
                fn div(self, b: Self) -> Self {
                    // SAFETY: the processor has AVX2 and FMA, see above.
                    Self(unsafe { $div(self.0, b.0) })
                }
            }

            impl Neg for $name {
                type Output = Self;

                #[inline(always)]
                fn neg(self) -> Self {
                    // SAFETY: the processor has AVX2 and FMA, see above.
                    Self(unsafe { $xor(self.0, $set(-0.0)) })
                }
            }

            impl Scalar for $name {
                type Base = $base;

                #[inline(always)]
                fn lit(x: f64) -> Self {
                    Self::splat(x as $base)
                }

                #[inline(always)]
                fn abs(self) -> Self {
                    let rest = <$base>::from_bits(!(-0.0 as $base).to_bits());
                    // SAFETY: the processor has AVX2 and FMA, see above.
                    Self(unsafe { $and(self.0, $set(rest)) })
                }

                #[inline(always)]
                fn select_less(self, than: Self, yes: Self, no: Self) -> Self {
                    // SAFETY: the processor has AVX2 and FMA, see above.
                    Self(unsafe { $blend(no.0, yes.0, $cmp::<_CMP_LT_OQ>(self.0, than.0)) })
                }

                #[inline(always)]
                fn exp2_rounded(self) -> Self {
                    // SAFETY: the processor has AVX2 and FMA, see above.
                    Self(unsafe {
                        let exponent = $add_bits($to_bits(self.0), $set_bits($bias));
                        $from_bits($shift::<$mantissa>(exponent))
                    })
                }
            }

            impl Lanes<$base> for $name {
                const N: usize = $n;

                #[inline(always)]
                fn load(from: &[$base]) -> Self {
                    let from = &from[..$n];
                    // SAFETY: the slice has as many numbers as the vector, and
                    // the processor has AVX2 and FMA, see above.
                    Self(unsafe { $load(from.as_ptr()) })
                }

                #[inline(always)]
                fn store(self, to: &mut [$base]) {
                    let to = &mut to[..$n];
                    // SAFETY: as in `load`.
                    unsafe { $store(to.as_mut_ptr(), self.0) };
                }

                #[inline(always)]
                fn splat(x: $base) -> Self {
                    // SAFETY: the processor has AVX2 and FMA, see above.
                    Self(unsafe { $set(x) })
                }

                #[inline(always)]
                fn mul_add(self, b: Self, c: Self) -> Self {
                    // SAFETY: the processor has AVX2 and FMA, see above.
                    Self(unsafe { $fma(self.0, b.0, c.0) })
                }
            }
        };
    }

    vector!(F32x8, __m256, f32, 8, "Eight `f32`.",
        _mm256_add_ps _mm256_sub_ps _mm256_mul_ps _mm256_div_ps _mm256_fmadd_ps
        _mm256_set1_ps _mm256_loadu_ps _mm256_storeu_ps
        _mm256_cmp_ps _mm256_blendv_ps _mm256_and_ps _mm256_xor_ps,
        _mm256_castps_si256 _mm256_castsi256_ps _mm256_set1_epi32 _mm256_add_epi32
        _mm256_slli_epi32, bias 127, mantissa 23);

    vector!(F64x4, __m256d, f64, 4, "Four `f64`.",
        _mm256_add_pd _mm256_sub_pd _mm256_mul_pd _mm256_div_pd _mm256_fmadd_pd
        _mm256_set1_pd _mm256_loadu_pd _mm256_storeu_pd
        _mm256_cmp_pd _mm256_blendv_pd _mm256_and_pd _mm256_xor_pd,
        _mm256_castpd_si256 _mm256_castsi256_pd _mm256_set1_epi64x _mm256_add_epi64
        _mm256_slli_epi64, bias 1023, mantissa 52);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Task;

    /// Applies every function of a vector to eight numbers.
    struct Functions<F>([F; 8]);

    impl<F: Float> Task<F> for Functions<F> {
        type Out = Vec<F>;

        #[inline(always)]
        fn run<V: Lanes<F>>(self) -> Vec<F> {
            let mut out = Vec::new();
            for x in self.0.chunks_exact(V::N) {
                let x = V::load(x);
                let (s, q) = (-x.abs()).exp_parts();
                for y in [
                    x.sigmoid(),
                    x.tanh(),
                    x.relu(),
                    x.positive(),
                    s,
                    q,
                    x / V::lit(3.0),
                ] {
                    let mut lanes = vec![F::zero(); V::N];
                    y.store(&mut lanes);
                    out.extend(lanes);
                }
            }
            out
        }
    }

    /// Whatever the vector, the bits are those of the numbers one by one.
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
        let more = (0..2000).map(|i| {
            std::array::from_fn(|j| (f64::from(i) - 1000.0) * 0.0731 * 1.7_f64.powi(j as i32 - 6))
        });
        for x in std::iter::once(ends).chain(more) {
            let x = x.map(<F as Float>::lit);
            let wide = F::dispatch(Functions(x));
            let portable = Functions(x).run::<P>();
            assert_eq!(wide.len(), portable.len());
            for (a, b) in wide.iter().zip(&portable) {
                assert!(
                    bits(*a) == bits(*b) || (a.is_nan() && b.is_nan()),
                    "{x:?}: {a} {b}"
                );
            }
            // One lane after the other, function by function.
            let n = P::N;
            for (i, x) in x.into_iter().enumerate() {
                let first = i / n * 7 * n + i % n;
                let alone = [x.sigmoid_fast(), x.tanh_fast()];
                for (k, a) in alone.into_iter().enumerate() {
                    let b = wide[first + k * n];
                    assert!(
                        bits(a) == bits(b) || (a.is_nan() && b.is_nan()),
                        "{x}: {a} {b}"
                    );
                }
            }
        }
    }

    #[test]
    fn vectors_have_the_bits_of_numbers() {
        check::<f32, Plain<f32, 8>>(|x| u64::from(x.to_bits()));
        check::<f64, Plain<f64, 4>>(f64::to_bits);
    }
}
