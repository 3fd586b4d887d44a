//! A tile of a product: some rows times one panel, or few rows times several,
//! the sums in registers all the while.

use super::lanes::Lanes;
use crate::Float;
use crate::float::Apart;

/// Rows of a tile by vectors of a panel: with what goes into them, the sums fit
/// the registers.
pub(super) const fn tile_rows(vectors: usize, registers: usize) -> usize {
    let most = match vectors {
        1 | 2 => 6,
        3 => 4,
        _ => 3,
    };
    if registers < 32 { most } else { 2 * most }
}

/// Bytes of a line of the caches.
pub(super) const LINE: usize = 64;

/// Vectors of sums that a tile may have.
pub(super) const fn tile_sums(registers: usize) -> usize {
    if registers < 32 { 16 } else { 32 }
}

/// The same of any tile.
pub(super) const SUMS: usize = tile_sums(32);

impl<F> Start<'_, F> {
    /// The same from another panel on.
    #[inline(always)]
    #[must_use]
    pub fn from(self, panel: usize) -> Self {
        Self {
            from: &self.from[panel * self.panels..],
            ..self
        }
    }
}

/// What is multiplied in a tile: numbers of some rows with as many rows of some
/// panels.
#[derive(Clone, Copy)]
pub struct Product<'a, F> {
    pub a: &'a [F],
    pub row_stride: usize,
    pub col_stride: usize,
    pub b: &'a [F],
    pub panel_stride: usize,
    pub depth: usize,
}

/// What the sums of all rows begin with: whole vectors, those of one panel and
/// the panels so many numbers apart.
#[derive(Clone, Copy)]
pub struct Start<'a, F> {
    pub from: &'a [F],
    pub vectors: usize,
    pub panels: usize,
}

/// Some rows times some panels, one product after the other, the sums
/// `[row][panel][stride]`, from `first` on the vectors of the products.
pub(super) struct Tile<'a, F, V> {
    pub products: &'a [Product<'a, F>],
    /// What the sums begin with, in place of what they are.
    pub start: Option<Start<'a, F>>,
    /// Vectors of a panel, rows, panels.
    pub shape: (usize, usize, usize),
    pub sums: &'a mut [V],
    pub first: usize,
    pub stride: usize,
    /// What is going to be read after this tile, which is asked for on the way.
    pub next: &'a [F],
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
            shape if V::REGISTERS < 32 => unreachable!("no tile of {shape:?}"),
            (1, 7, 1) => self.of::<1, 7, 1>(),
            (1, 8, 1) => self.of::<1, 8, 1>(),
            (1, 9, 1) => self.of::<1, 9, 1>(),
            (1, 10, 1) => self.of::<1, 10, 1>(),
            (1, 11, 1) => self.of::<1, 11, 1>(),
            (1, 12, 1) => self.of::<1, 12, 1>(),
            (2, 7, 1) => self.of::<2, 7, 1>(),
            (2, 8, 1) => self.of::<2, 8, 1>(),
            (2, 9, 1) => self.of::<2, 9, 1>(),
            (2, 10, 1) => self.of::<2, 10, 1>(),
            (2, 11, 1) => self.of::<2, 11, 1>(),
            (2, 12, 1) => self.of::<2, 12, 1>(),
            (3, 5, 1) => self.of::<3, 5, 1>(),
            (3, 6, 1) => self.of::<3, 6, 1>(),
            (3, 7, 1) => self.of::<3, 7, 1>(),
            (3, 8, 1) => self.of::<3, 8, 1>(),
            (4, 4, 1) => self.of::<4, 4, 1>(),
            (4, 5, 1) => self.of::<4, 5, 1>(),
            (4, 6, 1) => self.of::<4, 6, 1>(),
            shape => unreachable!("no tile of {shape:?}"),
        }
    }
}

impl<F: Float, V: Lanes<F>> Tile<'_, F, V> {
    #[expect(clippy::needless_range_loop, reason = "several arrays share an index")]
    #[inline(always)]
    fn of<const N: usize, const R: usize, const P: usize>(self) {
        let step = N * V::N;
        let (first, stride) = (self.first, self.stride);
        assert!((R * P - 1) * stride + first + N <= self.sums.len());
        let mut unit = true;
        for f in self.products {
            assert!(f.a.len() > (R - 1) * f.row_stride + (f.depth - 1) * f.col_stride);
            assert!(f.b.len() >= (P - 1) * f.panel_stride + f.depth * step);
            unit &= f.col_stride == 1;
        }
        if unit || self.products.len() == 1 {
            let sums = (&mut self.sums[first..], stride);
            // SAFETY: what is asked of the products and the sums is asserted
            // above.
            if unsafe { V::steps::<N, R, P>(self.products, self.start, sums) } {
                return;
            }
        }
        // Loops and no closures, which would be compiled without the features
        // of their surroundings.
        let mut sums = [[[V::lit(0.0); N]; P]; R];
        for p in 0..P {
            for v in 0..N {
                if let Some(start) = self.start {
                    let same = V::load(&start.from[p * start.panels + v * start.vectors..]);
                    for r in 0..R {
                        sums[r][p][v] = same;
                    }
                } else {
                    for r in 0..R {
                        let at = (r * P + p) * stride + first + v;
                        // SAFETY: the largest index is inside, as asserted.
                        sums[r][p][v] = unsafe { *self.sums.get_unchecked(at) };
                    }
                }
            }
        }
        for f in self.products {
            let panels: [&[F]; P] =
                std::array::from_fn(|p| &f.b[p * f.panel_stride..][..f.depth * step]);
            // A line of what is next at a time, so that they do not wait for each
            // other, nor the loads of this tile for them. Never more at once: a loop
            // in here would have the sums leave their registers.
            let mut next = self.next.chunks(LINE / F::BYTES);
            let every = f.depth.checked_div(next.len()).unwrap_or(f.depth).max(1);
            let mut ask = 0;
            for k in 0..f.depth {
                if k == ask {
                    if let Some(line) = next.next() {
                        V::fetch_last(line);
                    }
                    ask += every;
                }
                // SAFETY: r < R, p < P and k < depth, so the assertions above hold for
                // the largest of each; the products are places in slices and do not
                // overflow.
                unsafe {
                    // The smaller side waits in registers for the other, of which
                    // one at a time is enough: with the sums, as many as there are registers.
                    if R <= N * P {
                        let mut x = [V::lit(0.0); R];
                        for r in 0..R {
                            x[r] =
                                V::splat(*f.a.get_unchecked(r * f.row_stride + k * f.col_stride));
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
                            let x = *f.a.get_unchecked(r * f.row_stride + k * f.col_stride);
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
