//! Activations between layers, over rows of features.

use crate::Float;
use crate::float::Scalar;
use serde::{Deserialize, Serialize};

/// A function of every number, or of every row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `max(x, 0)`.
    Relu,
    /// The hyperbolic tangent.
    Tanh,
    /// The logistic function.
    Sigmoid,
    /// `exp(x) / sum of exp(x)` over the features.
    Softmax,
    /// The logarithm of that.
    LogSoftmax,
}

impl Activation {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Relu,
        Self::Tanh,
        Self::Sigmoid,
        Self::Softmax,
        Self::LogSoftmax,
    ];

    /// The name, as in `torch`: `log_softmax`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Relu => "relu",
            Self::Tanh => "tanh",
            Self::Sigmoid => "sigmoid",
            Self::Softmax => "softmax",
            Self::LogSoftmax => "log_softmax",
        }
    }

    /// `y` from `x`, in rows of `features`.
    pub(super) fn forward<F: Float>(self, features: usize, x: &[F], y: &mut [F]) {
        let each = |y: &mut [F], f: fn(F) -> F| {
            y.iter_mut().zip(x).for_each(|(y, x)| *y = f(*x));
        };
        match self {
            Self::Relu => each(y, Scalar::relu),
            Self::Tanh => each(y, Scalar::tanh),
            Self::Sigmoid => each(y, Scalar::sigmoid),
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
    pub(super) fn backward<F: Float>(self, features: usize, y: &[F], dy: &[F], dx: &mut [F]) {
        let each = |dx: &mut [F], f: fn(F) -> F| {
            for ((dx, dy), y) in dx.iter_mut().zip(dy).zip(y) {
                *dx += *dy * f(*y);
            }
        };
        match self {
            Self::Relu => each(dx, Scalar::positive),
            Self::Tanh => each(dx, |y| F::one() - y * y),
            Self::Sigmoid => each(dx, |y| y * (F::one() - y)),
            Self::Softmax | Self::LogSoftmax => {
                let rows = dy.chunks_exact(features).zip(y.chunks_exact(features));
                for ((dy, y), dx) in rows.zip(dx.chunks_exact_mut(features)) {
                    let softmax = self == Self::Softmax;
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
