//! Functions without parameters, over rows of features.

use crate::Float;
use crate::cell::Activation;

/// A function of every number, or of every row.
#[derive(Debug, Clone, Copy)]
pub(super) enum Function {
    Each(Activation),
    Softmax,
    LogSoftmax,
}

impl Function {
    /// `y` from `x`, in rows of `features`.
    pub fn forward<F: Float>(self, features: usize, x: &[F], y: &mut [F]) {
        match self {
            Self::Each(f) => y.iter_mut().zip(x).for_each(|(y, x)| *y = f.value(*x)),
            Self::Softmax | Self::LogSoftmax => {
                let rows = x.chunks_exact(features).zip(y.chunks_exact_mut(features));
                for (x, y) in rows {
                    let largest = x.iter().fold(F::neg_infinity(), |m, x| m.max(*x));
                    let sum = x
                        .iter()
                        .fold(F::zero(), |sum, x| sum + (*x - largest).exp());
                    let log = sum.ln();
                    for (y, x) in y.iter_mut().zip(x) {
                        *y = match self {
                            Self::Softmax => (*x - largest).exp() / sum,
                            _ => *x - largest - log,
                        };
                    }
                }
            }
        }
    }

    /// Adds to `dx` from `y` and `dy`.
    pub fn backward<F: Float>(self, features: usize, y: &[F], dy: &[F], dx: &mut [F]) {
        match self {
            Self::Each(f) => {
                for ((dx, dy), y) in dx.iter_mut().zip(dy).zip(y) {
                    *dx += *dy * f.slope(*y);
                }
            }
            Self::Softmax | Self::LogSoftmax => {
                let rows = dy.chunks_exact(features).zip(y.chunks_exact(features));
                for ((dy, y), dx) in rows.zip(dx.chunks_exact_mut(features)) {
                    let softmax = matches!(self, Self::Softmax);
                    let along = dy.iter().zip(y).fold(F::zero(), |sum, (dy, y)| {
                        sum + if softmax { *dy * *y } else { *dy }
                    });
                    for ((dx, dy), y) in dx.iter_mut().zip(dy).zip(y) {
                        *dx += match self {
                            Self::Softmax => *y * (*dy - along),
                            _ => *dy - y.exp() * along,
                        };
                    }
                }
            }
        }
    }
}
