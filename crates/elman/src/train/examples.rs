//! Examples and the batches they are gathered into.

use crate::network::Inputs;
use crate::{Error, Float, Result};
use ndarray::{Array2, Array3, ArrayView2, ArrayView3, Axis};

/// A batch; the arrays are used again for batches to come.
#[derive(Debug, Clone)]
pub struct Batch<F> {
    /// The sequences, (T, B, I).
    pub input: Array3<F>,
    /// What an embedding reads in place of `input`, (T, B).
    pub indices: Option<Array2<i64>>,
    /// Valid steps of each row; `None` where all are.
    pub lengths: Option<Vec<usize>>,
    /// Marks, (T, B): before such a step the row's state starts afresh, where
    /// one series ends and the next begins in the same row; `None` for none.
    pub resets: Option<Array2<bool>>,
    /// What is known of the steps to predict, (K, B, C).
    pub known: Option<Array3<F>>,
    /// Where a decoder starts, (B, O).
    pub start: Option<Array2<F>>,
    /// What a skip connection reads, (B, S).
    pub skip: Option<Array2<F>>,
    /// The decoder reads the targets in place of its own outputs, in training;
    /// its own where a target is NaN or has no weight.
    pub teacher_forcing: bool,
    /// The true outputs, (K, B, O).
    pub target: Array3<F>,
    /// What each target counts, (K, B, 1) or (K, B, O); 1 where absent. A
    /// target of weight 0 may be anything, NaN included. Lengths alone leave
    /// nothing out: the padding of a target needs weight 0.
    pub weight: Option<Array3<F>>,
}

impl<F: Float> Default for Batch<F> {
    fn default() -> Self {
        Self {
            input: Array3::zeros((0, 0, 0)),
            indices: None,
            lengths: None,
            resets: None,
            known: None,
            start: None,
            skip: None,
            teacher_forcing: false,
            target: Array3::zeros((0, 0, 0)),
            weight: None,
        }
    }
}

impl<F: Float> Batch<F> {
    /// Makes targets of weight 0 missing ones, so that a decoder under teacher
    /// forcing does not read what does not count.
    pub(super) fn hide_weightless(&mut self) {
        let Some(weight) = self.weight.as_ref().filter(|_| self.teacher_forcing) else {
            return;
        };
        // A weight of another shape is the loss's to refuse.
        if let Some(weight) = weight.broadcast(self.target.dim()) {
            self.target.zip_mut_with(&weight, |y, w| {
                if *w == F::zero() {
                    *y = F::nan();
                }
            });
        }
    }

    /// What goes into the network; `training` allows teacher forcing.
    pub fn inputs(&self, training: bool) -> Inputs<'_, F> {
        let teacher = training && self.teacher_forcing;
        Inputs {
            input: self.input.view(),
            indices: self.indices.as_ref().map(|a| a.view()),
            known: self.known.as_ref().map(|a| a.view()),
            start: self.start.as_ref().map(|a| a.view()),
            skip: self.skip.as_ref().map(|a| a.view()),
            teacher: teacher.then(|| self.target.view()),
        }
    }
}

/// Gives an array that shape, in the same memory where it has it already.
pub(crate) fn reshape<F: Float>(array: &mut Array3<F>, dim: (usize, usize, usize)) {
    if array.dim() != dim {
        *array = Array3::zeros(dim);
    }
}

/// A numbered collection of examples.
pub trait Examples<F: Float>: Sync {
    /// How many there are.
    fn len(&self) -> usize;

    /// True where there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes the examples of these numbers into the batch, one a row. Called on
    /// any thread of the training loop, in training while the parameters make
    /// their step on the batch before.
    fn gather(&self, numbers: &[usize], batch: &mut Batch<F>);
}

/// Examples that are whole arrays: sequences (T, N, I) and targets (K, N, O).
///
/// ```
/// use elman::ndarray::Array3;
/// use elman::train::{Examples, InMemory};
/// let x = Array3::<f32>::zeros((3, 10, 1));
/// let y = Array3::<f32>::zeros((1, 10, 1));
/// assert_eq!(InMemory::new(x, y)?.len(), 10);
/// # Ok::<(), elman::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct InMemory<F> {
    input: Array3<F>,
    target: Array3<F>,
}

impl<F: Float> InMemory<F> {
    /// Examples along the second axis of both arrays.
    ///
    /// # Errors
    /// Where the arrays have different numbers of examples.
    pub fn new(input: Array3<F>, target: Array3<F>) -> Result<Self> {
        if input.dim().1 != target.dim().1 {
            return Err(Error::shape(format!(
                "target: expected {} examples on the second axis, as the input has, got {}",
                input.dim().1,
                target.dim().1
            )));
        }
        Ok(Self { input, target })
    }

    /// One long series (T, I), and its targets (T, O), laid out in so many rows
    /// side by side, each of `T / rows` steps; what is left over at the end is
    /// dropped (`batchify` of PyTorch's language model).
    ///
    /// For [`TrainConfig::truncate`](super::TrainConfig::truncate): in a batch
    /// of all rows, every part goes on where the part before it has ended.
    /// Series that do not belong together are rows of their own, with
    /// [`Batch::lengths`].
    ///
    /// ```
    /// use elman::ndarray::{Array2, array};
    /// use elman::train::InMemory;
    /// let x = Array2::from_shape_fn((7, 1), |(t, _)| t as f32);
    /// let rows = InMemory::batchify(x.view(), x.view(), 2)?;
    /// assert_eq!(rows.input(), array![[[0.], [3.]], [[1.], [4.]], [[2.], [5.]]]);
    /// # Ok::<(), elman::Error>(())
    /// ```
    ///
    /// # Errors
    /// Where the arrays have different numbers of steps, or fewer than `rows`,
    /// or there are to be no rows.
    pub fn batchify(
        input: ArrayView2<'_, F>,
        target: ArrayView2<'_, F>,
        rows: usize,
    ) -> Result<Self> {
        let steps = input.nrows();
        if target.nrows() != steps {
            return Err(Error::shape(format!(
                "target: expected {steps} steps on the first axis, as the input has, got {}",
                target.nrows()
            )));
        }
        if rows == 0 || rows > steps {
            return Err(Error::option(format!(
                "rows: expected from 1 to {steps}, the steps of the series, got {rows}"
            )));
        }
        let steps = steps / rows;
        let lay = |a: ArrayView2<'_, F>| {
            let dim = (steps, rows, a.ncols());
            Array3::from_shape_fn(dim, |(t, row, i)| a[[row * steps + t, i]])
        };
        Self::new(lay(input), lay(target))
    }

    /// All sequences, (T, N, I).
    pub fn input(&self) -> ArrayView3<'_, F> {
        self.input.view()
    }

    /// All targets, (K, N, O).
    pub fn target(&self) -> ArrayView3<'_, F> {
        self.target.view()
    }
}

impl<F: Float> Examples<F> for InMemory<F> {
    fn len(&self) -> usize {
        self.input.dim().1
    }

    fn gather(&self, numbers: &[usize], batch: &mut Batch<F>) {
        for (from, to) in [
            (&self.input, &mut batch.input),
            (&self.target, &mut batch.target),
        ] {
            let (steps, _, features) = from.dim();
            reshape(to, (steps, numbers.len(), features));
            for (row, n) in numbers.iter().enumerate() {
                to.index_axis_mut(Axis(1), row)
                    .assign(&from.index_axis(Axis(1), *n));
            }
        }
    }
}
