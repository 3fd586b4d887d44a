//! Arrays whose rows are written by several threads.

use ndarray::{ArrayViewMut1, ArrayViewMut3, Axis, RawArrayViewMut};
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

    /// Some rows, for one thread.
    ///
    /// # Panics
    /// Where there is no such row, or one has been taken before: a mistake of
    /// the caller, not of the input.
    pub fn take<'s>(&'s self, rows: &'s [usize]) -> Taken<'s, F> {
        for row in rows {
            let before = self.taken[*row].swap(true, Ordering::Relaxed);
            assert!(!before, "row {row} is taken twice");
        }
        Taken { all: self, rows }
    }
}

/// Rows that nobody else has.
pub struct Taken<'a, F> {
    all: &'a RowsMut<'a, F>,
    rows: &'a [usize],
}

impl<F> Taken<'_, F> {
    /// Step `t` of row `i` of these, (W).
    ///
    /// # Panics
    /// Where there is none.
    pub fn at(&mut self, t: usize, i: usize) -> ArrayViewMut1<'_, F> {
        let step = self.all.array.index_axis_move(Axis(0), t);
        let row = step.index_axis_move(Axis(0), self.rows[i]);
        // SAFETY: the array is borrowed for longer than this; its rows share no
        // number, as they are those of a mutable view; no row is handed out
        // twice, and of these no two steps at the same time.
        unsafe { row.deref_into_view_mut() }
    }
}
