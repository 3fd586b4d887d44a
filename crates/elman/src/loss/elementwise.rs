//! Losses of one prediction and one target: value and slope side by side.
//! x is the prediction, y the target, e = x - y.

use super::Row;
use crate::{Error, Float, Result};

/// l = e^2, dl/dx = 2 e
pub fn mse<F: Float>(e: F) -> (F, F) {
    (e * e, e + e)
}

/// l = |e|, dl/dx = sign(e), 0 at 0
pub fn l1<F: Float>(e: F) -> (F, F) {
    // Not `signum`, which gives 1 at 0. Written so that a NaN stays one.
    (e.abs(), if e == F::zero() { e } else { e.signum() })
}

/// l = e^2 / 2 for |e| <= delta, else delta (|e| - delta / 2);
/// dl/dx = e clamped to [-delta, delta]
pub fn huber<F: Float>(e: F, delta: F) -> (F, F) {
    let half = F::lit(0.5);
    if e.abs() <= delta {
        (half * e * e, e)
    } else {
        (delta * (e.abs() - half * delta), delta * e.signum())
    }
}

/// l = e^2 / (2 beta) for |e| < beta, else |e| - beta / 2;
/// dl/dx = e / beta clamped to [-1, 1]
pub fn smooth_l1<F: Float>(e: F, beta: F) -> (F, F) {
    let half = F::lit(0.5);
    if e.abs() < beta {
        (half * e * e / beta, e / beta)
    } else {
        let (value, slope) = l1(e);
        (value - half * beta, slope)
    }
}

/// l = -(p y log s(x) + (1 - y) log(1 - s(x)))
///   = (1 - y) x + (1 + (p - 1) y) log(1 + exp(-x)),
/// dl/dx = (1 - y) - (1 + (p - 1) y) s(-x)
pub fn bce_with_logits<F: Float>(x: F, y: F, p: F) -> (F, F) {
    let one = F::one();
    let factor = one + (p - one) * y;
    // log(1 + exp(-x)) without overflow.
    let softplus = exp(-x.abs()).ln_1p() + (-x).max(F::zero());
    (
        (one - y) * x + factor * softplus,
        (one - y) - factor * (-x).sigmoid_fast(),
    )
}

/// exp(x) for x <= 0
pub fn exp<F: Float>(x: F) -> F {
    let (s, q) = x.exp_parts();
    s + s * q
}

impl<F: Float> Row<'_, F> {
    /// A loss of each feature by itself; `f` takes feature, x and y.
    pub fn each(self, f: impl Fn(usize, F, F) -> (F, F)) -> f64 {
        let pairs = self.prediction.iter().zip(self.target);
        let weighted = pairs.zip(self.weight).zip(self.gradient).enumerate();
        let mut sum = 0.0;
        for (feature, (((x, y), w), d)) in weighted {
            *d = F::zero();
            if *w != F::zero() {
                let (value, slope) = f(feature, *x, *y);
                sum += (*w * value).f64();
                *d = *w / self.divisor * slope;
            }
        }
        sum
    }

    /// l = sum over the levels q of max(q (y - x_q), (1 - q) (x_q - y))
    pub fn quantile(mut self, levels: &[f64]) -> f64 {
        let (w, y) = (self.weight[0], self.target[0]);
        self.gradient.fill(F::zero());
        if w == F::zero() {
            return 0.0;
        }
        let mut sum = 0.0;
        for ((q, x), d) in levels.iter().zip(self.prediction).zip(self.gradient) {
            let (distance, side) = l1(*x - y);
            let q = F::lit(*q);
            let tilt = if side < F::zero() { q } else { F::one() - q };
            sum += (w * tilt * distance).f64();
            *d = w / self.divisor * tilt * side;
        }
        sum
    }

    /// l = (log v + (m - y)^2 / v) / 2, + log(2 pi) / 2 where `full`;
    /// dl/dm = (m - y) / v, dl/dv = (1 - (m - y)^2 / v) / (2 v)
    pub fn gaussian_nll(mut self, full: bool, eps: F) -> Result<f64> {
        let half = F::lit(0.5);
        let constant = if full {
            0.5 * std::f64::consts::TAU.ln()
        } else {
            0.0
        };
        let n = self.target.len();
        let mut sum = 0.0;
        for i in 0..n {
            let (w, y) = (self.weight[i], self.target[i]);
            let (mut dm, mut dv) = (F::zero(), F::zero());
            if w != F::zero() {
                let (m, v) = (self.prediction[i], self.prediction[n + i]);
                if v < F::zero() {
                    return Err(Error::numeric(format!(
                        "prediction[{}]: expected a variance of at least 0, got {v}; \
                         end the network with a positive function",
                        n + i
                    )));
                }
                // A NaN stays one.
                let v = if v < eps { eps } else { v };
                let e = m - y;
                let z = e / v;
                sum += w.f64() * ((half * (v.ln() + e * z)).f64() + constant);
                dm = w / self.divisor * z;
                dv = w / self.divisor * half * (F::one() - e * z) / v;
            }
            self.gradient[i] = dm;
            self.gradient[n + i] = dv;
        }
        Ok(sum)
    }
}
