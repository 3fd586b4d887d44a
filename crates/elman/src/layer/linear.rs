//! The linear map, PyTorch's `nn.Linear`: `y = x W' + b`.

use crate::kernel::{Matrix, Packed, product};
use crate::params::{Grads, Layout, Params};
use crate::{Error, Float, Result};
use std::ops::Range;

/// `y = x W' + b`, `W` (out, in), `b` (out).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Linear {
    in_features: usize,
    out_features: usize,
    weight: Range<usize>,
    bias: Option<Range<usize>>,
}

/// Packed weights of a [`Linear`], and room for the packed input.
#[derive(Debug, Clone, Default)]
pub struct LinearCache<F: Float> {
    stamp: (u64, usize),
    forward: Packed<F>,
    backward: Packed<F>,
    rows: Packed<F>,
}

impl Linear {
    /// Adds `{prefix}.weight` and, with `bias`, `{prefix}.bias` to the layout;
    /// `prefix` may be empty.
    ///
    /// # Errors
    /// Where a size is 0, or they are more than memory can hold; the layout
    /// stays as it was then.
    pub fn new(
        layout: &mut Layout,
        prefix: &str,
        in_features: usize,
        out_features: usize,
        bias: bool,
    ) -> Result<Self> {
        if in_features == 0 || out_features == 0 {
            return Err(Error::option(format!(
                "{prefix}: in_features and out_features must be greater than zero"
            )));
        }
        let dot = if prefix.is_empty() { "" } else { "." };
        let mut grown = layout.clone();
        let mut push = |name, shape: &[usize]| grown.push(format!("{prefix}{dot}{name}"), shape);
        let weight = push("weight", &[out_features, in_features])?;
        let bias = bias.then(|| push("bias", &[out_features])).transpose()?;
        *layout = grown;
        Ok(Self {
            in_features,
            out_features,
            weight,
            bias,
        })
    }

    /// Features of an input row.
    pub fn in_features(&self) -> usize {
        self.in_features
    }

    /// Features of an output row.
    pub fn out_features(&self) -> usize {
        self.out_features
    }

    /// PyTorch's initial values, U(-s, s) with s = 1/sqrt(in_features), drawn
    /// with `uniform(low, high)`: the weight, then the bias.
    pub fn init<F: Float>(&self, params: &mut Params<F>, uniform: &mut dyn FnMut(f64, f64) -> F) {
        let root = (self.in_features as f64).sqrt();
        // PyTorch has the weight's s from `kaiming_uniform_(a=sqrt(5))`, which
        // rounds on another way than the bias's.
        let gain = (2.0 / (1.0 + 5.0_f64.sqrt().powi(2))).sqrt();
        let s_weight = 3.0_f64.sqrt() * (gain / root);
        let s_bias = 1.0 / root;
        let values = params.values_mut();
        let bias = self.bias.clone().unwrap_or(0..0);
        for (range, s) in [(self.weight.clone(), s_weight), (bias, s_bias)] {
            for value in &mut values[range] {
                *value = uniform(-s, s);
            }
        }
    }

    /// `y (n, out) = x (n, in) W' + b`, both row-major.
    pub fn forward<F: Float>(
        &self,
        params: &Params<F>,
        x: &[F],
        cache: &mut LinearCache<F>,
        y: &mut [F],
    ) {
        let w = self.weight_of(params);
        let stamp = (params.stamp(), self.weight.start);
        if cache.stamp != stamp {
            cache.forward.pack(w.t());
            cache.backward.pack(w);
            cache.stamp = stamp;
        }
        for row in y.chunks_exact_mut(self.out_features) {
            match &self.bias {
                Some(b) => row.copy_from_slice(&params.values()[b.clone()]),
                None => row.fill(F::zero()),
            }
        }
        product(self.rows(x), &cache.forward, y, self.out_features);
    }

    /// Adds `dW += dy' x`, `db += sum of dy`, and `dx += dy W`, after
    /// [`forward`](Self::forward) with the same `x` and `cache`.
    pub fn backward<F: Float>(
        &self,
        x: &[F],
        cache: &mut LinearCache<F>,
        dy: &[F],
        grads: &mut Grads<F>,
        dx: Option<&mut [F]>,
    ) {
        let n = dy.len() / self.out_features;
        let dy_rows = Matrix::new(dy, n, self.out_features, self.out_features);
        cache.rows.pack(self.rows(x));
        let values = grads.values_mut();
        let d_weight = &mut values[self.weight.clone()];
        product(dy_rows.t(), &cache.rows, d_weight, self.in_features);
        if let Some(bias) = &self.bias {
            for row in dy.chunks_exact(self.out_features) {
                for (d, dy) in values[bias.clone()].iter_mut().zip(row) {
                    *d += *dy;
                }
            }
        }
        if let Some(dx) = dx {
            product(dy_rows, &cache.backward, dx, self.in_features);
        }
    }

    fn rows<'a, F: Float>(&self, x: &'a [F]) -> Matrix<'a, F> {
        Matrix::new(
            x,
            x.len() / self.in_features,
            self.in_features,
            self.in_features,
        )
    }

    fn weight_of<'a, F: Float>(&self, params: &'a Params<F>) -> Matrix<'a, F> {
        let w = &params.values()[self.weight.clone()];
        Matrix::new(w, self.out_features, self.in_features, self.in_features)
    }
}
