//! `out += a b`, with `b` packed into panels.

use super::dispatch::Task;
use super::lanes::Lanes;
use crate::Float;

/// A matrix in memory: `rows x cols` numbers, any strides.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a, F> {
    data: &'a [F],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a, F: Float> Matrix<'a, F> {
    /// Row-major, `row_stride` numbers from one row to the next.
    ///
    /// # Panics
    /// Where `data` is too short: a mistake of the caller, not of the input.
    pub fn new(data: &'a [F], rows: usize, cols: usize, row_stride: usize) -> Self {
        if rows > 0 && cols > 0 {
            assert!(row_stride >= cols && data.len() >= (rows - 1) * row_stride + cols);
        }
        Self {
            data,
            rows,
            cols,
            row_stride,
            col_stride: 1,
        }
    }

    /// The transpose, without a copy.
    #[must_use]
    pub fn t(self) -> Self {
        Self {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }

    fn at(&self, row: usize, col: usize) -> F {
        self.data[row * self.row_stride + col * self.col_stride]
    }
}

/// Bytes of one panel row: two AVX2 vectors.
const PANEL_BYTES: usize = 64;

/// The right factor of a product, copied into panels `[cols / C][rows][C]`
/// with `C` numbers in 64 bytes, the last panel filled up with zeros.
///
/// Kept by the caller and packed again only when the numbers have changed.
#[derive(Debug, Clone)]
pub struct Packed<F> {
    data: Vec<F>,
    rows: usize,
    cols: usize,
}

impl<F: Float> Default for Packed<F> {
    fn default() -> Self {
        Self {
            data: Vec::new(),
            rows: 0,
            cols: 0,
        }
    }
}

impl<F: Float> Packed<F> {
    /// Rows and columns.
    pub fn dim(&self) -> (usize, usize) {
        (self.rows, self.cols)
    }

    /// Packs one matrix. No allocation once the buffer is large enough, here
    /// and below.
    pub fn pack(&mut self, b: Matrix<'_, F>) {
        self.resize(b.rows, b.cols);
        self.put(b, 0, 0);
    }

    /// Packs blocks with the same number of rows side by side.
    pub fn pack_beside<'a>(&mut self, blocks: impl Iterator<Item = Matrix<'a, F>> + Clone) {
        let rows = blocks.clone().next().map_or(0, |b| b.rows);
        self.resize(rows, blocks.clone().map(|b| b.cols).sum());
        let mut col = 0;
        for b in blocks {
            self.put(b, 0, col);
            col += b.cols;
        }
    }

    /// Packs blocks with the same number of columns one below the other.
    pub fn pack_below<'a>(&mut self, blocks: impl Iterator<Item = Matrix<'a, F>> + Clone) {
        let cols = blocks.clone().next().map_or(0, |b| b.cols);
        self.resize(blocks.clone().map(|b| b.rows).sum(), cols);
        let mut row = 0;
        for b in blocks {
            self.put(b, row, 0);
            row += b.rows;
        }
    }

    fn resize(&mut self, rows: usize, cols: usize) {
        (self.rows, self.cols) = (rows, cols);
        let lanes = PANEL_BYTES / F::BYTES;
        self.data.clear();
        self.data
            .resize(cols.div_ceil(lanes) * rows * lanes, F::zero());
    }

    fn put(&mut self, b: Matrix<'_, F>, row: usize, col: usize) {
        let lanes = PANEL_BYTES / F::BYTES;
        for j in 0..b.cols {
            let (panel, lane) = ((col + j) / lanes, (col + j) % lanes);
            let start = (panel * self.rows + row) * lanes + lane;
            for k in 0..b.rows {
                self.data[start + k * lanes] = b.at(k, j);
            }
        }
    }
}

/// `out (n, m) += a (n, k) b (k, m)`; rows of `out` lie `out_stride` apart.
///
/// # Panics
/// Where the shapes do not fit: a mistake of the caller, not of the input.
pub fn product<F: Float>(a: Matrix<'_, F>, b: &Packed<F>, out: &mut [F], out_stride: usize) {
    assert_eq!(a.cols, b.rows, "inner sizes of a product differ");
    if a.rows == 0 || a.cols == 0 || b.cols == 0 {
        return;
    }
    assert!(out_stride >= b.cols && out.len() >= (a.rows - 1) * out_stride + b.cols);
    F::dispatch(Product {
        a,
        b,
        out,
        out_stride,
    });
}

struct Product<'a, F> {
    a: Matrix<'a, F>,
    b: &'a Packed<F>,
    out: &'a mut [F],
    out_stride: usize,
}

/// Steps of `k` after which the sums go back to memory, so that a panel stays
/// in the first-level cache.
const DEPTH: usize = 256;

/// Vectors in a row of a panel, and rows of a tile: their sums, and what goes
/// into them, fit the sixteen registers of AVX2.
const VECTORS: usize = 2;
const TILE: usize = 4;

impl<F: Float> Task<F> for Product<'_, F> {
    type Out = ();

    #[inline(always)]
    fn run<V: Lanes<F>>(self) {
        let Self {
            a,
            b,
            out,
            out_stride,
        } = self;
        let lanes = VECTORS * V::N;
        debug_assert_eq!(lanes, PANEL_BYTES / F::BYTES);
        for k in (0..a.cols).step_by(DEPTH) {
            let depth = DEPTH.min(a.cols - k);
            for panel in 0..b.cols.div_ceil(lanes) {
                let col = panel * lanes;
                let width = lanes.min(b.cols - col);
                let panel = &b.data[(panel * b.rows + k) * lanes..][..depth * lanes];
                for row in (0..a.rows).step_by(TILE) {
                    let at = Place {
                        a: &a.data[row * a.row_stride + k * a.col_stride..],
                        strides: (a.row_stride, a.col_stride),
                        out: &mut out[row * out_stride + col..],
                        out_stride,
                        width,
                    };
                    match a.rows - row {
                        1 => tile::<F, V, 1>(panel, at),
                        2 => tile::<F, V, 2>(panel, at),
                        3 => tile::<F, V, 3>(panel, at),
                        _ => tile::<F, V, TILE>(panel, at),
                    }
                }
            }
        }
    }
}

/// Where a tile reads and writes.
struct Place<'a, F> {
    a: &'a [F],
    strides: (usize, usize),
    out: &'a mut [F],
    out_stride: usize,
    width: usize,
}

/// `R` rows times one panel, the sums in registers.
#[inline(always)]
fn tile<F: Float, V: Lanes<F>, const R: usize>(panel: &[F], at: Place<'_, F>) {
    let lanes = VECTORS * V::N;
    let depth = panel.len() / lanes;
    let (row_stride, col_stride) = at.strides;
    assert!(at.a.len() > (R - 1) * row_stride + (depth - 1) * col_stride);
    let mut sums = [[V::lit(0.0); VECTORS]; R];
    // A narrow last panel goes through a full row of its own.
    let mut row = [F::zero(); PANEL_BYTES / 4];
    for (r, sums) in sums.iter_mut().enumerate() {
        let out = &at.out[r * at.out_stride..][..at.width];
        let from = if at.width == lanes {
            out
        } else {
            row[..at.width].copy_from_slice(out);
            &row
        };
        *sums = std::array::from_fn(|v| V::load(&from[v * V::N..]));
    }
    for (k, b) in panel.chunks_exact(lanes).enumerate() {
        let b: [V; VECTORS] = std::array::from_fn(|v| V::load(&b[v * V::N..]));
        for (r, sums) in sums.iter_mut().enumerate() {
            // SAFETY: r < R and k < depth, so depth is at least 1 here and the
            // assertion above holds for the largest of both; its products are
            // places in a matrix whose length `Matrix::new` has checked, so
            // they do not overflow.
            let x = unsafe { *at.a.get_unchecked(r * row_stride + k * col_stride) };
            let x = V::splat(x);
            *sums = std::array::from_fn(|v| x.mul_add(b[v], sums[v]));
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        let out = &mut at.out[r * at.out_stride..][..at.width];
        if at.width == lanes {
            for (v, sum) in sums.iter().enumerate() {
                sum.store(&mut out[v * V::N..]);
            }
        } else {
            for (v, sum) in sums.iter().enumerate() {
                sum.store(&mut row[v * V::N..]);
            }
            out.copy_from_slice(&row[..at.width]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers<F: Float>(n: usize, seed: usize) -> Vec<F> {
        (0..n)
            .map(|i| F::lit(((i * 37 + seed * 101) % 97) as f64 / 48.0 - 1.0))
            .collect()
    }

    /// Any shape: equal to the plain triple loop, every row alone has the same
    /// bits as in the batch, and a split of `k` changes no bit.
    fn check<F: Float>(n: usize, k: usize, m: usize, transposed: bool) {
        let (a, b) = (numbers::<F>(n * k, 1), numbers::<F>(k * m, 2));
        let start = numbers::<F>(n * m, 3);
        let a_at = if transposed {
            Matrix::new(&a, k, n, n).t()
        } else {
            Matrix::new(&a, n, k, k)
        };
        let mut packed = Packed::default();
        packed.pack(Matrix::new(&b, k, m, m));
        let mut out = start.clone();
        product(a_at, &packed, &mut out, m);
        for i in 0..n {
            for j in 0..m {
                let terms = (0..k).map(|k| a_at.at(i, k) * b[k * m + j]);
                let plain = terms.fold(start[i * m + j], |s, t| s + t);
                let error = (plain - out[i * m + j]).abs();
                assert!(error <= F::epsilon() * F::lit(4.0 * (k + 1) as f64));
            }
        }
        if !transposed {
            for i in 0..n {
                let mut alone = start[i * m..][..m].to_vec();
                let row = Matrix::new(&a[i * k..], 1, k, k.max(1));
                product(row, &packed, &mut alone, m);
                assert_eq!(alone, out[i * m..][..m]);
            }
        }
    }

    #[test]
    fn equals_the_plain_loop() {
        for n in [0, 1, 2, 3, 4, 5, 17] {
            for k in [0, 1, 3, 64, 300] {
                for m in [0, 1, 7, 8, 16, 17, 65] {
                    for transposed in [false, true] {
                        check::<f32>(n, k, m, transposed);
                        check::<f64>(n, k, m, transposed);
                    }
                }
            }
        }
    }
}
