//! Where the sums of a product come from and where they go.

use super::lanes::Lanes;
use super::parts::Parts;
use crate::Float;

/// Where the sums of a product come from and where they go.
///
/// `row` is a row of the product, `col` the first of its columns in every
/// group, of which `width` exist; the sums are one vector a group, or, where
/// there is one sum a column, two vectors, of `col..` and of the columns after
/// them.
pub trait Ends<F> {
    /// Vectors of sums of a row and a panel, where they are always as many: their
    /// loops go away.
    const VECTORS: Option<usize> = None;

    /// Whether [`soon`](Self::soon) is worth its time also for panels that go by
    /// whole, where there are many ends.
    const FAR: bool = false;

    /// Says what [`begin`](Self::begin) and [`end`](Self::end) are going to read
    /// and write, which may be far away.
    #[inline(always)]
    fn soon<V: Lanes<F>>(&self, _row: usize, _col: usize, _width: usize) {}

    /// The sums before the first product.
    fn begin<V: Lanes<F>>(&self, row: usize, col: usize, width: usize, sums: &mut [V]);

    /// Takes the finished sums.
    fn end<V: Lanes<F>>(&mut self, row: usize, col: usize, width: usize, sums: &[V]);
}

/// As [`InPlace`], but what is added is multiplied with a mask first.
pub struct Scaled<'a, F> {
    pub out: InPlace<'a, F>,
    /// (rows, mask_stride).
    pub mask: &'a [F],
    pub mask_stride: usize,
}

impl<F: Float> Ends<F> for Scaled<'_, F> {
    #[inline(always)]
    fn begin<V: Lanes<F>>(&self, _: usize, _: usize, _: usize, sums: &mut [V]) {
        sums.fill(V::lit(0.0));
    }

    #[inline(always)]
    fn end<V: Lanes<F>>(&mut self, row: usize, col: usize, width: usize, sums: &[V]) {
        for (v, sum) in sums.iter().enumerate() {
            let (at, count) = self.out.place::<V>(col, width, v);
            let mask: V = load(self.mask, row * self.mask_stride + at, count);
            let to = self.out.at(row, at, count);
            let so_far: V = load(to, 0, count);
            store(so_far + *sum * mask, to, 0, count);
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
    const FAR: bool = true;

    #[inline(always)]
    fn soon<V: Lanes<F>>(&self, row: usize, col: usize, width: usize) {
        for group in 0..self.groups {
            V::fetch(self.at(row, group * self.cols + col, width));
        }
    }

    #[inline(always)]
    fn begin<V: Lanes<F>>(&self, row: usize, col: usize, width: usize, sums: &mut [V]) {
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

    #[inline(always)]
    fn end<V: Lanes<F>>(&mut self, row: usize, col: usize, width: usize, sums: &[V]) {
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
