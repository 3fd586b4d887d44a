//! Slices whose parts are written by several threads.

use std::marker::PhantomData;
use std::ops::Range;

/// A slice that threads take disjoint ranges of.
pub(super) struct Parts<'a, T> {
    at: *mut T,
    len: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: what is shared is the right to take ranges, each of which is a
// `&mut [T]` that goes to one thread; that is sound where `T` may be sent.
unsafe impl<T: Send> Sync for Parts<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Parts<'_, T> {}

impl<T> Clone for Parts<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Parts<'_, T> {}

impl<'a, T> Parts<'a, T> {
    pub fn new(slice: &'a mut [T]) -> Self {
        Self {
            at: slice.as_mut_ptr(),
            len: slice.len(),
            slice: PhantomData,
        }
    }

    /// A range of the slice.
    ///
    /// # Safety
    /// No two ranges that are in use at the same time may overlap.
    ///
    /// # Panics
    /// Where the range is not inside of the slice.
    #[expect(clippy::mut_from_ref, reason = "disjoint by the caller's promise")]
    pub unsafe fn range(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.len);
        // SAFETY: the range is inside of a slice that is borrowed for `'a`, and
        // by the caller's promise nobody else holds any of it.
        unsafe { std::slice::from_raw_parts_mut(self.at.add(range.start), range.len()) }
    }
}

impl<T> Parts<'_, T> {
    /// As [`range`](Self::range), `count` from `at` on, and not checked.
    ///
    /// # Safety
    /// As there; and the range is inside of the slice.
    #[inline(always)]
    #[expect(clippy::mut_from_ref, reason = "disjoint by the caller's promise")]
    pub unsafe fn at(&self, at: usize, count: usize) -> &mut [T] {
        debug_assert!(at + count <= self.len);
        // SAFETY: the caller's.
        unsafe { std::slice::from_raw_parts_mut(self.at.add(at), count) }
    }
}

/// Blocks of numbers, all of one length, that threads take disjoint ranges of.
pub(super) struct Blocks<'a, T> {
    parts: Parts<'a, T>,
    /// Numbers in a row of a block.
    pub width: usize,
    /// Numbers in a block.
    len: usize,
    /// Blocks.
    pub count: usize,
}

impl<'a, T> Blocks<'a, T> {
    pub fn new(slice: &'a mut [T], width: usize, len: usize) -> Self {
        let count = slice.len().checked_div(len).unwrap_or(0);
        Self {
            parts: Parts::new(slice),
            width,
            len,
            count,
        }
    }

    /// Some of the blocks.
    ///
    /// # Safety
    /// As [`Parts::range`].
    #[expect(clippy::mut_from_ref, reason = "disjoint by the caller's promise")]
    pub unsafe fn range(&self, blocks: Range<usize>) -> &mut [T] {
        // SAFETY: as the caller promises.
        unsafe {
            self.parts
                .range(blocks.start * self.len..blocks.end * self.len)
        }
    }
}

/// The share of one of `jobs` in `count` things.
pub(super) fn share(count: usize, jobs: usize, job: usize) -> Range<usize> {
    count * job / jobs..count * (job + 1) / jobs
}
