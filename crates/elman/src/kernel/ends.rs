//! Where the sums of a product come from and where they go.

use super::lanes::Lanes;
use super::parts::Parts;
use crate::Float;
use std::ops::Range;

/// Where the sums of a product come from and where they go.
///
/// A row is one of the product, `at` is the first of its columns in every group
/// and how many exist from there on; the sums of a row and a panel are one vector
/// a group, or, where there is one sum a column, two vectors. There are `count`
/// of them a panel, and from one row to the next it is `stride`.
pub trait Ends<F> {
    /// Vectors of sums of a row and a panel, where they are always as many: their
    /// loops go away.
    const VECTORS: Option<usize> = None;

    /// Whether [`soon`](Self::soon) is worth its time where all sums of the
    /// product take so many bytes.
    #[inline(always)]
    fn far(&self, _bytes: usize) -> bool {
        false
    }

    /// Whether the last panels go by first, where that makes a difference: those
    /// that went by last are still in the cache.
    #[inline(always)]
    fn backward(&self) -> bool {
        false
    }

    /// Says what [`begin`](Self::begin) and [`end`](Self::end) are going to read
    /// and write, which may be far away.
    #[inline(always)]
    fn soon<V: Lanes<F>>(&self, _row: usize, _col: usize, _width: usize) {}

    /// The numbers that the sums of every row begin with from column `col` on,
    /// and how far the vectors of a panel are apart there, where it is whole;
    /// `None` where rows begin with different ones.
    #[inline(always)]
    fn start<V: Lanes<F>>(&self, _col: usize) -> Option<(&[F], usize)> {
        None
    }

    /// Fills the sums of some rows before the first product.
    fn begin<V: Lanes<F>>(
        &self,
        rows: Range<usize>,
        at: (usize, usize),
        sums: &mut [V],
        stride: (usize, usize),
    );

    /// Takes the finished sums of some rows, which may be changed.
    fn end<V: Lanes<F>>(
        &self,
        rows: Range<usize>,
        at: (usize, usize),
        sums: &mut [V],
        stride: (usize, usize),
    );
}

/// Bytes of sums that are near anyway.
const NEAR: usize = 48 << 10;

/// As [`InPlace`], but what is added is multiplied with a mask first.
pub struct Scaled<'a, F> {
    pub out: InPlace<'a, F>,
    /// (rows, mask_stride).
    pub mask: &'a [F],
    pub mask_stride: usize,
}

impl<F: Float> Ends<F> for Scaled<'_, F> {
    #[inline(always)]
    fn begin<V: Lanes<F>>(
        &self,
        _: Range<usize>,
        _: (usize, usize),
        sums: &mut [V],
        _: (usize, usize),
    ) {
        sums.fill(V::lit(0.0));
    }

    #[inline(always)]
    fn end<V: Lanes<F>>(
        &self,
        rows: Range<usize>,
        (col, width): (usize, usize),
        sums: &mut [V],
        (count, stride): (usize, usize),
    ) {
        let each = count * V::N;
        for (row, sums) in rows.zip(sums.chunks(stride)) {
            for (p, sums) in sums.chunks(count).enumerate() {
                let (col, width) = (col + p * each, each.min(width - p * each));
                for (v, sum) in sums.iter().enumerate() {
                    let (at, count) = self.out.place::<V>(col, width, v);
                    let mask: V = load(self.mask, row * self.mask_stride + at, count);
                    let to = self.out.at(row, at, count);
                    let so_far: V = load(to, 0, count);
                    store(so_far + *sum * mask, to, 0, count);
                }
            }
        }
    }
}

/// Rows in memory as the ends of a product: sums are added to what is there.
///
/// Whoever makes one has found `rows` rows of all groups inside of `out`, and
/// gives no two threads the same rows and columns.
pub struct InPlace<'a, F> {
    pub(super) out: &'a Parts<'a, F>,
    /// The row of `out` that is the product's first.
    pub first: usize,
    pub rows: usize,
    pub stride: usize,
    /// Columns of a group, and from one group to the next.
    pub cols: usize,
    pub groups: usize,
    /// What the sums begin with, in place of what is there.
    pub start: Option<&'a [F]>,
}

impl<F: Float> InPlace<'_, F> {
    /// Where vector `v` lies in a row, and how many of its numbers exist.
    #[inline(always)]
    fn place<V: Lanes<F>>(&self, col: usize, width: usize, v: usize) -> (usize, usize) {
        let (repeat, group) = if self.groups == 1 { (v, 0) } else { (0, v) };
        let left = width.saturating_sub(repeat * V::N).min(V::N);
        let at = group * self.cols + col;
        (if left > 0 { at + repeat * V::N } else { at }, left)
    }

    /// `count` numbers of a row from `at` on.
    #[inline(always)]
    #[expect(clippy::mut_from_ref, reason = "one at a time, of this thread's own")]
    fn at(&self, row: usize, at: usize, count: usize) -> &mut [F] {
        debug_assert!(row < self.rows && at + count <= self.groups * self.cols);
        // SAFETY: a product asks for its own rows and columns only, which are
        // inside of `out`, no other thread's, and in use one at a time.
        unsafe { self.out.at((self.first + row) * self.stride + at, count) }
    }

    /// From one vector of a panel to the next: columns of a single group, or
    /// from group to group.
    #[inline(always)]
    fn strides<V: Lanes<F>>(&self) -> (usize, usize) {
        if self.groups == 1 {
            (V::N, 0)
        } else {
            (0, self.cols)
        }
    }

    /// Whether all vectors of a panel are whole.
    #[inline(always)]
    fn whole<V: Lanes<F>>(&self, width: usize, vectors: usize) -> bool {
        match self.groups {
            1 => width == V::N * vectors,
            _ => width == V::N,
        }
    }

    /// Fills the sums of a row.
    #[inline(always)]
    fn begin_row<V: Lanes<F>>(&self, row: usize, col: usize, width: usize, sums: &mut [V]) {
        if let ([first, second], 1) = (&mut *sums, self.groups)
            && width == 2 * V::N
        {
            let from = match self.start {
                Some(start) => &start[col..],
                None => self.at(row, col, width),
            };
            (*first, *second) = (V::load(from), V::load(&from[V::N..]));
            return;
        }
        let (repeat, group) = self.strides::<V>();
        let whole = self.whole::<V>(width, sums.len());
        let mut next = col;
        for (v, sum) in sums.iter_mut().enumerate() {
            let (at, count) = match whole {
                true => (next, V::N),
                false => self.place::<V>(col, width, v),
            };
            next += repeat + group;
            *sum = match self.start {
                Some(start) => load(start, at, count),
                None => load(self.at(row, at, count), 0, count),
            };
        }
    }

    /// Writes the sums of a row.
    #[inline(always)]
    fn end_row<V: Lanes<F>>(&self, row: usize, col: usize, width: usize, sums: &[V]) {
        if let ([first, second], 1) = (sums, self.groups)
            && width == 2 * V::N
        {
            let to = self.at(row, col, width);
            first.store(to);
            second.store(&mut to[V::N..]);
            return;
        }
        let (repeat, group) = self.strides::<V>();
        let whole = self.whole::<V>(width, sums.len());
        let mut next = col;
        for (v, sum) in sums.iter().enumerate() {
            let (at, count) = match whole {
                true => (next, V::N),
                false => self.place::<V>(col, width, v),
            };
            next += repeat + group;
            store(*sum, self.at(row, at, count), 0, count);
        }
    }
}

/// `N` or fewer numbers from `at` on.
#[inline(always)]
pub fn load<F: Float, V: Lanes<F>>(from: &[F], at: usize, count: usize) -> V {
    if count == V::N {
        V::load(&from[at..at + V::N])
    } else if count == 0 {
        V::splat(F::zero())
    } else {
        V::load_part(&from[at..][..count])
    }
}

/// The way back from [`load`].
#[inline(always)]
pub fn store<F: Float, V: Lanes<F>>(value: V, to: &mut [F], at: usize, count: usize) {
    if count == V::N {
        value.store(&mut to[at..at + V::N]);
    } else if count > 0 {
        value.store_part(&mut to[at..][..count]);
    }
}

/// A panel of one group is two vectors, mostly whole.
impl<F: Float> Ends<F> for InPlace<'_, F> {
    #[inline(always)]
    fn far(&self, bytes: usize) -> bool {
        bytes > NEAR
    }

    #[inline(always)]
    fn soon<V: Lanes<F>>(&self, row: usize, col: usize, width: usize) {
        for group in 0..self.groups {
            V::fetch_last(self.at(row, group * self.cols + col, width));
        }
    }

    #[inline(always)]
    fn start<V: Lanes<F>>(&self, col: usize) -> Option<(&[F], usize)> {
        let (repeat, group) = self.strides::<V>();
        Some((&self.start?[col..], repeat + group))
    }

    #[inline(always)]
    fn begin<V: Lanes<F>>(
        &self,
        rows: Range<usize>,
        (col, width): (usize, usize),
        sums: &mut [V],
        (count, stride): (usize, usize),
    ) {
        let each = count / self.groups * V::N;
        for (row, sums) in rows.zip(sums.chunks_mut(stride)) {
            for (p, sums) in sums.chunks_mut(count).enumerate() {
                let before = p * each;
                self.begin_row(row, col + before, each.min(width - before), sums);
            }
        }
    }

    #[inline(always)]
    fn end<V: Lanes<F>>(
        &self,
        rows: Range<usize>,
        (col, width): (usize, usize),
        sums: &mut [V],
        (count, stride): (usize, usize),
    ) {
        let each = count / self.groups * V::N;
        for (row, sums) in rows.zip(sums.chunks(stride)) {
            for (p, sums) in sums.chunks(count).enumerate() {
                let before = p * each;
                self.end_row(row, col + before, each.min(width - before), sums);
            }
        }
    }
}
