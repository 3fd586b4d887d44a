//! Ragged batches: which rows take part in which step.
//!
//! Rows are ordered by length, longest first, so that those that take part in
//! a step are always the first ones, and the valid steps of all rows lie one
//! step after the other without padding:
//!
//! ```text
//! lengths 2, 3, 1     step 0: rows 1 0 2     step 1: rows 1 0     step 2: row 1
//! ```
//!
//! Time is spent on valid steps only, and padding is never read.

use crate::{Error, Float, Result};
use ndarray::{ArrayBase, ArrayView2, ArrayView3, ArrayViewMut3, Axis, Ix3, RawData, s};
use std::ops::Range;

/// The geometry of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Steps {
    order: Vec<usize>,
    /// First packed row of each step, and the end of the last one.
    starts: Vec<usize>,
}

impl Steps {
    /// The geometry of `batch` rows of at most `seq_len` steps.
    ///
    /// # Errors
    /// Where `lengths` has not one entry a row, or an entry above `seq_len`.
    pub fn set(&mut self, seq_len: usize, batch: usize, lengths: Option<&[usize]>) -> Result<()> {
        if let Some(lengths) = lengths {
            check_lengths(seq_len, batch, lengths)?;
        }
        self.order.clear();
        self.order.extend(0..batch);
        self.starts.clear();
        self.starts.push(0);
        let Some(lengths) = lengths else {
            self.starts.extend((1..=seq_len).map(|t| t * batch));
            return Ok(());
        };
        // Rows of the same length stay in their order. A stable sort would
        // allocate.
        self.order
            .sort_unstable_by_key(|row| (std::cmp::Reverse(lengths[*row]), *row));
        for t in 0..seq_len {
            let active = self.order.partition_point(|row| lengths[*row] > t);
            self.starts.push(self.starts[t] + active);
        }
        Ok(())
    }

    /// The geometry of every `of`-th row of a batch, from its longest row
    /// `first` on.
    pub(super) fn set_share(&mut self, all: &Self, first: usize, of: usize) {
        self.order.clear();
        self.order.extend(all.order[first..].iter().step_by(of));
        self.starts.clear();
        self.starts.push(0);
        for t in 0..all.seq_len() {
            let active = (all.at(t).len() + of - 1 - first) / of;
            self.starts.push(self.starts[t] + active);
        }
    }

    /// `T`.
    pub fn seq_len(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// `B`.
    pub fn batch(&self) -> usize {
        self.order.len()
    }

    /// Valid steps of all rows together.
    pub fn rows(&self) -> usize {
        self.starts.last().copied().unwrap_or(0)
    }

    /// The packed rows of step `t`.
    pub fn at(&self, t: usize) -> Range<usize> {
        self.starts[t]..self.starts[t + 1]
    }

    /// The rows of the batch in packed order.
    pub fn order(&self) -> &[usize] {
        &self.order
    }

    /// Steps forward in time, or backward.
    pub fn times(&self, backward: bool) -> impl Iterator<Item = usize> + use<> {
        let n = self.seq_len();
        (0..n).map(move |t| if backward { n - 1 - t } else { t })
    }

    /// Step and row of the batch of every packed row, in order.
    pub fn places(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        (0..self.seq_len())
            .flat_map(|t| self.order[..self.at(t).len()].iter().map(move |b| (t, *b)))
    }

    /// Copies `x` (T, B, I) into `packed` (rows, I).
    pub fn gather<T: Copy>(&self, x: ArrayView3<'_, T>, packed: &mut Vec<T>) {
        packed.clear();
        for (t, x) in x.outer_iter().enumerate().take(self.seq_len()) {
            for b in &self.order[..self.at(t).len()] {
                let row = x.index_axis(Axis(0), *b);
                match row.as_slice() {
                    Some(row) => packed.extend_from_slice(row),
                    None => packed.extend(row.iter()),
                }
            }
        }
    }

    /// Hands every packed row to `f` with its place in `y` (T, B, O); the
    /// padding of `y` is passed over.
    pub fn scatter<'a, T: Copy + 'a>(
        &self,
        rows: impl Iterator<Item = &'a [T]>,
        mut y: ArrayViewMut3<'_, T>,
        f: impl Fn(&mut T, T),
    ) {
        for ((t, b), row) in self.places().zip(rows) {
            for (y, v) in y.slice_mut(s![t, b, ..]).iter_mut().zip(row) {
                f(y, *v);
            }
        }
    }

    /// Copies rows of the batch (B, S) into packed order.
    pub(super) fn sort<F: Float>(&self, rows: &[F], width: usize, sorted: &mut Vec<F>) {
        sorted.clear();
        for b in &self.order {
            sorted.extend_from_slice(&rows[b * width..][..width]);
        }
    }

    /// The way back from [`sort`](Self::sort).
    pub(super) fn unsort<F: Float>(&self, sorted: &[F], width: usize, rows: &mut [F]) {
        for (i, b) in self.order.iter().enumerate() {
            rows[b * width..][..width].copy_from_slice(&sorted[i * width..][..width]);
        }
    }
}

/// Refuses lengths that are not one a row of (T, B, ..), or above `T`.
pub(crate) fn check_lengths(seq_len: usize, batch: usize, lengths: &[usize]) -> Result<()> {
    if lengths.len() != batch {
        return Err(Error::shape(format!(
            "lengths: expected {batch} entries, one a row of the batch, got {}",
            lengths.len()
        )));
    }
    match lengths.iter().position(|l| *l > seq_len) {
        None => Ok(()),
        Some(row) => Err(Error::shape(format!(
            "lengths: row {row} has {} steps, the input has {seq_len}",
            lengths[row]
        ))),
    }
}

/// The parts of a sequence of so many steps, at most `size` each: at least one,
/// and the last takes all that is left.
pub(crate) fn parts(
    steps: usize,
    size: usize,
) -> impl DoubleEndedIterator<Item = Range<usize>> + ExactSizeIterator {
    let count = steps.div_ceil(size).max(1);
    (0..count).map(move |i| {
        let last = i + 1 == count;
        i * size..if last { usize::MAX } else { (i + 1) * size }
    })
}

/// A part of the steps of an array (T, B, ..).
pub(crate) fn cut<S: RawData>(array: ArrayBase<S, Ix3>, part: &Range<usize>) -> ArrayBase<S, Ix3> {
    let steps = array.dim().0;
    let (start, end) = (part.start.min(steps), part.end.min(steps));
    array.slice_move(s![start..end, .., ..])
}

/// Valid steps of every row in a part of the sequence.
pub(crate) fn lengths_in(part: &Range<usize>, lengths: &[usize], inside: &mut Vec<usize>) {
    inside.clear();
    inside.extend((lengths.iter()).map(|l| l.saturating_sub(part.start).min(part.len())));
}

/// The marks of a pass in a part of the sequence, (T, B).
pub(crate) fn resets_in<'a>(
    part: &Range<usize>,
    resets: ArrayView2<'a, bool>,
) -> ArrayView2<'a, bool> {
    let (start, end) = (part.start.min(resets.nrows()), part.end.min(resets.nrows()));
    resets.slice_move(s![start..end, ..])
}

/// Marks (T, B) from (T, B) or, with `batch_first`, (B, T), one for each step
/// and row.
pub(super) fn marks(
    resets: ArrayView2<'_, bool>,
    batch_first: bool,
    (seq_len, batch): (usize, usize),
) -> Result<ArrayView2<'_, bool>> {
    let (axes, expected) = match batch_first {
        true => ("(B, T)", (batch, seq_len)),
        false => ("(T, B)", (seq_len, batch)),
    };
    if resets.dim() != expected {
        return Err(Error::shape(format!(
            "resets: expected {axes} = {expected:?}, got {:?}",
            resets.dim()
        )));
    }
    Ok(turned(resets, batch_first))
}

/// As [`time_first`], for marks.
pub(super) fn turned(resets: ArrayView2<'_, bool>, batch_first: bool) -> ArrayView2<'_, bool> {
    match batch_first {
        true => resets.reversed_axes(),
        false => resets,
    }
}

/// (T, B, ..) from (T, B, ..) or, with `batch_first`, (B, T, ..); the way back
/// is the same.
pub(super) fn time_first<S: RawData>(
    array: ArrayBase<S, Ix3>,
    batch_first: bool,
) -> ArrayBase<S, Ix3> {
    if batch_first {
        array.permuted_axes([1, 0, 2])
    } else {
        array
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array3;

    #[test]
    fn rows_come_back_where_they_were() {
        for lengths in [None, Some([2, 3, 0, 1]), Some([0, 0, 0, 0])] {
            let mut steps = Steps::default();
            steps.set(3, 4, lengths.as_ref().map(|l| &l[..])).unwrap();
            let valid = |t, b| lengths.is_none_or(|l| t < l[b]);
            let x = Array3::from_shape_fn((3, 4, 2), |(t, b, i)| {
                if valid(t, b) {
                    (t * 100 + b * 10 + i) as f64
                } else {
                    f64::NAN
                }
            });
            let mut packed = Vec::new();
            steps.gather(x.view(), &mut packed);
            assert_eq!(packed.len(), 2 * steps.rows());
            let mut y = Array3::zeros(x.dim());
            steps.scatter(packed.chunks(2), y.view_mut(), |y, v| *y = v);
            for ((t, b, i), y) in y.indexed_iter() {
                assert_eq!(*y, if valid(t, b) { x[[t, b, i]] } else { 0.0 });
            }
        }
    }

    #[test]
    fn wrong_lengths_are_named() {
        let mut steps = Steps::default();
        assert!(steps.set(3, 2, Some(&[1])).unwrap_err().is_shape());
        let e = steps.set(3, 2, Some(&[1, 4])).unwrap_err();
        assert!(e.to_string().contains("row 1"), "{e}");
    }
}
