//! Vectors of AVX2.
//!
//! These types are for [`dispatch`](super::dispatch) alone, which
//! uses them only after it has asked the processor: this is what every
//! `SAFETY` line below rests on.

use super::lanes::{Lanes, Whole, nearest, widened};
use super::steps;
use super::tile::{Product, Start};
use crate::float::{Apart, Scalar};
use std::arch::x86_64::*;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// Whether this processor has all that these vectors need.
pub fn there() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

/// Eight whole numbers.
#[derive(Debug, Clone, Copy)]
pub struct I32x8(__m256i);

impl Whole for I32x8 {
    #[inline(always)]
    fn zeros() -> Self {
        // SAFETY: the processor has AVX2 and FMA, see above.
        Self(unsafe { _mm256_setzero_si256() })
    }

    #[inline(always)]
    fn add_pairs(self, a: [i16; 2], w: &[i8]) -> Self {
        let w = &w[..16];
        let a = i32::from(a[1]) << 16 | i32::from(a[0]) & 0xffff;
        // SAFETY: the slice has the sixteen numbers that are read, and the
        // processor has AVX2 and FMA, see above.
        Self(unsafe {
            let w = _mm256_cvtepi8_epi16(_mm_loadu_si128(w.as_ptr().cast()));
            let products = _mm256_madd_epi16(_mm256_set1_epi32(a), w);
            _mm256_add_epi32(self.0, products)
        })
    }
}

/// What differs between the two kinds of vectors.
impl F32x8 {
    #[inline(always)]
    fn whole_into(self, to: &mut [i16]) {
        let to = &mut to[..8];
        // SAFETY: the slice has the eight numbers that are written, and the
        // processor has AVX2 and FMA, see above.
        unsafe {
            let whole = _mm256_cvtps_epi32(self.0);
            let (low, high) = (
                _mm256_castsi256_si128(whole),
                _mm256_extracti128_si256::<1>(whole),
            );
            _mm_storeu_si128(to.as_mut_ptr().cast(), _mm_packs_epi32(low, high));
        }
    }

    #[inline(always)]
    fn from_whole(whole: I32x8) -> Self {
        // SAFETY: the processor has AVX2 and FMA, see above.
        Self(unsafe { _mm256_cvtepi32_ps(whole.0) })
    }

    #[inline(always)]
    fn from_bf16(from: &[u16]) -> [Self; 2] {
        let from = &from[..16];
        // SAFETY: the slice has the sixteen numbers that are read, and the
        // processor has AVX2 and FMA, see above.
        unsafe {
            let pairs = _mm256_loadu_si256(from.as_ptr().cast());
            let second = _mm256_set1_epi32(-1 << 16);
            [
                Self(_mm256_castsi256_ps(_mm256_slli_epi32::<16>(pairs))),
                Self(_mm256_castsi256_ps(_mm256_and_si256(pairs, second))),
            ]
        }
    }
}

impl F64x4 {
    #[inline(always)]
    fn whole_into(self, to: &mut [i16]) {
        let mut numbers = [0.0; 4];
        self.store(&mut numbers);
        for (to, x) in to[..4].iter_mut().zip(numbers) {
            *to = nearest(x);
        }
    }

    #[inline(always)]
    fn from_whole(whole: [i32; 4]) -> Self {
        let [a, b, c, d] = whole;
        Self::load(&[a.into(), b.into(), c.into(), d.into()])
    }

    #[inline(always)]
    fn from_bf16(from: &[u16]) -> [Self; 2] {
        let from = &from[..8];
        let mut all = [[0.0; 4]; 2];
        for i in 0..4 {
            all[0][i] = widened(from[2 * i]);
            all[1][i] = widened(from[2 * i + 1]);
        }
        [Self::load(&all[0]), Self::load(&all[1])]
    }
}

/// [`Scalar::apart`] with the features of these types.
#[target_feature(enable = "avx2,fma")]
#[inline(never)]
fn apart(task: impl Apart) {
    task.run();
}

/// Bytes of a line of the caches.
const LINE: usize = 64;

/// From entry `N - n` on: a mask of the first `n` numbers.
const MASK_32: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
const MASK_64: [i64; 8] = [-1, -1, -1, -1, 0, 0, 0, 0];

macro_rules! vector {
    ($name:ident, $raw:ty, $base:ty, $n:literal, $whole:ty, $doc:literal,
     $add:ident $sub:ident $mul:ident $div:ident $fma:ident $set:ident $load:ident $store:ident
     $load_part:ident $store_part:ident $mask:ident
     $cmp:ident $blend:ident $max:ident $min:ident $and:ident $xor:ident,
     $to_bits:ident $from_bits:ident $shift:ident, mantissa $mantissa:literal,
     $five:ident $six:ident $four:ident $two:ident $three:ident
     $panels_2:ident $panels_3:ident) => {
        #[doc = $doc]
        #[derive(Debug, Clone, Copy)]
        #[repr(transparent)]
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

            type Whole = $whole;

            #[inline(always)]
            fn of_whole(whole: $whole) -> Self {
                Self::from_whole(whole)
            }

            #[inline(always)]
            fn store_whole(self, to: &mut [i16]) {
                self.whole_into(to);
            }

            #[inline(always)]
            fn load_bf16(from: &[u16]) -> [Self; 2] {
                Self::from_bf16(from)
            }

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

            #[inline(always)]
            fn fetch<T>(from: &[T]) {
                let start = from.as_ptr().cast::<i8>();
                for at in (0..size_of_val(from)).step_by(LINE) {
                    // SAFETY: inside of the slice; nothing is read.
                    unsafe { _mm_prefetch::<_MM_HINT_T1>(start.add(at)) };
                }
            }

            #[inline(always)]
            fn fetch_last<T>(from: &[T]) {
                if let Some(last) = from.last() {
                    // SAFETY: inside of the slice; nothing is read.
                    unsafe { _mm_prefetch::<_MM_HINT_T1>(std::ptr::from_ref(last).cast()) };
                }
            }

            #[inline(always)]
            unsafe fn steps<const N: usize, const R: usize, const P: usize>(
                products: &[Product<'_, $base>],
                start: Option<Start<'_, $base>>,
                (sums, stride): (&mut [Self], usize),
            ) -> bool {
                let steps = match (R, N, P, products[0].col_stride) {
                    (5, 2, 1, 1) => steps::$five::<{ size_of::<$base>() }>,
                    (6, 2, 1, 1) => steps::$six::<{ size_of::<$base>() }>,
                    (6, 2, 1, 6) => steps::$six::<{ 6 * size_of::<$base>() }>,
                    (4, 3, 1, 1) => steps::$four::<{ size_of::<$base>() }>,
                    (2, 4, 1, 1) => steps::$two::<{ size_of::<$base>() }>,
                    (3, 4, 1, 1) => steps::$three::<{ size_of::<$base>() }>,
                    (1, 4, 2, 1) => steps::$panels_2::<{ size_of::<$base>() }>,
                    (1, 3, 3, 1) => steps::$panels_3::<{ size_of::<$base>() }>,
                    _ => return false,
                };
                // SAFETY: the caller's; this type is nothing but its vector;
                // and the processor has AVX2 and FMA, see above.
                unsafe { steps(products, start, sums.as_mut_ptr().cast(), stride) };
                true
            }
        }
    };
}

vector!(F32x8, __m256, f32, 8, I32x8, "Eight `f32`.",
    _mm256_add_ps _mm256_sub_ps _mm256_mul_ps _mm256_div_ps _mm256_fmadd_ps
    _mm256_set1_ps _mm256_loadu_ps _mm256_storeu_ps
    _mm256_maskload_ps _mm256_maskstore_ps MASK_32
    _mm256_cmp_ps _mm256_blendv_ps _mm256_max_ps _mm256_min_ps
    _mm256_and_ps _mm256_xor_ps,
    _mm256_castps_si256 _mm256_castsi256_ps _mm256_slli_epi32, mantissa 23,
    f32_5x2 f32_6x2 f32_4x3 f32_2x4 f32_3x4
    f32_1x4x2 f32_1x3x3);

vector!(F64x4, __m256d, f64, 4, [i32; 4], "Four `f64`.",
    _mm256_add_pd _mm256_sub_pd _mm256_mul_pd _mm256_div_pd _mm256_fmadd_pd
    _mm256_set1_pd _mm256_loadu_pd _mm256_storeu_pd
    _mm256_maskload_pd _mm256_maskstore_pd MASK_64
    _mm256_cmp_pd _mm256_blendv_pd _mm256_max_pd _mm256_min_pd
    _mm256_and_pd _mm256_xor_pd,
    _mm256_castpd_si256 _mm256_castsi256_pd _mm256_slli_epi64, mantissa 52,
    f64_5x2 f64_6x2 f64_4x3 f64_2x4 f64_3x4
    f64_1x4x2 f64_1x3x3);
