//! The table of vectors, PyTorch's `nn.Embedding`: `y[n] = W[index[n]]`.

use crate::error::expect;
use crate::params::{Grads, Layout, Params, named};
use crate::rng::TorchRng;
use crate::{Error, Float, Result};
use std::fmt::Display;
use std::ops::Range;

/// `y[n] = W[index[n]]`, `W` (num_embeddings, embedding_dim).
///
/// ```
/// use elman::layer::Embedding;
/// use elman::params::{Layout, Params};
///
/// let mut layout = Layout::new();
/// let table = Embedding::new(&mut layout, "", 3, 2, None)?;
/// let mut params = Params::<f32>::zeros(layout.into());
/// params.set("weight", &[0.0, 0.1, 1.0, 1.1, 2.0, 2.1])?;
/// let mut y = [0.0; 4];
/// table.forward(&params, &[2, 0], &mut y)?;
/// assert_eq!(y, [2.0, 2.1, 0.0, 0.1]);
///
/// let e = table.forward(&params, &[2, 3], &mut y).unwrap_err();
/// assert_eq!(
///     e.to_string(),
///     "position 1: the index 3 is out of range; expected 0 to 2, of 3 embeddings"
/// );
/// # Ok::<(), elman::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Embedding {
    num_embeddings: usize,
    embedding_dim: usize,
    padding_idx: Option<usize>,
    weight: Range<usize>,
}

impl Embedding {
    /// Adds `{prefix}.weight` to the layout; `prefix` may be empty. The vector
    /// of `padding_idx` gets no gradient and is zero at first.
    ///
    /// # Errors
    /// Where a size is 0, `padding_idx` is no index of the table, or the sizes
    /// are more than memory can hold; the layout stays as it was then.
    pub fn new(
        layout: &mut Layout,
        prefix: &str,
        num_embeddings: usize,
        embedding_dim: usize,
        padding_idx: Option<usize>,
    ) -> Result<Self> {
        for (name, size) in [
            ("num_embeddings", num_embeddings),
            ("embedding_dim", embedding_dim),
        ] {
            expect(size > 0, &named(prefix, name), "more than zero", size)?;
        }
        if let Some(padding) = padding_idx {
            let expected = format!("an index below num_embeddings, {num_embeddings}");
            expect(padding < num_embeddings, "padding_idx", &expected, padding)?;
        }
        let shape = [num_embeddings, embedding_dim];
        Ok(Self {
            num_embeddings,
            embedding_dim,
            padding_idx,
            weight: layout.push(named(prefix, "weight"), &shape)?,
        })
    }

    /// Vectors of the table.
    pub fn num_embeddings(&self) -> usize {
        self.num_embeddings
    }

    /// Features of a vector.
    pub fn embedding_dim(&self) -> usize {
        self.embedding_dim
    }

    /// PyTorch's initial values: N(0, 1), and zero at `padding_idx`.
    pub fn init<F: Float>(&self, params: &mut Params<F>, rng: &mut TorchRng) {
        let table = &mut params.values_mut()[self.weight.clone()];
        rng.normal(table);
        if let Some(row) = self.padding_idx {
            table[row * self.embedding_dim..][..self.embedding_dim].fill(F::zero());
        }
    }

    /// The row of the table for an index, with the place in a message where
    /// there is none.
    pub(crate) fn row(&self, index: i64, place: impl Display) -> Result<usize> {
        let row = usize::try_from(index).ok();
        row.filter(|row| *row < self.num_embeddings).ok_or_else(|| {
            Error::shape(format!(
                "{place}: the index {index} is out of range; expected 0 to {}, of {} embeddings",
                self.num_embeddings - 1,
                self.num_embeddings
            ))
        })
    }

    /// `y (n, embedding_dim)`, the rows of the table at `indices` (n).
    ///
    /// # Errors
    /// Where an index is out of range, `y` has not a row for each, or the
    /// parameters end before those of this layer.
    pub fn forward<F: Float>(
        &self,
        params: &Params<F>,
        indices: &[i64],
        y: &mut [F],
    ) -> Result<()> {
        self.check("parameters", params, "output", indices, y)?;
        let table = &params.values()[self.weight.clone()];
        let rows = y.chunks_exact_mut(self.embedding_dim);
        for (n, (index, y)) in indices.iter().zip(rows).enumerate() {
            let row = self.row(*index, format_args!("position {n}"))?;
            y.copy_from_slice(&table[row * self.embedding_dim..][..self.embedding_dim]);
        }
        Ok(())
    }

    /// Adds `dW[index[n]] += dy[n]`, but for `padding_idx`.
    ///
    /// # Errors
    /// As [`forward`](Self::forward), of `dy` and the gradients.
    pub fn backward<F: Float>(
        &self,
        indices: &[i64],
        dy: &[F],
        grads: &mut Grads<F>,
    ) -> Result<()> {
        self.check("gradients", grads, "d_output", indices, dy)?;
        let d_table = &mut grads.values_mut()[self.weight.clone()];
        let rows = dy.chunks_exact(self.embedding_dim);
        for (n, (index, dy)) in indices.iter().zip(rows).enumerate() {
            let row = self.row(*index, format_args!("position {n}"))?;
            if self.padding_idx == Some(row) {
                continue;
            }
            let d = &mut d_table[row * self.embedding_dim..][..self.embedding_dim];
            d.iter_mut().zip(dy).for_each(|(d, dy)| *d += *dy);
        }
        Ok(())
    }

    fn check<F: Float>(
        &self,
        of: &str,
        params: &Params<F>,
        name: &str,
        indices: &[i64],
        y: &[F],
    ) -> Result<()> {
        params.check_len(of, self.weight.end)?;
        let expected = indices.len().saturating_mul(self.embedding_dim);
        if expected == y.len() {
            return Ok(());
        }
        Err(Error::shape(format!(
            "{name}: expected {expected} numbers, got {}",
            y.len()
        )))
    }
}
