//! Losses with PyTorch's meaning, each with its gradient.
//!
//! Arrays are `(steps, batch, features)`. A [`Loss`] is evaluated in two
//! parts, so that a batch may be cut into blocks of rows whose values and
//! gradients add up to those of the whole:
//!
//! 1. [`Loss::divisor`] looks at the whole batch and gives the number that
//!    the sum of the losses is divided by: how many elements count, or 1;
//! 2. [`Loss::evaluate`] takes a batch, or a block of it, and that divisor.
//!
//! ```
//! use elman::loss::{Loss, Reduction};
//! use elman::ndarray::{Array3, array};
//!
//! let prediction = array![[[1.0]], [[5.0]]];
//! let target = array![[[3.0]], [[f64::NAN]]];
//! let weight = array![[[1.0]], [[0.0]]]; // the second step is padding
//! let mut gradient = Array3::zeros(prediction.dim());
//!
//! let divisor = Loss::Mse.divisor(Reduction::Mean, target.view(), Some(weight.view()))?;
//! let value = Loss::Mse.evaluate(
//!     prediction.view(),
//!     target.view(),
//!     Some(weight.view()),
//!     divisor,
//!     gradient.view_mut(),
//! )?;
//! assert_eq!(value, 4.0);
//! assert_eq!(gradient, array![[[-4.0]], [[0.0]]]);
//! # Ok::<(), elman::Error>(())
//! ```

mod cross_entropy;
mod elementwise;
#[cfg(test)]
mod tests;

pub use cross_entropy::CrossEntropy;

use crate::error::expect;
use crate::{Error, Float, Result};
use ndarray::{ArrayView0, ArrayView1, ArrayView3, ArrayViewMut1, ArrayViewMut3, aview0};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a prediction is measured by. In the formulas x is the prediction, y
/// the target and e = x - y.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Loss {
    /// e^2 (`MSELoss`).
    Mse,
    /// |e| (`L1Loss`); the gradient at e = 0 is 0.
    L1,
    /// e^2 / 2 up to |e| = delta, then delta (|e| - delta / 2) (`HuberLoss`).
    Huber {
        /// Where the parabola ends; above 0. PyTorch's default is 1.
        delta: f64,
    },
    /// e^2 / (2 beta) up to |e| = beta, then |e| - beta / 2 (`SmoothL1Loss`).
    SmoothL1 {
        /// Where the parabola ends; at least 0. PyTorch's default is 1.
        beta: f64,
    },
    /// The pinball loss: (y - x) q where x is too low, (x - y) (1 - q) where
    /// it is too high; the gradient at x = y is 0. The features of the
    /// prediction are the levels, the target has one feature.
    Quantile {
        /// The levels q, each between 0 and 1.
        levels: Vec<f64>,
    },
    /// Log-softmax over the features, then the negative logarithm of the
    /// target's class (`CrossEntropyLoss`).
    CrossEntropy(CrossEntropy),
    /// -(p y log s(x) + (1 - y) log(1 - s(x))) with s the logistic function
    /// (`BCEWithLogitsLoss`); targets are probabilities.
    BceWithLogits {
        /// p of each feature; 1 where it is not given.
        pos_weight: Option<Vec<f64>>,
    },
    /// (log v + (m - y)^2 / v) / 2 (`GaussianNLLLoss`). The first half of the
    /// prediction's features are the means m, the second half the variances
    /// v, at least 0.
    GaussianNll {
        /// Adds the constant log(2 pi) / 2.
        #[serde(default)]
        full: bool,
        /// Variances below it are taken as it; above 0. PyTorch's default is
        /// 1e-6. As in PyTorch, their gradient ignores the clamp.
        eps: f64,
    },
}

/// How the losses of the elements become one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reduction {
    /// The weighted mean of the elements that count.
    #[default]
    Mean,
    /// The weighted sum.
    Sum,
}

impl Loss {
    /// Refuses options outside their range.
    ///
    /// [`divisor`](Self::divisor) and [`evaluate`](Self::evaluate) do so
    /// themselves; this is for whoever wants to know early.
    pub fn validate(&self) -> Result<()> {
        match self {
            Self::Mse | Self::L1 => Ok(()),
            Self::Huber { delta } => expect(
                *delta > 0.0 && delta.is_finite(),
                "delta",
                "a number above 0",
                delta,
            ),
            Self::SmoothL1 { beta } => expect(
                *beta >= 0.0 && beta.is_finite(),
                "beta",
                "a number of at least 0",
                beta,
            ),
            Self::Quantile { levels } => {
                expect(!levels.is_empty(), "levels", "at least one", "none")?;
                levels.iter().try_for_each(|q| {
                    expect(*q > 0.0 && *q < 1.0, "levels", "numbers between 0 and 1", q)
                })
            }
            Self::CrossEntropy(options) => options.validate(),
            Self::BceWithLogits { pos_weight } => not_negative("pos_weight", pos_weight.as_deref()),
            Self::GaussianNll { eps, .. } => expect(
                *eps > 0.0 && eps.is_finite(),
                "eps",
                "a number above 0",
                eps,
            ),
        }
    }

    /// What the sum of the losses of a batch is divided by: 1 for a sum; for
    /// a mean the sum of the weights of all elements, each level of
    /// [`Quantile`](Self::Quantile) being one, and for
    /// [`CrossEntropy`](Self::CrossEntropy) with the weight of the target's
    /// class as a factor.
    ///
    /// `target` and `weight` as in [`evaluate`](Self::evaluate), of the whole
    /// batch. The divisor is 0 where nothing counts.
    ///
    /// # Errors
    ///
    /// An option out of range, a weight of the wrong shape, negative or not
    /// finite, a target that is no class of the class weights.
    pub fn divisor<F: Float>(
        &self,
        reduction: Reduction,
        target: ArrayView3<F>,
        weight: Option<ArrayView3<F>>,
    ) -> Result<f64> {
        self.validate()?;
        let one = F::one();
        let one = aview0(&one);
        let weight = spread(&weight, &one, target.dim())?;
        match (reduction, self) {
            (Reduction::Sum, _) => Ok(1.0),
            (Reduction::Mean, Self::CrossEntropy(options)) => {
                let counts = target.iter().zip(&weight);
                counts.map(|(y, w)| options.count(*y, *w)).sum()
            }
            (Reduction::Mean, _) => {
                let per_weight = match self {
                    Self::Quantile { levels } => levels.len() as f64,
                    _ => 1.0,
                };
                Ok(per_weight * weight.iter().map(|w| w.f64()).sum::<f64>())
            }
        }
    }

    /// The loss of a batch, or of a block of its rows, and its gradient.
    ///
    /// - `prediction`: `(T, B, features)`;
    /// - `target`: `(T, B, features)`; `(T, B, 1)` for
    ///   [`Quantile`](Self::Quantile) and
    ///   [`CrossEntropy`](Self::CrossEntropy), `(T, B, features / 2)` for
    ///   [`GaussianNll`](Self::GaussianNll);
    /// - `weight`: `(T, B, 1)` or the target's shape, each at least 0; where
    ///   it is 0 the gradient is 0 and the numbers are not looked at, NaN
    ///   included;
    /// - `divisor`: of the whole batch, from [`divisor`](Self::divisor). The
    ///   value and the gradient are divided by it; where it is 0, nothing
    ///   counts and they are 0;
    /// - `d_prediction`: the prediction's shape; overwritten.
    ///
    /// The value is summed in `f64`, in the order step, row, feature. No
    /// memory is allocated.
    ///
    /// # Errors
    ///
    /// What [`divisor`](Self::divisor) refuses, a shape that does not fit, a
    /// divisor that is negative or not finite, a target that is no class, a
    /// negative variance. The gradient is then of no use.
    pub fn evaluate<F: Float>(
        &self,
        prediction: ArrayView3<F>,
        target: ArrayView3<F>,
        weight: Option<ArrayView3<F>>,
        divisor: f64,
        mut d_prediction: ArrayViewMut3<F>,
    ) -> Result<f64> {
        self.validate()?;
        let (steps, batch, features) = prediction.dim();
        let target_features = self.target_features(features)?;
        same_shape("target", (steps, batch, target_features), target.dim())?;
        same_shape("d_prediction", prediction.dim(), d_prediction.dim())?;
        expect(
            divisor >= 0.0 && divisor.is_finite(),
            "divisor",
            "a finite number of at least 0",
            divisor,
        )?;
        let one = F::one();
        let one = aview0(&one);
        let weight = spread(&weight, &one, target.dim())?;
        if divisor == 0.0 {
            d_prediction.fill(F::zero());
            return Ok(0.0);
        }

        let rows = prediction.rows().into_iter().zip(target.rows());
        let rows = rows.zip(weight.rows()).zip(d_prediction.rows_mut());
        let mut sum = 0.0;
        for (i, (((prediction, target), weight), gradient)) in rows.enumerate() {
            let row = Row {
                prediction,
                target,
                weight,
                gradient,
                divisor: F::lit(divisor),
            };
            sum += self
                .row(row)
                .map_err(|e| e.at(format_args!("step {}, row {}", i / batch, i % batch)))?;
        }
        Ok(sum / divisor)
    }

    /// How many features the target of a prediction has.
    fn target_features(&self, features: usize) -> Result<usize> {
        let needs = |ok: bool, expected: fmt::Arguments| {
            if ok {
                return Ok(());
            }
            Err(Error::shape(format!(
                "prediction: expected {expected}, got {features} features"
            )))
        };
        match self {
            Self::Mse | Self::L1 | Self::Huber { .. } | Self::SmoothL1 { .. } => Ok(features),
            Self::BceWithLogits { pos_weight } => {
                let n = pos_weight.as_ref().map_or(features, Vec::len);
                needs(n == features, format_args!("{n} features = pos_weight"))?;
                Ok(features)
            }
            Self::Quantile { levels } => {
                let n = levels.len();
                needs(n == features, format_args!("{n} features = levels"))?;
                Ok(1)
            }
            Self::CrossEntropy(CrossEntropy { class_weights, .. }) => {
                let n = class_weights.as_ref().map_or(features.max(1), Vec::len);
                needs(n == features, format_args!("{n} features = classes"))?;
                Ok(1)
            }
            Self::GaussianNll { .. } => {
                let even = features.is_multiple_of(2);
                needs(even, format_args!("a variance for each mean"))?;
                Ok(features / 2)
            }
        }
    }

    /// Writes the gradient of one row and returns its weighted sum.
    fn row<F: Float>(&self, row: Row<F>) -> Result<f64> {
        use elementwise::{bce_with_logits, huber, l1, mse, smooth_l1};
        match self {
            Self::Mse => Ok(row.each(|_, x, y| mse(x - y))),
            Self::L1 => Ok(row.each(|_, x, y| l1(x - y))),
            Self::Huber { delta } => {
                let delta = F::lit(*delta);
                Ok(row.each(|_, x, y| huber(x - y, delta)))
            }
            Self::SmoothL1 { beta } => {
                let beta = F::lit(*beta);
                Ok(row.each(|_, x, y| smooth_l1(x - y, beta)))
            }
            Self::BceWithLogits { pos_weight } => Ok(row.each(|feature, x, y| {
                let p = pos_weight.as_ref().and_then(|p| p.get(feature));
                bce_with_logits(x, y, p.map_or(F::one(), |p| F::lit(*p)))
            })),
            Self::Quantile { levels } => Ok(row.quantile(levels)),
            Self::CrossEntropy(options) => options.row(row),
            Self::GaussianNll { full, eps } => row.gaussian_nll(*full, F::lit(*eps)),
        }
    }
}

/// One row at one step.
struct Row<'a, F> {
    prediction: ArrayView1<'a, F>,
    target: ArrayView1<'a, F>,
    weight: ArrayView1<'a, F>,
    gradient: ArrayViewMut1<'a, F>,
    divisor: F,
}

type Shape = (usize, usize, usize);

fn same_shape(name: &str, expected: Shape, got: Shape) -> Result<()> {
    if expected == got {
        return Ok(());
    }
    Err(Error::shape(format!(
        "{name}: expected shape {expected:?} = (steps, batch, features), got {got:?}"
    )))
}

/// The weights as a view of the target's shape; ones where none are given.
fn spread<'a, F: Float>(
    weight: &'a Option<ArrayView3<F>>,
    one: &'a ArrayView0<F>,
    (steps, batch, features): Shape,
) -> Result<ArrayView3<'a, F>> {
    let shape = (steps, batch, features);
    let view = match weight {
        None => one.broadcast(shape),
        Some(weight) => {
            if let Some(w) = weight.iter().find(|w| !(w.is_finite() && **w >= F::zero())) {
                return Err(Error::option(format!(
                    "weight: expected finite numbers of at least 0, got {w}"
                )));
            }
            let (t, b, _) = weight.dim();
            // `broadcast` alone would also stretch steps and rows.
            let view = weight.broadcast(shape);
            view.filter(|_| (t, b) == (steps, batch))
        }
    };
    view.ok_or_else(|| {
        Error::shape(format!(
            "weight: expected shape {:?} or {shape:?}, got {:?}",
            (steps, batch, 1),
            weight.as_ref().map_or(shape, |w| w.dim())
        ))
    })
}

fn not_negative(name: &str, values: Option<&[f64]>) -> Result<()> {
    values.unwrap_or_default().iter().try_for_each(|x| {
        expect(
            *x >= 0.0 && x.is_finite(),
            name,
            "finite numbers of at least 0",
            x,
        )
    })
}
