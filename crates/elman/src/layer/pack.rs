//! PyTorch's helpers for sequences of different lengths, `torch.nn.utils.rnn`.
//!
//! The layers of this crate do not need them: they take the padded array and
//! `lengths`, in any order, and order the rows by themselves. These functions
//! are for code and data that come from PyTorch, and hold its words where they
//! refuse.

use super::Steps;
use super::steps::{check_lengths, time_first};
use crate::{Error, Result};
use ndarray::{Array2, Array3, ArrayView2, ArrayView3, s};
use num_traits::Zero;

/// On which side [`pad_sequence`] pads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PaddingSide {
    /// After the end.
    #[default]
    Right,
    /// Before the beginning.
    Left,
}

/// A batch of sequences without padding: the first steps of all sequences, then
/// the second steps of those that have one, and so on, longest sequence first.
///
/// [`pack_sequence`] and [`pack_padded_sequence`] make it.
#[derive(Debug, Clone, PartialEq)]
pub struct PackedSequence<T> {
    data: Array2<T>,
    steps: Steps,
    /// The sequences came in that order.
    sorted: bool,
}

impl<T> PackedSequence<T> {
    /// The steps of all sequences, (sum of lengths, features).
    pub fn data(&self) -> &Array2<T> {
        &self.data
    }

    /// For each step how many sequences have it.
    pub fn batch_sizes(&self) -> Vec<usize> {
        let steps = &self.steps;
        steps.times(false).map(|t| steps.at(t).len()).collect()
    }

    /// The sequences from the longest to the shortest; `None` where they had
    /// to come in that order.
    pub fn sorted_indices(&self) -> Option<&[usize]> {
        (!self.sorted).then_some(self.steps.order())
    }

    /// The place of each sequence in [`sorted_indices`](Self::sorted_indices).
    pub fn unsorted_indices(&self) -> Option<Vec<usize>> {
        let sorted = self.sorted_indices()?;
        let mut places = vec![0; sorted.len()];
        for (place, sequence) in sorted.iter().enumerate() {
            places[*sequence] = place;
        }
        Some(places)
    }

    /// The length of each sequence, in the order in which they came.
    pub fn lengths(&self) -> Vec<usize> {
        let mut lengths = vec![0; self.steps.batch()];
        for (_, sequence) in self.steps.places() {
            lengths[sequence] += 1;
        }
        lengths
    }
}

/// Stacks sequences (length, features), padded to the longest one's length:
/// (T, B, features), or (B, T, features) with `batch_first`.
///
/// ```
/// use elman::layer::{PaddingSide, pad_sequence};
/// use elman::ndarray::array;
///
/// let (a, b) = (array![[1.0], [2.0]], array![[3.0]]);
/// let padded = pad_sequence(&[a.view(), b.view()], true, 0.0, PaddingSide::Right)?;
/// assert_eq!(padded, array![[[1.0], [2.0]], [[3.0], [0.0]]]);
/// # Ok::<(), elman::Error>(())
/// ```
///
/// # Errors
/// Where there is no sequence, or their features differ.
pub fn pad_sequence<T: Copy>(
    sequences: &[ArrayView2<'_, T>],
    batch_first: bool,
    padding_value: T,
    padding_side: PaddingSide,
) -> Result<Array3<T>> {
    let Some(first) = sequences.first() else {
        return Err(Error::shape("received an empty list of sequences"));
    };
    let features = first.ncols();
    if let Some(i) = sequences.iter().position(|s| s.ncols() != features) {
        return Err(Error::shape(format!(
            "sequence {i}: expected {features} features as sequence 0 has, got {}",
            sequences[i].ncols()
        )));
    }
    let longest = sequences.iter().map(|s| s.nrows()).max().unwrap_or(0);
    let dim = (longest, sequences.len(), features);
    let mut padded = filled(dim, batch_first, padding_value)?;
    let mut rows = time_first(padded.view_mut(), batch_first);
    for (row, sequence) in sequences.iter().enumerate() {
        let start = match padding_side {
            PaddingSide::Right => 0,
            PaddingSide::Left => longest - sequence.nrows(),
        };
        rows.slice_mut(s![start..start + sequence.nrows(), row, ..])
            .assign(sequence);
    }
    Ok(padded)
}

/// The way back from [`pad_sequence`], padded on the right.
///
/// # Errors
/// Where `lengths` has not one entry a sequence, or one above `T`.
pub fn unpad_sequence<T: Copy>(
    padded: ArrayView3<'_, T>,
    lengths: &[usize],
    batch_first: bool,
) -> Result<Vec<Array2<T>>> {
    let rows = time_first(padded, batch_first);
    let (seq_len, batch, _) = rows.dim();
    check_lengths(seq_len, batch, lengths)?;
    let cut = |(row, length): (usize, &usize)| rows.slice(s![..*length, row, ..]).to_owned();
    Ok(lengths.iter().enumerate().map(cut).collect())
}

/// Packs a padded batch (T, B, features), or (B, T, features) with
/// `batch_first`. With `enforce_sorted` the sequences must come from the
/// longest to the shortest; without, they are put into that order.
///
/// ```
/// use elman::layer::{pack_padded_sequence, pad_packed_sequence};
/// use elman::ndarray::array;
///
/// let padded = array![[[1, 2], [0, 0]], [[3, 4], [5, 6]]]; // (B, T, features)
/// let packed = pack_padded_sequence(padded.view(), &[1, 2], true, false)?;
/// assert_eq!(packed.data(), array![[3, 4], [1, 2], [5, 6]]);
/// assert_eq!(packed.batch_sizes(), [2, 1]);
/// assert_eq!(packed.sorted_indices(), Some(&[1, 0][..]));
/// assert_eq!(pad_packed_sequence(&packed, true, 0, None)?, (padded, vec![1, 2]));
/// # Ok::<(), elman::Error>(())
/// ```
///
/// # Errors
/// Where the input is empty, `lengths` has not one entry a sequence, an entry is
/// 0 or above `T`, or they are not in the order that `enforce_sorted` asks for.
pub fn pack_padded_sequence<T: Copy>(
    input: ArrayView3<'_, T>,
    lengths: &[usize],
    batch_first: bool,
    enforce_sorted: bool,
) -> Result<PackedSequence<T>> {
    let rows = time_first(input, batch_first);
    if rows.is_empty() {
        return Err(Error::shape("Cannot pack empty tensors."));
    }
    let (seq_len, batch, _) = rows.dim();
    check_lengths(seq_len, batch, lengths)?;
    if enforce_sorted && !lengths.is_sorted_by(|a, b| a >= b) {
        return Err(Error::shape(
            "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You can pass `enforce_sorted=False` to pack_padded_sequence and/or pack_sequence",
        ));
    }
    if let Some(row) = lengths.iter().position(|l| *l == 0) {
        return Err(Error::shape(format!(
            "Length of all samples has to be greater than 0, but found an element in 'lengths' that is <= 0: that of row {row}; a layer's own `lengths` may have it"
        )));
    }
    let longest = lengths.iter().copied().max().unwrap_or(0);
    let mut steps = Steps::default();
    steps.set(longest, lengths.len(), Some(lengths))?;
    let mut data = Vec::new();
    steps.gather(rows, &mut data);
    let dim = (steps.rows(), rows.dim().2);
    let data = Array2::from_shape_vec(dim, data).map_err(|e| Error::shape(e.to_string()))?;
    Ok(PackedSequence {
        data,
        steps,
        sorted: enforce_sorted,
    })
}

/// The way back from [`pack_padded_sequence`]: the sequences in the order in
/// which they came, and their lengths. Padded to `total_length`, or where that
/// is absent to the longest one's length.
///
/// # Errors
/// Where `total_length` is below the longest sequence's length.
pub fn pad_packed_sequence<T: Copy>(
    sequence: &PackedSequence<T>,
    batch_first: bool,
    padding_value: T,
    total_length: Option<usize>,
) -> Result<(Array3<T>, Vec<usize>)> {
    let longest = sequence.steps.seq_len();
    let total = total_length.unwrap_or(longest);
    if total < longest {
        return Err(Error::shape(format!(
            "Expected total_length to be at least the length of the longest sequence in input, but got total_length={total} and max sequence length being {longest}"
        )));
    }
    let features = sequence.data.ncols();
    let dim = (total, sequence.steps.batch(), features);
    let mut padded = filled(dim, batch_first, padding_value)?;
    let rows = time_first(padded.view_mut(), batch_first);
    let packed = sequence.data.as_slice().unwrap_or_default();
    let packed = packed.chunks_exact(features.max(1));
    sequence.steps.scatter(packed, rows, |to, from| *to = from);
    Ok((padded, sequence.lengths()))
}

/// Packs sequences (length, features); see [`pack_padded_sequence`].
///
/// # Errors
/// As [`pad_sequence`] and [`pack_padded_sequence`].
pub fn pack_sequence<T: Copy + Zero>(
    sequences: &[ArrayView2<'_, T>],
    enforce_sorted: bool,
) -> Result<PackedSequence<T>> {
    let lengths: Vec<_> = sequences.iter().map(|s| s.nrows()).collect();
    let padded = pad_sequence(sequences, false, T::zero(), PaddingSide::Right)?;
    pack_padded_sequence(padded.view(), &lengths, false, enforce_sorted)
}

/// The way back from [`pack_sequence`], in the order in which they came.
///
/// # Errors
/// None but where there is no memory for them.
pub fn unpack_sequence<T: Copy + Zero>(sequence: &PackedSequence<T>) -> Result<Vec<Array2<T>>> {
    let (padded, lengths) = pad_packed_sequence(sequence, true, T::zero(), None)?;
    unpad_sequence(padded.view(), &lengths, true)
}

/// An array of one value, (T, B, ..) or with `batch_first` (B, T, ..), where
/// there is memory for it.
pub(crate) fn filled<T: Copy>(
    (seq_len, batch, features): (usize, usize, usize),
    batch_first: bool,
    value: T,
) -> Result<Array3<T>> {
    let dim = if batch_first {
        (batch, seq_len, features)
    } else {
        (seq_len, batch, features)
    };
    let refuse = || {
        Error::shape(format!(
            "{dim:?} is more than memory can hold; give fewer rows at a time"
        ))
    };
    let len = dim.0.checked_mul(dim.1).and_then(|n| n.checked_mul(dim.2));
    let len = len.ok_or_else(refuse)?;
    let mut values = Vec::new();
    values.try_reserve_exact(len).map_err(|_| refuse())?;
    values.resize(len, value);
    Array3::from_shape_vec(dim, values).map_err(|_| refuse())
}
