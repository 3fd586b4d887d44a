//! Layer normalisation, PyTorch's `nn.LayerNorm` over the last axis (Ba et al.
//! 2016): `y = (x - mean) / sqrt(variance + eps) * w + b`.

use crate::error::expect;
use crate::params::{Grads, Layout, Params, named};
use crate::{Error, Float, Result};
use std::ops::Range;

/// `y = (x - mean) / sqrt(variance + eps) * w + b` for every row, the variance
/// divided by the number of features.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerNorm {
    features: usize,
    eps: f64,
    weight: Range<usize>,
    bias: Option<Range<usize>>,
}

/// What a [`LayerNorm`] keeps from its forward pass: the normalised rows
/// (n, features), and what each was divided by, inverted.
#[derive(Debug, Clone, Default)]
pub struct LayerNormCache<F: Float> {
    normed: Vec<F>,
    scale: Vec<F>,
}

impl LayerNorm {
    /// Adds `{prefix}.weight` and, with `bias`, `{prefix}.bias` to the layout;
    /// `prefix` may be empty.
    ///
    /// # Errors
    /// Where `features` is 0, or `eps` is no positive number.
    pub fn new(
        layout: &mut Layout,
        prefix: &str,
        features: usize,
        eps: f64,
        bias: bool,
    ) -> Result<Self> {
        expect(features > 0, "features", "more than zero", features)?;
        let positive = eps.is_finite() && eps > 0.0;
        expect(positive, "eps", "a number above zero", eps)?;
        let (weight, bias) = layout.all_or_none(|layout| {
            let mut push = |name| layout.push(named(prefix, name), &[features]);
            let weight = push("weight")?;
            let bias = bias.then(|| push("bias")).transpose()?;
            Ok((weight, bias))
        })?;
        Ok(Self {
            features,
            eps,
            weight,
            bias,
        })
    }

    /// Features of a row.
    pub fn features(&self) -> usize {
        self.features
    }

    /// PyTorch's initial values: weight 1, bias 0.
    pub fn init<F: Float>(&self, params: &mut Params<F>) {
        let values = params.values_mut();
        values[self.weight.clone()].fill(F::one());
        values[self.bias.clone().unwrap_or(0..0)].fill(F::zero());
    }

    /// `y (n, features)` from `x (n, features)`.
    ///
    /// # Errors
    /// Where `x` and `y` are not as many whole rows, or the parameters end
    /// before those of this layer.
    pub fn forward<F: Float>(
        &self,
        params: &Params<F>,
        x: &[F],
        cache: &mut LayerNormCache<F>,
        y: &mut [F],
    ) -> Result<()> {
        self.check("parameters", params)?;
        self.check_rows("input", x.len(), x.len() / self.features * self.features)?;
        self.check_rows("output", y.len(), x.len())?;
        let (w, b) = self.affine(params);
        let (size, eps) = (F::lit(self.features as f64), F::lit(self.eps));
        cache.normed.resize(x.len(), F::zero());
        cache.scale.clear();
        let rows = x.chunks_exact(self.features);
        let out = y.chunks_exact_mut(self.features);
        let normed = cache.normed.chunks_exact_mut(self.features);
        for ((x, y), normed) in rows.zip(out).zip(normed) {
            let mean = x.iter().fold(F::zero(), |sum, x| sum + *x) / size;
            let square = |sum: F, x: &F| sum + (*x - mean) * (*x - mean);
            let scale = F::one() / (x.iter().fold(F::zero(), square) / size + eps).sqrt();
            for (j, (x, normed)) in x.iter().zip(normed).enumerate() {
                *normed = (*x - mean) * scale;
                y[j] = *normed * w[j] + b.map_or(F::zero(), |b| b[j]);
            }
            cache.scale.push(scale);
        }
        Ok(())
    }

    /// Adds `dw`, `db` and `dx`, after [`forward`](Self::forward) with the same
    /// cache. With `g = dy * w` and `n` the normalised row:
    ///
    /// ```text
    /// dx = (g - mean(g) - n * mean(g * n)) / sqrt(variance + eps)
    /// ```
    ///
    /// # Errors
    /// Where `dy` and `dx` are not the rows of the forward pass, or the
    /// gradients end before those of this layer.
    pub fn backward<F: Float>(
        &self,
        params: &Params<F>,
        cache: &LayerNormCache<F>,
        dy: &[F],
        grads: &mut Grads<F>,
        dx: &mut [F],
    ) -> Result<()> {
        self.check("parameters", params)?;
        self.check("gradients", grads)?;
        self.check_rows("d_output", dy.len(), cache.normed.len())?;
        self.check_rows("d_input", dx.len(), cache.normed.len())?;
        let (w, _) = self.affine(params);
        let size = F::lit(self.features as f64);
        let values = grads.values_mut();
        let rows = dy.chunks_exact(self.features);
        let out = dx.chunks_exact_mut(self.features);
        let normed = cache.normed.chunks_exact(self.features);
        for (((dy, dx), n), scale) in rows.zip(out).zip(normed).zip(&cache.scale) {
            let (mut mean, mut along) = (F::zero(), F::zero());
            for ((dy, w), n) in dy.iter().zip(w).zip(n) {
                mean += *dy * *w;
                along += *dy * *w * *n;
            }
            (mean, along) = (mean / size, along / size);
            for (j, dx) in dx.iter_mut().enumerate() {
                *dx += (dy[j] * w[j] - mean - n[j] * along) * *scale;
                values[self.weight.start + j] += dy[j] * n[j];
                if let Some(bias) = &self.bias {
                    values[bias.start + j] += dy[j];
                }
            }
        }
        Ok(())
    }

    fn affine<'a, F: Float>(&self, params: &'a Params<F>) -> (&'a [F], Option<&'a [F]>) {
        let values = params.values();
        let bias = self.bias.clone().map(|b| &values[b]);
        (&values[self.weight.clone()], bias)
    }

    fn check<F: Float>(&self, name: &str, params: &Params<F>) -> Result<()> {
        params.check_len(name, self.bias.as_ref().unwrap_or(&self.weight).end)
    }

    fn check_rows(&self, name: &str, got: usize, expected: usize) -> Result<()> {
        if got == expected {
            return Ok(());
        }
        Err(Error::shape(format!(
            "{name}: expected {expected} numbers in rows of {}, got {got}",
            self.features
        )))
    }
}
