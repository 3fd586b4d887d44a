//! A cell of a user's own: leaky units, inhibited by their mean activity.

use elman::Float;
use elman::cell::{Cell, Part, Rows, RowsBack};

/// ```text
/// s  = tanh(W x + U h + b - v m)
/// h' = (1 - k) h + k s
/// m' = (1 - k) m + k mean(h')        one number
/// ```
#[derive(Debug, Clone)]
pub struct Leaky {
    pub input_size: usize,
    pub hidden_size: usize,
    pub k: f64,
}

impl<F: Float> Cell<F> for Leaky {
    fn input_size(&self) -> usize {
        self.input_size
    }

    fn hidden_size(&self) -> usize {
        self.hidden_size
    }

    fn states(&self) -> Vec<Part> {
        vec![part("h", &[self.hidden_size]), part("m", &[1])]
    }

    fn params(&self) -> Vec<Part> {
        let (i, h) = (self.input_size, self.hidden_size);
        vec![
            part("weight_ih", &[h, i]),
            part("weight_hh", &[h, h]),
            part("bias", &[h]),
            part("inhibition", &[h]),
        ]
    }

    fn saved(&self) -> Vec<&'static str> {
        vec!["s"]
    }

    fn step(&self, weights: &[F], row: Rows<'_, F>) {
        let n = self.hidden_size;
        let (w, rest) = weights.split_at(n * self.input_size);
        let (u, rest) = rest.split_at(n * n);
        let (b, v) = rest.split_at(n);
        let (h, m) = (&row.prev[..n], row.prev[n]);
        let k = F::lit(self.k);
        let mut mean = F::zero();
        for j in 0..n {
            let mut a = b[j] - v[j] * m;
            a += dot(&w[j * row.x.len()..], row.x) + dot(&u[j * n..], h);
            row.saved[j] = a.tanh();
            row.next[j] = (F::one() - k) * h[j] + k * row.saved[j];
            mean += row.next[j] / F::lit(n as f64);
        }
        row.next[n] = (F::one() - k) * m + k * mean;
    }

    fn step_back(&self, weights: &[F], row: RowsBack<'_, F>) {
        let (n, i) = (self.hidden_size, self.input_size);
        let (w, rest) = weights.split_at(n * i);
        let (u, rest) = rest.split_at(n * n);
        let v = &rest[n..];
        let (dw, rest) = row.d_weights.split_at_mut(n * i);
        let (du, rest) = rest.split_at_mut(n * n);
        let (db, dv) = rest.split_at_mut(n);
        let (h, m) = (&row.prev[..n], row.prev[n]);
        let k = F::lit(self.k);
        let d_m = row.d_state[n];
        let mut d_x = row.d_x;
        row.d_state[n] = (F::one() - k) * d_m;
        for j in 0..n {
            let d_h = row.d_state[j] + k * d_m / F::lit(n as f64);
            let s = row.saved[j];
            row.d_saved[j] = k * d_h * (F::one() - s * s);
            row.d_state[j] = (F::one() - k) * d_h;
        }
        for j in 0..n {
            let a = row.d_saved[j];
            db[j] += a;
            dv[j] -= a * m;
            row.d_state[n] -= a * v[j];
            for l in 0..n {
                du[j * n + l] += a * h[l];
                row.d_state[l] += a * u[j * n + l];
            }
            for l in 0..i {
                dw[j * i + l] += a * row.x[l];
                if let Some(d_x) = &mut d_x {
                    d_x[l] += a * w[j * i + l];
                }
            }
        }
    }
}

fn part(name: &'static str, shape: &[usize]) -> Part {
    Part {
        name,
        shape: shape.to_vec(),
    }
}

fn dot<F: Float>(a: &[F], b: &[F]) -> F {
    a.iter().zip(b).map(|(a, b)| *a * *b).sum()
}
