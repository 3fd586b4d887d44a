//! The factors of products, in the order in which they are read.
//!
//! ```text
//! right, (K, C) in G groups of columns    [panel][K][vectors][lanes]
//! one group: a panel is 2 vectors of its columns
//! G groups:  a panel is 1 vector of the same columns of each group (.. 4)
//! left, a transpose                       [tile][K][rows of a tile]
//! ```

use super::aligned::Aligned;
use super::compact::{Panels, to_bf16, to_int8};
use super::parts::Blocks;
use super::tile::tile_rows;
use super::vectors::Vectors;
use crate::Float;
use crate::params::Storage;

/// A matrix in memory: `rows x cols` numbers, any strides.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a, F> {
    pub(super) data: &'a [F],
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) row_stride: usize,
    pub(super) col_stride: usize,
}

impl<'a, F: Float> Matrix<'a, F> {
    /// Row-major, `row_stride` numbers from one row to the next.
    ///
    /// # Panics
    /// Where `data` is too short: a mistake of the caller, not of the input.
    pub fn new(data: &'a [F], rows: usize, cols: usize, row_stride: usize) -> Self {
        if rows > 0 && cols > 0 {
            assert!(row_stride >= cols && data.len() >= reach(rows, row_stride, cols));
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

    /// Rows and columns.
    pub(super) fn dim(&self) -> (usize, usize) {
        (self.rows, self.cols)
    }

    /// A row of a matrix whose columns follow each other.
    #[inline(always)]
    pub(super) fn row(&self, row: usize) -> &'a [F] {
        debug_assert_eq!(self.col_stride, 1);
        match self.cols {
            0 => &[],
            cols => &self.data[row * self.row_stride..][..cols],
        }
    }

    #[cfg(test)]
    pub(super) fn at(&self, row: usize, col: usize) -> F {
        self.data[row * self.row_stride + col * self.col_stride]
    }
}

/// How many numbers the rows of a matrix reach over; the largest number where
/// that is more.
pub(super) fn reach(rows: usize, stride: usize, cols: usize) -> usize {
    let before = rows.saturating_sub(1).saturating_mul(stride);
    before.saturating_add(cols)
}

/// The right factor of a product, copied into panels, the last one filled up
/// with zeros.
///
/// Kept by the caller and packed again only when the numbers have changed.
#[derive(Debug, Clone)]
pub struct Packed<F> {
    pub(super) data: Panels<F>,
    pub(super) rows: usize,
    pub(super) groups: usize,
    /// Vectors of one group in a panel.
    pub(super) repeats: usize,
    /// Columns of a group.
    pub(super) cols: usize,
    /// Numbers in a vector.
    pub(super) lanes: usize,
}

impl<F: Float> Default for Packed<F> {
    fn default() -> Self {
        Self {
            data: Panels::Full(Aligned::default()),
            rows: 0,
            groups: 1,
            repeats: 2,
            cols: 0,
            lanes: Vectors::here().bytes() / F::BYTES,
        }
    }
}

impl<F: Float> Packed<F> {
    /// Vectors in one row of a panel.
    pub(super) fn vectors(&self) -> usize {
        self.groups * self.repeats
    }

    /// Columns of every group in a panel.
    pub(super) fn width(&self) -> usize {
        self.repeats * self.lanes
    }

    /// Rows and columns of all groups.
    pub fn dim(&self) -> (usize, usize) {
        (self.rows, self.groups * self.cols)
    }

    /// Panels.
    pub(super) fn panels(&self) -> usize {
        self.cols.div_ceil(self.width())
    }

    /// Numbers in a panel.
    pub(super) fn panel_len(&self) -> usize {
        self.rows * self.vectors() * self.lanes
    }

    /// Packs one matrix. No allocation once the buffer is large enough, here
    /// and below.
    pub fn pack(&mut self, b: Matrix<'_, F>) {
        self.pack_below(std::iter::once(b));
    }

    /// Packs up to four matrices of one shape side by side, each a group; a
    /// single one is in panels of one vector where it is not `alone`.
    pub fn pack_beside<'a>(
        &mut self,
        blocks: impl Iterator<Item = Matrix<'a, F>> + Clone,
        alone: bool,
    ) {
        let (rows, cols) = (blocks.clone().next()).map_or((0, 0), |b| (b.rows, b.cols));
        let groups = blocks.clone().count();
        assert!(groups <= 4, "a product has at most four groups of columns");
        self.resize(rows, groups.max(1), cols, alone);
        for (group, b) in blocks.enumerate() {
            self.put(b, 0, group);
        }
    }

    /// Packs blocks with the same number of columns one below the other.
    pub fn pack_below<'a>(&mut self, blocks: impl Iterator<Item = Matrix<'a, F>> + Clone) {
        let cols = blocks.clone().next().map_or(0, |b| b.cols);
        self.resize(blocks.clone().map(|b| b.rows).sum(), 1, cols, true);
        let mut row = 0;
        for b in blocks {
            self.put(b, row, 0);
            row += b.rows;
        }
    }

    /// Makes room for a matrix of `groups` groups of `cols` columns; what is in
    /// it is whatever was there, but for the padding, which is zero.
    pub(super) fn resize(&mut self, rows: usize, groups: usize, cols: usize, alone: bool) {
        (self.rows, self.groups, self.cols) = (rows, groups, cols);
        self.repeats = if alone && groups == 1 { 2 } else { 1 };
        let (panels, len) = (self.panels(), self.panel_len());
        let padded = !cols.is_multiple_of(self.width());
        let data = self.full();
        data.resize(panels * len);
        if padded {
            data[(panels - 1) * len..].fill(F::zero());
        }
    }

    /// The panels of numbers as they are; empty where there are others.
    fn full(&mut self) -> &mut Aligned<F> {
        if !matches!(self.data, Panels::Full(_)) {
            self.data = Panels::Full(Aligned::default());
        }
        match &mut self.data {
            Panels::Full(data) => data,
            _ => unreachable!("made above"),
        }
    }

    /// Keeps the panels in fewer bytes from now on; products with `Int8` ones
    /// need [`Factor::whole`](super::Factor::whole).
    pub fn keep(&mut self, storage: Storage) {
        let (count, rows) = (self.panels(), self.rows);
        let width = self.vectors() * self.lanes;
        let data = std::mem::take(self.full());
        self.data = match storage {
            Storage::Full => Panels::Full(data),
            Storage::Bf16 => Panels::Bf16(to_bf16(&data, count, rows, width)),
            Storage::Int8 => Panels::Int8(to_int8(&data, count, rows, width)),
        };
    }

    /// How the panels are kept.
    pub fn storage(&self) -> Storage {
        match self.data {
            Panels::Full(_) => Storage::Full,
            Panels::Bf16(_) => Storage::Bf16,
            Panels::Int8(_) => Storage::Int8,
        }
    }

    /// Bytes that the panels take as they are.
    pub fn bytes(&self) -> usize {
        self.panels() * self.panel_len() * F::BYTES
    }

    /// The panels of one group, to be filled by several threads.
    pub(super) fn parts(&mut self) -> Blocks<'_, F> {
        let (width, len) = (self.vectors() * self.lanes, self.panel_len());
        Blocks::new(self.full(), width, len)
    }

    /// Copies a matrix to row `row` of a group, some rows at a time, so that both
    /// sides stay in the cache.
    fn put(&mut self, b: Matrix<'_, F>, row: usize, group: usize) {
        let (lanes, groups, repeats) = (self.lanes, self.groups, self.repeats);
        let (stride, len) = (self.vectors() * lanes, self.panel_len());
        let data = self.full();
        for k in (0..b.rows).step_by(TOGETHER) {
            let rows = TOGETHER.min(b.rows - k);
            let (mut panel, mut repeat) = ((row + k) * stride + group * lanes, 0);
            for first in (0..b.cols).step_by(lanes) {
                let count = lanes.min(b.cols - first);
                let from = &b.data[k * b.row_stride + first * b.col_stride..];
                let to = &mut data[panel + repeat * groups * lanes..];
                if b.col_stride == 1 {
                    for i in 0..rows {
                        copy(&from[i * b.row_stride..][..count], &mut to[i * stride..]);
                    }
                } else if b.row_stride == 1 && count == lanes {
                    match lanes {
                        16 => turn::<F, 16>(from, b.col_stride, rows, to, stride),
                        8 => turn::<F, 8>(from, b.col_stride, rows, to, stride),
                        4 => turn::<F, 4>(from, b.col_stride, rows, to, stride),
                        lanes => unreachable!("no vector of {lanes} numbers"),
                    }
                } else {
                    for lane in 0..count {
                        for i in 0..rows {
                            to[i * stride + lane] = from[i * b.row_stride + lane * b.col_stride];
                        }
                    }
                }
                repeat += 1;
                if repeat == repeats {
                    (panel, repeat) = (panel + len, 0);
                }
            }
        }
    }
}

/// Rows that are copied together.
const TOGETHER: usize = 16;

/// Copies to where there is room for a vector; a whole one without a call.
#[inline(always)]
fn copy<F: Float>(from: &[F], to: &mut [F]) {
    fn whole<F: Copy, const N: usize>(from: &[F], to: &mut [F]) -> Option<()> {
        *to.first_chunk_mut::<N>()? = *<&[F; N]>::try_from(from).ok()?;
        Some(())
    }
    let done = whole::<F, 16>(from, to)
        .or_else(|| whole::<F, 8>(from, to))
        .or_else(|| whole::<F, 4>(from, to));
    if done.is_none() {
        to[..from.len()].copy_from_slice(from);
    }
}

/// Copies `N` columns that lie `apart`, each of which follows itself in memory,
/// into rows.
#[inline(always)]
fn turn<F: Float, const N: usize>(
    from: &[F],
    apart: usize,
    rows: usize,
    to: &mut [F],
    stride: usize,
) {
    let columns: [&[F]; N] = std::array::from_fn(|lane| &from[lane * apart..][..rows]);
    for i in 0..rows {
        to[i * stride..][..N].copy_from_slice(&columns.map(|column| column[i]));
    }
}

/// The left factor of a product, copied into tiles `[tile][K][rows of a tile]`:
/// for a transposed one, whose rows lie far apart.
#[derive(Debug, Clone)]
pub struct PackedLeft<F> {
    pub(super) data: Aligned<F>,
    pub(super) rows: usize,
    pub(super) cols: usize,
    /// Rows of a tile.
    tile: usize,
}

impl<F> Default for PackedLeft<F> {
    fn default() -> Self {
        Self {
            data: Aligned::default(),
            rows: 0,
            cols: 0,
            tile: tile_rows(2, Vectors::here().registers()),
        }
    }
}

impl<F: Float> PackedLeft<F> {
    /// Makes room for `rows` rows of `cols` numbers; what is in it is whatever
    /// was there.
    pub(super) fn resize(&mut self, rows: usize, cols: usize) {
        (self.rows, self.cols) = (rows, cols);
        let len = self.tiles() * self.tile * cols;
        self.data.resize(len);
    }

    /// Rows of a tile.
    pub(super) fn tile(&self) -> usize {
        self.tile
    }

    /// Tiles.
    pub(super) fn tiles(&self) -> usize {
        self.rows.div_ceil(self.tile)
    }

    /// The tiles, to be filled by several threads.
    pub(super) fn parts(&mut self) -> Blocks<'_, F> {
        Blocks::new(&mut self.data, self.tile, self.tile * self.cols)
    }
}
