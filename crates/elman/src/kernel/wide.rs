//! The steps of a tile with vectors twice as long, for AVX-512.
//!
//! The vectors of a panel's row stand beside each other, and so do their sums:
//! two of them are one of AVX-512. Panels, ends and all else stay as they are, and
//! every sum is the same chain of multiply-adds, so that the bits are those of
//! AVX2. The loop is written for any [`Wide`] vector; two of AVX2 side by side are
//! one, which is how it is tested on processors without AVX-512.

use super::lanes::Lanes;
use super::tile::{Product, Start};

/// Two vectors side by side.
pub trait Wide<F, V>: Copy {
    /// The two beside each other.
    fn join(first: V, second: V) -> Self;

    /// The two of them.
    fn parts(self) -> [V; 2];

    /// The first numbers of a slice.
    ///
    /// # Panics
    /// Where there are fewer.
    fn load(from: &[F]) -> Self;

    /// The same number everywhere.
    fn splat(x: F) -> Self;

    /// `self * b + c`, rounded as a vector's.
    #[must_use]
    fn mul_add(self, b: Self, c: Self) -> Self;
}

/// Pairs of vectors in a row of panels at most, and rows of a tile.
const PAIRS: usize = 4;
const ROWS: usize = 6;

/// [`Lanes::steps`] in pairs of vectors, and a single one where their number is
/// odd.
///
/// # Safety
/// As there.
#[inline(always)]
pub unsafe fn steps<F: Copy, V, W, const N: usize, const R: usize, const P: usize>(
    products: &[Product<'_, F>],
    start: Option<Start<'_, F>>,
    (sums, stride): (&mut [V], usize),
) where
    V: Lanes<F>,
    W: Wide<F, V>,
{
    const { assert!(P * (N / 2) <= PAIRS && P * (N % 2) <= PAIRS && R <= ROWS) };
    let zero = V::lit(0.0);
    let mut pairs = [[W::join(zero, zero); PAIRS]; ROWS];
    let mut singles = [[zero; PAIRS]; ROWS];
    for r in 0..R {
        for p in 0..P {
            let begin = |v: usize| match start {
                Some(s) => V::load(&s.from[p * s.panels + v * s.vectors..]),
                None => sums[(r * P + p) * stride + v],
            };
            for i in 0..N / 2 {
                pairs[r][p * (N / 2) + i] = W::join(begin(2 * i), begin(2 * i + 1));
            }
            if N % 2 == 1 {
                singles[r][p] = begin(N - 1);
            }
        }
    }
    for f in products {
        for k in 0..f.depth {
            for p in 0..P {
                // SAFETY: the caller's: the panel has `depth` rows of vectors, and
                // the left factor a number for each row and step.
                let row = unsafe {
                    let at = p * f.panel_stride + k * N * V::N;
                    f.b.get_unchecked(at..at + N * V::N)
                };
                for r in 0..R {
                    // SAFETY: as above.
                    let x = unsafe { *f.a.get_unchecked(r * f.row_stride + k * f.col_stride) };
                    for i in 0..N / 2 {
                        let sum = &mut pairs[r][p * (N / 2) + i];
                        *sum = W::splat(x).mul_add(W::load(&row[2 * i * V::N..]), *sum);
                    }
                    if N % 2 == 1 {
                        let b = V::load(&row[(N - 1) * V::N..]);
                        singles[r][p] = V::splat(x).mul_add(b, singles[r][p]);
                    }
                }
            }
        }
    }
    for r in 0..R {
        for p in 0..P {
            let to = &mut sums[(r * P + p) * stride..][..N];
            for i in 0..N / 2 {
                [to[2 * i], to[2 * i + 1]] = pairs[r][p * (N / 2) + i].parts();
            }
            if N % 2 == 1 {
                to[N - 1] = singles[r][p];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Float;
    use crate::kernel::Task;

    /// Two vectors that are one.
    #[derive(Clone, Copy)]
    struct Pair<V>([V; 2]);

    impl<F: Float, V: Lanes<F>> Wide<F, V> for Pair<V> {
        fn join(first: V, second: V) -> Self {
            Self([first, second])
        }

        fn parts(self) -> [V; 2] {
            self.0
        }

        fn load(from: &[F]) -> Self {
            Self([V::load(from), V::load(&from[V::N..])])
        }

        fn splat(x: F) -> Self {
            Self([V::splat(x); 2])
        }

        fn mul_add(self, b: Self, c: Self) -> Self {
            Self([0, 1].map(|i| self.0[i].mul_add(b.0[i], c.0[i])))
        }
    }

    /// Numbers that are all different.
    fn numbers<F: Float>(count: usize) -> Vec<F> {
        let number = |i: usize| F::lit(((i * 7919) % 1013) as f64 / 331.0 - 1.5);
        (0..count).map(number).collect()
    }

    /// A tile of this shape, in pairs and number by number.
    struct Case<const N: usize, const R: usize, const P: usize>;

    impl<F: Float, const N: usize, const R: usize, const P: usize> Task<F> for Case<N, R, P> {
        type Out = ();

        fn run<V: Lanes<F>>(self) {
            for (depth, col_stride, started) in [(1, 1, false), (9, 1, true), (5, 6, false)] {
                let (row_stride, panel_stride) = (depth * col_stride + 2, depth * N * V::N + 3);
                let a = numbers::<F>(R * row_stride);
                let b = numbers::<F>(P * panel_stride);
                let from = numbers::<F>(40 * V::N);
                let stride = N + 1;
                let f = Product {
                    a: &a,
                    row_stride,
                    col_stride,
                    b: &b,
                    panel_stride,
                    depth,
                };
                let start = started.then_some(Start {
                    from: &from,
                    vectors: 2 * V::N + 1,
                    panels: V::N,
                });
                let first = |i: usize| V::splat(F::lit(i as f64 / 8.0));
                let mut sums: Vec<V> = (0..R * P * stride).map(first).collect();
                let mut expected = Vec::new();
                for r in 0..R {
                    for p in 0..P {
                        for v in 0..N {
                            let mut sum = match start {
                                Some(s) => V::load(&from[p * s.panels + v * s.vectors..]),
                                None => sums[(r * P + p) * stride + v],
                            };
                            for _ in 0..2 {
                                for k in 0..depth {
                                    let x = V::splat(a[r * row_stride + k * col_stride]);
                                    let at = p * panel_stride + (k * N + v) * V::N;
                                    sum = x.mul_add(V::load(&b[at..]), sum);
                                }
                            }
                            expected.push(sum);
                        }
                    }
                }
                // SAFETY: the factors and the sums are as long as the tile asks.
                unsafe { steps::<F, V, Pair<V>, N, R, P>(&[f, f], start, (&mut sums, stride)) };
                let mut own = (0..R * P).flat_map(|at| &sums[at * stride..][..N]);
                for expected in expected {
                    let all = [*own.next().unwrap(), expected].map(|v| {
                        let mut all = [F::zero(); 16];
                        v.store(&mut all);
                        all.map(F::f64).map(f64::to_bits)
                    });
                    assert_eq!(all[0], all[1], "{N} {R} {P}");
                }
            }
        }
    }

    fn all<F: Float>() {
        F::dispatch(Case::<2, 6, 1>);
        F::dispatch(Case::<2, 5, 1>);
        F::dispatch(Case::<4, 3, 1>);
        F::dispatch(Case::<4, 2, 1>);
        F::dispatch(Case::<4, 1, 2>);
        F::dispatch(Case::<3, 4, 1>);
        F::dispatch(Case::<3, 1, 3>);
        F::dispatch(Case::<2, 1, 4>);
        F::dispatch(Case::<1, 4, 1>);
    }

    #[test]
    fn pairs_have_the_bits_of_single_vectors() {
        all::<f32>();
        all::<f64>();
    }
}
