use super::elementwise::exp;
use super::{Row, not_negative};
use crate::error::expect;
use crate::{Error, Float, Result};
use serde::{Deserialize, Serialize};

/// Options of [`Loss::CrossEntropy`](super::Loss::CrossEntropy).
///
/// The features of the prediction are scores of the classes; the target's one
/// feature is the number of the class, counted from 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CrossEntropy {
    /// A target that does not count; -100 by default.
    pub ignore_index: i64,
    /// A weight of each class, at least 0; 1 where it is not given.
    pub class_weights: Option<Vec<f64>>,
    /// The part of the target, from 0 to 1, that is spread evenly over all
    /// classes; 0 by default.
    pub label_smoothing: f64,
}

impl Default for CrossEntropy {
    fn default() -> Self {
        Self {
            ignore_index: -100,
            class_weights: None,
            label_smoothing: 0.0,
        }
    }
}

impl CrossEntropy {
    pub(super) fn validate(&self) -> Result<()> {
        not_negative("class_weights", self.class_weights.as_deref())?;
        expect(
            (0.0..=1.0).contains(&self.label_smoothing),
            "label_smoothing",
            "a number from 0 to 1",
            self.label_smoothing,
        )
    }

    fn counts<F: Float>(&self, target: F, weight: F) -> bool {
        weight != F::zero() && target.f64() != self.ignore_index as f64
    }

    fn class<F: Float>(&self, target: F, classes: usize) -> Result<usize> {
        let y = target.f64();
        if y >= 0.0 && y < classes as f64 && y.fract() == 0.0 {
            return Ok(y as usize);
        }
        Err(Error::option(format!(
            "target: expected a class below {classes} or ignore_index = {}, got {y}",
            self.ignore_index
        )))
    }

    fn class_weight(&self, class: usize) -> f64 {
        let weights = self.class_weights.as_ref();
        weights.and_then(|w| w.get(class)).map_or(1.0, |w| *w)
    }

    /// What one target adds to the divisor of a mean.
    pub(super) fn count<F: Float>(&self, target: F, weight: F) -> Result<f64> {
        match &self.class_weights {
            _ if !self.counts(target, weight) => Ok(0.0),
            None => Ok(weight.f64()),
            Some(weights) => {
                let class = self.class(target, weights.len())?;
                Ok(weight.f64() * self.class_weight(class))
            }
        }
    }

    /// With c the weights of the K classes, p = softmax(x) and the smoothing s:
    ///
    /// ```text
    /// l       = -(1 - s) c_y log p_y - s/K sum_k c_k log p_k
    /// dl/dx_k = (1 - s) c_y (p_k - [k = y]) + s/K (p_k sum_j c_j - c_k)
    /// ```
    pub(super) fn row<F: Float>(&self, mut row: Row<F>) -> Result<f64> {
        let x = row.prediction;
        let (w, target) = (row.weight[0], row.target[0]);
        if !self.counts(target, w) {
            row.gradient.fill(F::zero());
            return Ok(0.0);
        }
        let classes = x.len();
        let y = self.class(target, classes)?;

        let max = x.fold(F::neg_infinity(), |a, b| a.max(*b));
        let mut total = F::zero();
        for (d, x) in row.gradient.iter_mut().zip(x) {
            *d = exp(*x - max);
            total += *d;
        }
        let log_total = total.ln();
        let log_p = |k: usize| (x[k] - max - log_total).f64();

        let share = self.label_smoothing / classes as f64;
        let hard = (1.0 - self.label_smoothing) * self.class_weight(y);
        let mut loss = -hard * log_p(y);
        let mut soft = 0.0;
        if share > 0.0 {
            for k in 0..classes {
                loss -= share * self.class_weight(k) * log_p(k);
                soft += share * self.class_weight(k);
            }
        }

        let scale = w / row.divisor;
        let mass = F::lit(hard + soft) / total;
        for (k, d) in row.gradient.iter_mut().enumerate() {
            let aim = if k == y { hard } else { 0.0 } + share * self.class_weight(k);
            *d = scale * (*d * mass - F::lit(aim));
        }
        Ok(w.f64() * loss)
    }
}
