//! What is multiplied in a product: rows, and the panels that they go past.

use super::compact::{Panels, WholeRows};
use super::packed::{Matrix, Packed};
use super::tile::Product;
use crate::Float;
use std::ops::Range;

/// One of the products that are added to the same sums.
#[derive(Clone, Copy)]
pub struct Factor<'a, F> {
    pub(super) a: Left<'a, F>,
    pub(super) b: &'a Packed<F>,
    /// The sum that the first group is added to.
    pub(super) first: usize,
    /// The left factor as whole numbers, and which of their rows is its first.
    pub(super) whole: Option<(&'a WholeRows<F>, usize)>,
}

impl<'a, F: Float> Factor<'a, F> {
    /// `a b`.
    pub fn of(a: Matrix<'a, F>, b: &'a Packed<F>) -> Self {
        Self {
            a: Left::of(a),
            b,
            first: 0,
            whole: None,
        }
    }

    /// The same with the left factor as whole numbers beside, which panels of
    /// one byte a number are multiplied with.
    #[must_use]
    pub fn whole(self, whole: &'a WholeRows<F>) -> Self {
        Self {
            whole: Some((whole, 0)),
            ..self
        }
    }

    /// The same of some rows.
    pub(super) fn rows(self, rows: Range<usize>) -> Self {
        let skipped = (rows.start * self.a.row_stride).min(self.a.data.len());
        Self {
            a: Left {
                data: &self.a.data[skipped..],
                rows: rows.len(),
                ..self.a
            },
            whole: self.whole.map(|(whole, first)| (whole, first + rows.start)),
            ..self
        }
    }

    /// The same for the sums from `first` on.
    #[must_use]
    pub fn from(self, first: usize) -> Self {
        Self { first, ..self }
    }

    /// Whether the panels are numbers.
    #[inline(always)]
    pub(super) fn is_full(&self) -> bool {
        matches!(self.b.data, Panels::Full(_))
    }

    /// All rows times all of some panels; `None` where there is nothing to
    /// multiply, or the panels are not numbers.
    #[inline(always)]
    pub(super) fn past(&self, panels: &Range<usize>) -> Option<Product<'a, F>> {
        match &self.b.data {
            Panels::Full(data) if self.a.cols > 0 => {
                Some(self.product(data, panels, 0, self.a.cols))
            }
            _ => None,
        }
    }

    /// All rows times `depth` rows of some panels from `k` on.
    #[inline(always)]
    pub(super) fn product(
        &self,
        data: &'a [F],
        panels: &Range<usize>,
        k: usize,
        depth: usize,
    ) -> Product<'a, F> {
        let Self { a, b, .. } = *self;
        let len = b.panel_len();
        Product {
            a: &a.data[k * a.col_stride..],
            row_stride: a.row_stride,
            col_stride: a.col_stride,
            b: &data[panels.start * len + k * b.vectors() * b.lanes..],
            panel_stride: len,
            depth,
        }
    }

    /// Panels of the right factor.
    pub(super) fn panels(&self) -> usize {
        self.b.panels()
    }

    /// Multiplications and additions.
    pub(super) fn flop(&self) -> usize {
        2 * self.a.rows * self.b.rows * self.b.groups * self.b.cols
    }

    /// That it has so many rows and columns a group, and that panels have two
    /// vectors of a group where it is `alone`.
    pub(super) fn check(&self, rows: usize, cols: usize, alone: bool) {
        assert!(self.a.rows == rows && self.b.cols == cols);
        assert!(self.b.repeats == if alone { 2 } else { 1 });
    }

    /// Bytes of one panel.
    #[inline(always)]
    pub(super) fn bytes(&self) -> usize {
        let number = match self.b.data {
            Panels::Full(_) => F::BYTES,
            Panels::Bf16(_) => 2,
            Panels::Int8(_) => 1,
        };
        self.b.panel_len() * number
    }
}

/// The left factor: a matrix, or tiles of one.
#[derive(Clone, Copy)]
pub(super) struct Left<'a, F> {
    pub data: &'a [F],
    pub rows: usize,
    pub cols: usize,
    pub row_stride: usize,
    pub col_stride: usize,
    /// Whether whole tiles follow each other, and not rows.
    pub tiled: bool,
}

impl<'a, F: Float> Left<'a, F> {
    #[inline(always)]
    pub fn of(a: Matrix<'a, F>) -> Self {
        Self {
            data: a.data,
            rows: a.rows,
            cols: a.cols,
            row_stride: a.row_stride,
            col_stride: a.col_stride,
            tiled: false,
        }
    }

    /// From the numbers of one row to those of the next, the first of a tile.
    #[inline(always)]
    pub fn step(&self) -> usize {
        match self.tiled {
            true => self.cols,
            false => self.row_stride,
        }
    }

    /// The numbers from a row on, which is the first of a tile.
    #[inline(always)]
    pub fn from(&self, row: usize) -> &'a [F] {
        &self.data[row * self.step()..]
    }
}
