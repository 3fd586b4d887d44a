//! One factor of a product: how the tiles of some rows go past its panels, in
//! blocks of `K`, and from panels of fewer bytes.

use super::compact::{Bf16Tile, Int8, Int8Tile, Panels, Widen};
use super::factor::Factor;
use super::lanes::Lanes;
use super::product::BLOCK_BYTES;
use super::tile::{LINE, Product, Tile};
use crate::Float;
use std::marker::PhantomData;
use std::ops::Range;

/// A factor, whose tiles of a group go past some panels; `stride` vectors of sums
/// a row and panel.
pub(super) struct PartOf<'a, F> {
    pub factor: &'a Factor<'a, F>,
    pub tiles: &'a Tiles,
    pub panels: &'a Range<usize>,
    pub group: Range<usize>,
    pub stride: usize,
}

/// Rows whose panels of two bytes a number are widened in registers; for more,
/// a block of a panel is widened once.
pub(super) const WIDENED: usize = 2;

impl<F: Float> PartOf<'_, F> {
    /// The rows of every tile, and where their sums begin.
    #[inline(always)]
    fn tiles(&self) -> impl Iterator<Item = (Range<usize>, usize)> {
        let stride = self.panels.len() * self.stride;
        let first = self.tiles.rows(self.group.start).start;
        self.group.clone().map(move |tile| {
            let rows = self.tiles.rows(tile);
            let at = (rows.start - first) * stride;
            (rows, at)
        })
    }

    /// Adds the products to the sums.
    #[inline(always)]
    pub fn add<V: Lanes<F>>(&self, depth: usize, room: &mut [V]) {
        match &self.factor.b.data {
            Panels::Full(data) => self.add_full(data, depth, room),
            Panels::Bf16(data) => self.add_bf16(data, room),
            Panels::Int8(data) => self.add_int8(data, room),
        }
    }

    /// Adds the products to the sums, over blocks of `depth` rows.
    #[inline(always)]
    fn add_full<V: Lanes<F>>(&self, data: &[F], depth: usize, room: &mut [V]) {
        let cols = self.factor.a.cols;
        let mut k = 0;
        while k < cols {
            let depth = depth.min(cols - k);
            let mut next = self.after::<V>(data, k, depth);
            let each = next.len().div_ceil(self.group.len());
            let product = self.factor.product(data, self.panels, k, depth);
            for (rows, at) in self.tiles() {
                let (now, later) = next.split_at(each.min(next.len()));
                // A tile asks for a line a step; where it has instructions of its own,
                // for none.
                let steps = if V::REGISTERS < 32 { 0 } else { depth };
                let (now, rest) = now.split_at(now.len().min(steps * LINE / F::BYTES));
                V::fetch(rest);
                next = later;
                V::apart(Tile {
                    products: &[Product {
                        a: &product.a[rows.start * self.factor.a.step()..],
                        ..product
                    }],
                    start: None,
                    shape: (self.factor.b.vectors(), rows.len(), self.panels.len()),
                    sums: &mut room[at..],
                    first: self.factor.first,
                    stride: self.stride,
                    next: now,
                });
            }
            k += depth;
        }
    }

    /// What follows a block, as much again: the next one, or the first of the
    /// next panel, which would be waited for where it is not in the second-level
    /// cache by then. Empty where a panel is not divided.
    #[inline(always)]
    fn after<'a, V: Lanes<F>>(&self, data: &'a [F], k: usize, depth: usize) -> &'a [F] {
        let b = self.factor.b;
        if depth == b.rows {
            return &[];
        }
        let len = depth * b.vectors() * V::N;
        let end = self.panels.start * b.panel_len() + k * b.vectors() * V::N + len;
        &data[end..data.len().min(end + len)]
    }

    /// As [`add_full`](Self::add_full), with panels of two bytes a number.
    #[inline(always)]
    fn add_bf16<V: Lanes<F>>(&self, data: &[u16], room: &mut [V]) {
        let Factor { a, b, first, .. } = *self.factor;
        let vectors = b.vectors();
        let (pairs, width) = (b.rows.div_ceil(2), vectors * V::N);
        let panel_len = 2 * pairs * width;
        if a.rows <= WIDENED {
            V::apart(Bf16Tile {
                a: a.data,
                row_stride: a.row_stride,
                cols: a.cols,
                b: &data[self.panels.start * panel_len..],
                shape: (vectors, a.rows, self.panels.len()),
                sums: room,
                first,
                stride: self.stride,
            });
            return;
        }
        let mut widened = [F::zero(); BLOCK_BYTES / 4];
        let depth = widened.len() / width / 2 * 2;
        for (p, panel) in self.panels.clone().enumerate() {
            let panel = &data[panel * panel_len..][..panel_len];
            let mut k = 0;
            while k < a.cols {
                let depth = depth.min(a.cols - k);
                let block = &panel[k * width..][..2 * depth.div_ceil(2) * width];
                V::apart(Widen {
                    from: block,
                    width,
                    to: &mut widened,
                    vector: PhantomData::<V>,
                });
                for (rows, at) in self.tiles() {
                    V::apart(Tile {
                        products: &[Product {
                            a: &a.data[rows.start * a.row_stride + k..],
                            row_stride: a.row_stride,
                            col_stride: 1,
                            b: &widened,
                            panel_stride: 0,
                            depth,
                        }],
                        start: None,
                        shape: (vectors, rows.len(), 1),
                        sums: &mut room[at..],
                        first: first + p * self.stride,
                        stride: self.panels.len() * self.stride,
                        next: &[],
                    });
                }
                k += depth;
            }
        }
    }

    /// As [`add_full`](Self::add_full), with panels of one byte a number.
    #[inline(always)]
    fn add_int8<V: Lanes<F>>(&self, data: &Int8<F>, room: &mut [V]) {
        let Factor {
            b, first, whole, ..
        } = *self.factor;
        let Some((whole, skipped)) = whole else {
            return;
        };
        let (vectors, pairs) = (b.vectors(), b.rows.div_ceil(2));
        let width = vectors * V::N;
        for (rows, at) in self.tiles() {
            let (a, a_scales) = whole.from(skipped + rows.start);
            V::apart(Int8Tile {
                a,
                a_scales,
                a_stride: whole.dim().1,
                b: &data.numbers[self.panels.start * pairs * 2 * width..],
                b_scales: &data.scales[self.panels.start * width..],
                pairs,
                shape: (vectors, rows.len(), self.panels.len()),
                sums: &mut room[at..],
                first,
                stride: self.stride,
            });
        }
    }
}

/// How rows are divided into tiles.
pub(super) struct Tiles {
    /// Rows in all.
    pub all: usize,
    /// Rows of a tile, one more in the first `larger`.
    pub rows: usize,
    pub larger: usize,
}

impl Tiles {
    /// The rows of a tile.
    #[inline(always)]
    pub fn rows(&self, tile: usize) -> Range<usize> {
        let start = tile * self.rows + tile.min(self.larger);
        let rows = self.rows + usize::from(tile < self.larger);
        start.min(self.all)..(start + rows).min(self.all)
    }

    /// The rows of some tiles.
    #[inline(always)]
    pub fn of(&self, tiles: &Range<usize>) -> Range<usize> {
        self.rows(tiles.start).start..self.rows(tiles.end - 1).end
    }
}
