//! Vectors of numbers: 32 bytes wide, by AVX2 or by plain arrays.

use crate::Float;
use crate::float::{Apart, Scalar};
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

#[cfg(target_arch = "x86_64")]
pub(super) mod avx2 {
    //! These types are for [`dispatch`](super::super::dispatch) alone, which
    //! uses them only after it has asked the processor: this is what every
    //! `SAFETY` line below rests on.

    use super::{Add, Apart, Div, Lanes, Mul, Neg, Scalar, Sub};
    use std::arch::x86_64::*;

    /// [`Scalar::apart`] with the features of these types.
    #[target_feature(enable = "avx2,fma")]
    #[inline(never)]
    fn apart(task: impl Apart) {
        task.run();
    }

    /// From entry `N - n` on: a mask of the first `n` numbers.
    const MASK_32: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
    const MASK_64: [i64; 8] = [-1, -1, -1, -1, 0, 0, 0, 0];

    macro_rules! vector {
        ($name:ident, $raw:ty, $base:ty, $n:literal, $doc:literal,
         $add:ident $sub:ident $mul:ident $div:ident $fma:ident $set:ident $load:ident $store:ident
         $load_part:ident $store_part:ident $mask:ident
         $cmp:ident $blend:ident $max:ident $min:ident $and:ident $xor:ident,
         $to_bits:ident $from_bits:ident $shift:ident, mantissa $mantissa:literal) => {
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
                fn mul_add(self, b: Self, c: Self) -> Self {
                    // SAFETY: the processor has AVX2 and FMA, see above.
                    Self(unsafe { $fma(self.0, b.0, c.0) })
                }

                #[inline(always)]
                fn select_less(self, than: Self, yes: Self, no: Self) -> Self {
                    // SAFETY: the processor has AVX2 and FMA, see above.
                    Self(unsafe { $blend(no.0, yes.0, $cmp::<_CMP_LT_OQ>(self.0, than.0)) })
                }

                // Of two operands one of which is a NaN, the instructions
                // answer the second.

                #[inline(always)]
                fn at_least(self, low: Self) -> Self {
                    // SAFETY: the processor has AVX2 and FMA, see above.
                    Self(unsafe { $max(low.0, self.0) })
                }

                #[inline(always)]
                fn at_most(self, high: Self) -> Self {
                    // SAFETY: the processor has AVX2 and FMA, see above.
                    Self(unsafe { $min(high.0, self.0) })
                }

                #[inline(always)]
                fn apart(task: impl Apart) {
                    // SAFETY: the processor has AVX2 and FMA, see above.
                    unsafe { apart(task) }
                }

                #[inline(always)]
                fn exp2_rounded(self) -> Self {
                    // SAFETY: the processor has AVX2 and FMA, see above.
                    Self(unsafe { $from_bits($shift::<$mantissa>($to_bits(self.0))) })
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
                fn load_part(from: &[$base]) -> Self {
                    let mask = &$mask[$n - from.len()..][..$n];
                    // SAFETY: the mask is as long as the vector and has its
                    // sign bits set for the numbers of the slice, the only ones
                    // read; and the processor has AVX2 and FMA, see above.
                    Self(unsafe {
                        let mask = _mm256_loadu_si256(mask.as_ptr().cast());
                        $load_part(from.as_ptr(), mask)
                    })
                }

                #[inline(always)]
                fn store_part(self, to: &mut [$base]) {
                    let mask = &$mask[$n - to.len()..][..$n];
                    // SAFETY: as in `load_part`, for what is written.
                    unsafe {
                        let mask = _mm256_loadu_si256(mask.as_ptr().cast());
                        $store_part(to.as_mut_ptr(), mask, self.0);
                    }
                }

                #[inline(always)]
                fn splat(x: $base) -> Self {
                    // SAFETY: the processor has AVX2 and FMA, see above.
                    Self(unsafe { $set(x) })
                }
            }
        };
    }

    vector!(F32x8, __m256, f32, 8, "Eight `f32`.",
        _mm256_add_ps _mm256_sub_ps _mm256_mul_ps _mm256_div_ps _mm256_fmadd_ps
        _mm256_set1_ps _mm256_loadu_ps _mm256_storeu_ps
        _mm256_maskload_ps _mm256_maskstore_ps MASK_32
        _mm256_cmp_ps _mm256_blendv_ps _mm256_max_ps _mm256_min_ps
        _mm256_and_ps _mm256_xor_ps,
        _mm256_castps_si256 _mm256_castsi256_ps _mm256_slli_epi32, mantissa 23);

    vector!(F64x4, __m256d, f64, 4, "Four `f64`.",
        _mm256_add_pd _mm256_sub_pd _mm256_mul_pd _mm256_div_pd _mm256_fmadd_pd
        _mm256_set1_pd _mm256_loadu_pd _mm256_storeu_pd
        _mm256_maskload_pd _mm256_maskstore_pd MASK_64
        _mm256_cmp_pd _mm256_blendv_pd _mm256_max_pd _mm256_min_pd
        _mm256_and_pd _mm256_xor_pd,
        _mm256_castpd_si256 _mm256_castsi256_pd _mm256_slli_epi64, mantissa 52);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Task;

    /// Applies every function of a vector to eight numbers.
    struct Functions<F>([F; 8]);

    impl<F: Float> Task<F> for Functions<F> {
        type Out = Vec<[F; 8]>;

        #[inline(always)]
        fn run<V: Lanes<F>>(self) -> Vec<[F; 8]> {
            let mut out = vec![[F::zero(); 8]; 9];
            for at in (0..8).step_by(V::N) {
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
        for x in [ends, denormals.map(|x| x / 4.0)].into_iter().chain(more) {
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
            let turned = std::array::from_fn(|lane| x[(lane + 3) % 8]);
            let turned = F::dispatch(Functions(turned));
            for (wide, turned) in wide.iter().zip(&turned) {
                for (lane, turned) in turned.iter().enumerate() {
                    assert!(same(*turned, wide[(lane + 3) % 8]), "{x:?}");
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
