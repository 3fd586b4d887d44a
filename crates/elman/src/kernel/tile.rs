//! A tile of a product: some rows times one panel, or few rows times several,
//! the sums in registers all the while.

use super::lanes::Lanes;
use crate::Float;
use crate::float::Apart;

/// Rows of a tile by vectors of a panel: with what goes into them, the sums fit
/// the sixteen registers of AVX2.
pub(super) const fn tile_rows(vectors: usize) -> usize {
    match vectors {
        1 | 2 => 6,
        3 => 4,
        _ => 3,
    }
}

/// Vectors of sums that a tile may have.
pub(super) const SUMS: usize = 16;

/// Some rows times some panels, the sums `[row][panel][stride]`, from `first`
/// on the vectors of the product.
pub(super) struct Tile<'a, F, V> {
    pub a: &'a [F],
    pub row_stride: usize,
    pub col_stride: usize,
    pub b: &'a [F],
    pub panel_stride: usize,
    pub depth: usize,
    /// Vectors of a panel, rows, panels.
    pub shape: (usize, usize, usize),
    pub sums: &'a mut [V; SUMS],
    pub first: usize,
    pub stride: usize,
}

impl<F: Float, V: Lanes<F>> Apart for Tile<'_, F, V> {
    /// Compiled once for every vector, not in every product that uses it.
    #[inline(always)]
    fn run(self) {
        match self.shape {
            (1, 1, 1) => self.of::<1, 1, 1>(),
            (1, 2, 1) => self.of::<1, 2, 1>(),
            (1, 3, 1) => self.of::<1, 3, 1>(),
            (1, 4, 1) => self.of::<1, 4, 1>(),
            (1, 5, 1) => self.of::<1, 5, 1>(),
            (1, 6, 1) => self.of::<1, 6, 1>(),
            (2, 1, 1) => self.of::<2, 1, 1>(),
            (2, 2, 1) => self.of::<2, 2, 1>(),
            (2, 3, 1) => self.of::<2, 3, 1>(),
            (2, 4, 1) => self.of::<2, 4, 1>(),
            (2, 5, 1) => self.of::<2, 5, 1>(),
            (2, 6, 1) => self.of::<2, 6, 1>(),
            (2, 1, 4) => self.of::<2, 1, 4>(),
            (2, 2, 2) => self.of::<2, 2, 2>(),
            (2, 3, 2) => self.of::<2, 3, 2>(),
            (3, 1, 1) => self.of::<3, 1, 1>(),
            (3, 2, 1) => self.of::<3, 2, 1>(),
            (3, 3, 1) => self.of::<3, 3, 1>(),
            (3, 4, 1) => self.of::<3, 4, 1>(),
            (3, 1, 3) => self.of::<3, 1, 3>(),
            (3, 2, 2) => self.of::<3, 2, 2>(),
            (4, 1, 1) => self.of::<4, 1, 1>(),
            (4, 2, 1) => self.of::<4, 2, 1>(),
            (4, 3, 1) => self.of::<4, 3, 1>(),
            (4, 1, 2) => self.of::<4, 1, 2>(),
            shape => unreachable!("no tile of {shape:?}"),
        }
    }
}

impl<F: Float, V: Lanes<F>> Tile<'_, F, V> {
    #[expect(clippy::needless_range_loop, reason = "several arrays share an index")]
    #[inline(always)]
    fn of<const N: usize, const R: usize, const P: usize>(self) {
        let (row_stride, col_stride, depth) = (self.row_stride, self.col_stride, self.depth);
        let step = N * V::N;
        assert!(self.a.len() > (R - 1) * row_stride + (depth - 1) * col_stride);
        let (first, stride) = (self.first, self.stride);
        assert!((R * P - 1) * stride + first + N <= SUMS);
        let panels: [&[F]; P] =
            std::array::from_fn(|p| &self.b[p * self.panel_stride..][..depth * step]);
        if P == 1 {
            let a = (self.a, row_stride, col_stride);
            let sums = (&mut self.sums[first..], stride);
            // SAFETY: what is asked of `a` and the sums is asserted above, and a
            // panel has `depth * step` numbers.
            if unsafe { V::steps::<N, R>(a, panels[0], depth, sums) } {
                return;
            }
        }
        // Loops and no closures, which would be compiled without the features
        // of their surroundings.
        let mut sums = [[[V::lit(0.0); N]; P]; R];
        for r in 0..R {
            for p in 0..P {
                for v in 0..N {
                    // SAFETY: the largest index is below SUMS, as asserted.
                    let sum = unsafe { self.sums.get_unchecked((r * P + p) * stride + first + v) };
                    sums[r][p][v] = *sum;
                }
            }
        }
        for k in 0..depth {
            // SAFETY: r < R and k < depth, so the assertion above holds for the
            // largest of both; a panel has `depth * step` numbers; the products
            // are places in slices and do not overflow.
            unsafe {
                // The smaller side waits in registers for the other, of which
                // one at a time is enough: with the sums, sixteen.
                if R <= N * P {
                    let mut x = [V::lit(0.0); R];
                    for r in 0..R {
                        x[r] = V::splat(*self.a.get_unchecked(r * row_stride + k * col_stride));
                    }
                    for p in 0..P {
                        for v in 0..N {
                            let at = k * step + v * V::N;
                            let b: V = V::load(panels[p].get_unchecked(at..at + V::N));
                            for r in 0..R {
                                sums[r][p][v] = x[r].mul_add(b, sums[r][p][v]);
                            }
                        }
                    }
                } else {
                    let mut b = [[V::lit(0.0); N]; P];
                    for p in 0..P {
                        for v in 0..N {
                            let at = k * step + v * V::N;
                            b[p][v] = V::load(panels[p].get_unchecked(at..at + V::N));
                        }
                    }
                    for r in 0..R {
                        let x = *self.a.get_unchecked(r * row_stride + k * col_stride);
                        let x = V::splat(x);
                        for p in 0..P {
                            for v in 0..N {
                                sums[r][p][v] = x.mul_add(b[p][v], sums[r][p][v]);
                            }
                        }
                    }
                }
            }
        }
        for r in 0..R {
            for p in 0..P {
                for v in 0..N {
                    let at = (r * P + p) * stride + first + v;
                    // SAFETY: as above.
                    unsafe { *self.sums.get_unchecked_mut(at) = sums[r][p][v] };
                }
            }
        }
    }
}
