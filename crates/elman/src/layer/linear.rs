//! The linear map, PyTorch's `nn.Linear`: `y = x W' + b`.

use crate::error::expect;
use crate::kernel::{Matrix, Packed, product};
use crate::params::{Grads, Layout, Params, named};
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
        for (name, size) in [("in_features", in_features), ("out_features", out_features)] {
            expect(size > 0, &named(prefix, name), "more than zero", size)?;
        }
        let (weight, bias) = layout.all_or_none(|layout| {
            let mut push = |name, shape: &[usize]| layout.push(named(prefix, name), shape);
            let weight = push("weight", &[out_features, in_features])?;
            let bias = bias.then(|| push("bias", &[out_features])).transpose()?;
            Ok((weight, bias))
        })?;
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
    ///
    /// # Errors
    /// Where `x` and `y` are not so many rows, or the parameters end before
    /// those of this layer.
    pub fn forward<F: Float>(
        &self,
        params: &Params<F>,
        x: &[F],
        cache: &mut LinearCache<F>,
        y: &mut [F],
    ) -> Result<()> {
        self.check_params("parameters", params)?;
        self.check_rows("output", x.len(), y.len())?;
        let w = self.weight_of(params);
        let stamp = (params.stamp(), self.weight.start);
        if cache.stamp != stamp || !self.fits(cache) {
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
        Ok(())
    }

    /// Adds `dW += dy' x`, `db += sum of dy`, and `dx += dy W`, after
    /// [`forward`](Self::forward) with the same `x` and `cache`.
    ///
    /// # Errors
    /// Where `x`, `dy` and `dx` are not as many rows as each other, the
    /// gradients end before those of this layer, or the cache is not this
    /// layer's.
    pub fn backward<F: Float>(
        &self,
        x: &[F],
        cache: &mut LinearCache<F>,
        dy: &[F],
        grads: &mut Grads<F>,
        dx: Option<&mut [F]>,
    ) -> Result<()> {
        self.check_params("gradients", grads)?;
        self.check_rows("d_output", x.len(), dy.len())?;
        if let Some(dx) = &dx {
            same("d_input", x.len(), dx.len())?;
        }
        if !self.fits(cache) {
            return Err(Error::shape(
                "cache: it holds no forward pass of this layer; run `forward` with it first",
            ));
        }
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
        Ok(())
    }

    /// True where the packed weights have this layer's shape.
    fn fits<F: Float>(&self, cache: &LinearCache<F>) -> bool {
        cache.backward.dim() == (self.out_features, self.in_features)
    }

    /// That `x` is rows of the input, and `y` as many of the output.
    fn check_rows(&self, name: &str, x: usize, y: usize) -> Result<()> {
        let n = x / self.in_features;
        same("input", n * self.in_features, x)?;
        same(name, n.saturating_mul(self.out_features), y)
    }

    fn check_params<F: Float>(&self, name: &str, params: &Params<F>) -> Result<()> {
        params.check_len(name, self.bias.as_ref().unwrap_or(&self.weight).end)
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

fn same(name: &str, expected: usize, got: usize) -> Result<()> {
    if expected == got {
        return Ok(());
    }
    Err(Error::shape(format!(
        "{name}: expected {expected} numbers, got {got}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut layout = Layout::new();
        let linear = Linear::new(&mut layout, "head", 3, 2, true).unwrap();
        let params = Params::<f64>::zeros(layout.into());
        let few = Params::<f64>::zeros(Layout::new().into());
        let mut cache = LinearCache::default();
        let check = |result: Result<()>, words: &str| {
            let e = result.unwrap_err();
            assert!(e.is_shape() && e.to_string().contains(words), "{e}");
        };
        let x = [0.5; 6];
        let mut grads = params.clone();
        let back = linear.backward(&x, &mut cache, &[0.0; 4], &mut grads, None);
        check(back, "no forward pass");
        for (params, x, y, words) in [
            (&few, 6, 4, "laid out for another network"),
            (&params, 5, 4, "input: expected 3 numbers, got 5"),
            (&params, 6, 3, "output: expected 4 numbers, got 3"),
        ] {
            let (x, mut y) = (vec![0.5; x], vec![0.0; y]);
            check(linear.forward(params, &x, &mut cache, &mut y), words);
        }
        linear
            .forward(&params, &x, &mut cache, &mut [0.0; 4])
            .unwrap();
        let mut dx = [0.0; 5];
        let back = linear.backward(&x, &mut cache, &[0.0; 2], &mut grads, None);
        check(back, "d_output: expected 4 numbers, got 2");
        let back = linear.backward(&x, &mut cache, &[0.0; 4], &mut grads, Some(&mut dx));
        check(back, "d_input: expected 6 numbers, got 5");
        let back = linear.backward(&x, &mut cache, &[0.0; 4], &mut few.clone(), None);
        check(back, "gradients: expected at least 8 values");
    }
}
