//! Vectors of AVX-512, for the steps of tiles alone: sixteen `f32`, eight `f64`.
//!
//! Compiled where the feature `avx512` of this crate is on, as no processor that
//! has them has run them yet; what is beside these few instructions is tested on
//! others, see [`wide`](super::wide).

use super::avx2::{F32x8, F64x4};
use super::lanes::Lanes;
use super::tile::{Product, Start};
use super::wide::{self, Wide};
use std::arch::x86_64::*;
use std::hint::black_box;

/// Whether this processor has them.
#[inline(always)]
pub fn there() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq")
}

/// [`wide::steps`] with the features of these types.
///
/// # Safety
/// As there; and the processor must have AVX-512.
#[target_feature(enable = "avx512f,avx512dq,avx2,fma")]
pub unsafe fn steps<F: Copy, V, W, const N: usize, const R: usize, const P: usize>(
    products: &[Product<'_, F>],
    start: Option<Start<'_, F>>,
    sums: (&mut [V], usize),
) where
    V: Lanes<F>,
    W: Wide<F, V>,
{
    // SAFETY: the caller's.
    unsafe { wide::steps::<F, V, W, N, R, P>(products, start, sums) }
}

/// [`roof::fma`](super::roof::fma) with these vectors.
#[target_feature(enable = "avx512f,avx512dq,avx2,fma")]
pub fn fma<const SUMS: usize>(iterations: u32) -> u64 {
    let splat = |x: f32| <F32x16 as Wide<f32, F32x8>>::splat(black_box(x));
    let (factor, term) = (splat(0.5), splat(0.5));
    let mut sums: [F32x16; SUMS] = std::array::from_fn(|i| splat(i as f32));
    for _ in 0..iterations {
        for sum in &mut sums {
            *sum = sum.mul_add(factor, term);
        }
    }
    black_box(sums);
    2 * (SUMS * 16) as u64 * u64::from(iterations)
}

macro_rules! wide {
    ($name:ident, $raw:ty, $half:ty, $base:ty, $n:literal, $doc:literal,
     $set:ident $load:ident $fma:ident $wider:ident $insert:ident $extract:ident) => {
        #[doc = $doc]
        #[derive(Debug, Clone, Copy)]
        pub struct $name($raw);

        // SAFETY below: only `steps` has these types run, where the processor has
        // AVX-512.
        impl Wide<$base, $half> for $name {
            #[inline(always)]
            fn join(first: $half, second: $half) -> Self {
                // SAFETY: see above.
                Self(unsafe { $insert::<1>($wider(first.raw()), second.raw()) })
            }

            #[inline(always)]
            fn parts(self) -> [$half; 2] {
                // SAFETY: see above.
                unsafe {
                    let [first, second] = [$extract::<0>(self.0), $extract::<1>(self.0)];
                    [<$half>::of_raw(first), <$half>::of_raw(second)]
                }
            }

            #[inline(always)]
            fn load(from: &[$base]) -> Self {
                let from = &from[..$n];
                // SAFETY: see above.
                Self(unsafe { $load(from.as_ptr()) })
            }

            #[inline(always)]
            fn splat(x: $base) -> Self {
                // SAFETY: see above.
                Self(unsafe { $set(x) })
            }

            #[inline(always)]
            fn mul_add(self, b: Self, c: Self) -> Self {
                // SAFETY: see above.
                Self(unsafe { $fma(self.0, b.0, c.0) })
            }
        }
    };
}

wide!(F32x16, __m512, F32x8, f32, 16, "Sixteen `f32`.",
    _mm512_set1_ps _mm512_loadu_ps _mm512_fmadd_ps
    _mm512_castps256_ps512 _mm512_insertf32x8 _mm512_extractf32x8_ps);

wide!(F64x8, __m512d, F64x4, f64, 8, "Eight `f64`.",
    _mm512_set1_pd _mm512_loadu_pd _mm512_fmadd_pd
    _mm512_castpd256_pd512 _mm512_insertf64x4 _mm512_extractf64x4_pd);
