//! Arrays whose rows are written by several threads.

use ndarray::{ArrayViewMut2, ArrayViewMut3, Axis, RawArrayViewMut};
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering};

/// Hands out the rows of an array (T, B, W), each once.
pub struct RowsMut<'a, F> {
    array: RawArrayViewMut<F, ndarray::Ix3>,
    taken: &'a [AtomicBool],
    borrow: PhantomData<&'a mut [F]>,
}

// SAFETY: what is shared is the right to take rows, each of which is a mutable
// view that goes to one thread; that is sound where `F` may be sent.
unsafe impl<F: Send> Sync for RowsMut<'_, F> {}

impl<'a, F> RowsMut<'a, F> {
    /// `taken` is work space.
    pub fn new(mut array: ArrayViewMut3<'a, F>, taken: &'a mut Vec<AtomicBool>) -> Self {
        taken.clear();
        taken.resize_with(array.len_of(Axis(1)), AtomicBool::default);
        Self {
            array: array.raw_view_mut(),
            taken,
            borrow: PhantomData,
        }
    }

    /// Row `b`, (T, W).
    ///
    /// # Panics
    /// Where there is no such row, or it has been taken before: a mistake of
    /// the caller, not of the input.
    pub fn take(&self, b: usize) -> ArrayViewMut2<'_, F> {
        let before = self.taken[b].swap(true, Ordering::Relaxed);
        assert!(!before, "row {b} is taken twice");
        let row = self.array.index_axis_move(Axis(1), b);
        // SAFETY: the array is borrowed for 'a; its rows share no number, as
        // they are those of a mutable view; and no row is handed out twice.
        unsafe { row.deref_into_view_mut() }
    }
}
