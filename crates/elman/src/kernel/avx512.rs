//! Vectors of AVX-512: sixteen `f32`, eight `f64`, and twice the registers of
//! AVX2 for them.
//!
//! What they do to a number is what AVX2's do to it, instruction by instruction,
//! so that the bits are the same.
//!
//! These types are for [`dispatch`](super::dispatch) alone, which
//! uses them only after it has asked the processor: this is what every
//! `SAFETY` line below rests on.

use super::lanes::{Lanes, Whole, nearest, widened};
use crate::float::{Apart, Scalar};
use std::arch::x86_64::*;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// Whether this processor has all that these vectors need.
pub fn there() -> bool {
    super::avx2::there()
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
}

/// Sixteen whole numbers.
#[derive(Debug, Clone, Copy)]
pub struct I32x16(__m512i);

impl Whole for I32x16 {
    #[inline(always)]
    fn zeros() -> Self {
        // SAFETY: the processor has AVX-512, see above.
        Self(unsafe { _mm512_setzero_si512() })
    }

    #[inline(always)]
    fn add_pairs(self, a: [i16; 2], w: &[i8]) -> Self {
        let w = &w[..32];
        let a = i32::from(a[1]) << 16 | i32::from(a[0]) & 0xffff;
        // SAFETY: the slice has the thirty-two numbers that are read, and the
        // processor has AVX-512, see above.
        Self(unsafe {
            let w = _mm512_cvtepi8_epi16(_mm256_loadu_si256(w.as_ptr().cast()));
            let products = _mm512_madd_epi16(_mm512_set1_epi32(a), w);
            _mm512_add_epi32(self.0, products)
        })
    }
}

/// What differs between the two kinds of vectors.
impl F32x16 {
    #[inline(always)]
    fn whole_into(self, to: &mut [i16]) {
        let to = &mut to[..16];
        // SAFETY: the slice has the sixteen numbers that are written, and the
        // processor has AVX-512, see above.
        unsafe {
            let whole = _mm512_cvtsepi32_epi16(_mm512_cvtps_epi32(self.0));
            _mm256_storeu_si256(to.as_mut_ptr().cast(), whole);
        }
    }

    #[inline(always)]
    fn from_whole(whole: I32x16) -> Self {
        // SAFETY: the processor has AVX-512, see above.
        Self(unsafe { _mm512_cvtepi32_ps(whole.0) })
    }

    #[inline(always)]
    fn from_bf16(from: &[u16]) -> [Self; 2] {
        let from = &from[..32];
        // SAFETY: the slice has the thirty-two numbers that are read, and the
        // processor has AVX-512, see above.
        unsafe {
            let pairs = _mm512_loadu_si512(from.as_ptr().cast());
            let second = _mm512_set1_epi32(-1 << 16);
            [
                Self(_mm512_castsi512_ps(_mm512_slli_epi32::<16>(pairs))),
                Self(_mm512_castsi512_ps(_mm512_and_si512(pairs, second))),
            ]
        }
    }
}

impl F64x8 {
    #[inline(always)]
    fn whole_into(self, to: &mut [i16]) {
        let mut numbers = [0.0; 8];
        self.store(&mut numbers);
        for (to, x) in to[..8].iter_mut().zip(numbers) {
            *to = nearest(x);
        }
    }

    #[inline(always)]
    fn from_whole(whole: [i32; 8]) -> Self {
        let mut numbers = [0.0; 8];
        for i in 0..8 {
            numbers[i] = whole[i].into();
        }
        Self::load(&numbers)
    }

    #[inline(always)]
    fn from_bf16(from: &[u16]) -> [Self; 2] {
        let from = &from[..16];
        let mut all = [[0.0; 8]; 2];
        for i in 0..8 {
            all[0][i] = widened(from[2 * i]);
            all[1][i] = widened(from[2 * i + 1]);
        }
        [Self::load(&all[0]), Self::load(&all[1])]
    }
}

/// [`Scalar::apart`] with the features of these types.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
#[inline(never)]
fn apart(task: impl Apart) {
    task.run();
}

/// Bytes of a line of the caches.
const LINE: usize = 64;

macro_rules! vector {
    ($name:ident, $raw:ty, $base:ty, $n:literal, $mask:ty, $whole:ty, $doc:literal,
     $add:ident $sub:ident $mul:ident $div:ident $fma:ident $set:ident $load:ident $store:ident
     $load_part:ident $store_part:ident
     $cmp:ident $blend:ident $max:ident $min:ident $abs:ident $xor:ident,
     $to_bits:ident $from_bits:ident $shift:ident, mantissa $mantissa:literal) => {
        #[doc = $doc]
        #[derive(Debug, Clone, Copy)]
        #[repr(transparent)]
        pub struct $name($raw);

        impl Add for $name {
            type Output = Self;

            #[inline(always)]
            fn add(self, b: Self) -> Self {
                // SAFETY: the processor has AVX-512, see above.
                Self(unsafe { $add(self.0, b.0) })
            }
        }

        impl Sub for $name {
            type Output = Self;

            #[inline(always)]
            fn sub(self, b: Self) -> Self {
                // SAFETY: the processor has AVX-512, see above.
                Self(unsafe { $sub(self.0, b.0) })
            }
        }

        impl Mul for $name {
            type Output = Self;

            #[inline(always)]
            fn mul(self, b: Self) -> Self {
                // SAFETY: the processor has AVX-512, see above.
                Self(unsafe { $mul(self.0, b.0) })
            }
        }

        impl Div for $name {
            type Output = Self;

            #[inline(always)]
            fn div(self, b: Self) -> Self {
                // SAFETY: the processor has AVX-512, see above.
                Self(unsafe { $div(self.0, b.0) })
            }
        }

        impl Neg for $name {
            type Output = Self;

            #[inline(always)]
            fn neg(self) -> Self {
                // SAFETY: the processor has AVX-512, see above.
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
                // SAFETY: the processor has AVX-512, see above.
                Self(unsafe { $abs(self.0) })
            }

            #[inline(always)]
            fn mul_add(self, b: Self, c: Self) -> Self {
                // SAFETY: the processor has AVX-512, see above.
                Self(unsafe { $fma(self.0, b.0, c.0) })
            }

            #[inline(always)]
            fn select_less(self, than: Self, yes: Self, no: Self) -> Self {
                // SAFETY: the processor has AVX-512, see above.
                Self(unsafe { $blend($cmp::<_CMP_LT_OQ>(self.0, than.0), no.0, yes.0) })
            }

            // Of two operands one of which is a NaN, the instructions
            // answer the second.

            #[inline(always)]
            fn at_least(self, low: Self) -> Self {
                // SAFETY: the processor has AVX-512, see above.
                Self(unsafe { $max(low.0, self.0) })
            }

            #[inline(always)]
            fn at_most(self, high: Self) -> Self {
                // SAFETY: the processor has AVX-512, see above.
                Self(unsafe { $min(high.0, self.0) })
            }

            #[inline(always)]
            fn apart(task: impl Apart) {
                // SAFETY: the processor has AVX-512, see above.
                unsafe { apart(task) }
            }

            #[inline(always)]
            fn exp2_rounded(self) -> Self {
                // SAFETY: the processor has AVX-512, see above.
                Self(unsafe { $from_bits($shift::<$mantissa>($to_bits(self.0))) })
            }
        }

        impl $name {
            /// The bits of the first `count` numbers.
            #[inline(always)]
            fn first(count: usize) -> $mask {
                assert!(count <= $n);
                ((1_u32 << count) - 1) as $mask
            }
        }

        impl Lanes<$base> for $name {
            const N: usize = $n;

            const REGISTERS: usize = 32;

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
                // the processor has AVX-512, see above.
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
                let mask = Self::first(from.len());
                // SAFETY: the mask has the bits of the numbers of the slice, the
                // only ones read; and the processor has AVX-512, see above.
                Self(unsafe { $load_part(mask, from.as_ptr()) })
            }

            #[inline(always)]
            fn store_part(self, to: &mut [$base]) {
                let mask = Self::first(to.len());
                // SAFETY: as in `load_part`, for what is written.
                unsafe { $store_part(to.as_mut_ptr(), mask, self.0) };
            }

            #[inline(always)]
            fn splat(x: $base) -> Self {
                // SAFETY: the processor has AVX-512, see above.
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
                if let [first, .., last] = from {
                    // SAFETY: inside of the slice; nothing is read.
                    unsafe { _mm_prefetch::<_MM_HINT_T1>(std::ptr::from_ref(last).cast()) };
                    if size_of_val(from) > LINE {
                        // SAFETY: as above.
                        unsafe { _mm_prefetch::<_MM_HINT_T1>(std::ptr::from_ref(first).cast()) };
                    }
                }
            }
        }
    };
}

vector!(F32x16, __m512, f32, 16, __mmask16, I32x16, "Sixteen `f32`.",
    _mm512_add_ps _mm512_sub_ps _mm512_mul_ps _mm512_div_ps _mm512_fmadd_ps
    _mm512_set1_ps _mm512_loadu_ps _mm512_storeu_ps
    _mm512_maskz_loadu_ps _mm512_mask_storeu_ps
    _mm512_cmp_ps_mask _mm512_mask_blend_ps _mm512_max_ps _mm512_min_ps
    _mm512_abs_ps _mm512_xor_ps,
    _mm512_castps_si512 _mm512_castsi512_ps _mm512_slli_epi32, mantissa 23);

vector!(F64x8, __m512d, f64, 8, __mmask8, [i32; 8], "Eight `f64`.",
    _mm512_add_pd _mm512_sub_pd _mm512_mul_pd _mm512_div_pd _mm512_fmadd_pd
    _mm512_set1_pd _mm512_loadu_pd _mm512_storeu_pd
    _mm512_maskz_loadu_pd _mm512_mask_storeu_pd
    _mm512_cmp_pd_mask _mm512_mask_blend_pd _mm512_max_pd _mm512_min_pd
    _mm512_abs_pd _mm512_xor_pd,
    _mm512_castpd_si512 _mm512_castsi512_pd _mm512_slli_epi64, mantissa 52);
