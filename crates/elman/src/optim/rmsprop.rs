use super::state::{BufferNames, Buffers};
use super::{expect, not_negative};
use crate::{Float, Result};
use serde::{Deserialize, Serialize};

/// Options of RMSprop (`torch.optim.RMSprop`).
///
/// With g the gradient, w the parameter, a = alpha, v = `square_avg`,
/// c = `grad_avg` and b = `momentum_buffer`:
///
/// ```text
/// g = g + weight_decay w
/// v = a v + (1 - a) g^2
/// s = sqrt(v);  centred: c = a c + (1 - a) g, s = sqrt(v - c^2)
/// w = w - lr g / (s + eps)
/// with a momentum: b = momentum b + g / (s + eps), w = w - lr b
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RmsProp {
    /// The decay of the averages, from 0 to 1; 0.99 by default.
    pub alpha: f64,
    /// Keeps the quotient finite; at least 0, 1e-8 by default.
    pub eps: f64,
    /// The L2 penalty; at least 0, 0 by default.
    pub weight_decay: f64,
    /// How much of the last step goes on; at least 0, 0 by default.
    pub momentum: f64,
    /// Divides by the estimated standard deviation of the gradient; false by
    /// default.
    pub centered: bool,
}

impl Default for RmsProp {
    fn default() -> Self {
        Self {
            alpha: 0.99,
            eps: 1e-8,
            weight_decay: 0.0,
            momentum: 0.0,
            centered: false,
        }
    }
}

impl RmsProp {
    pub(super) fn validate(&self) -> Result<()> {
        expect(
            (0.0..=1.0).contains(&self.alpha),
            "alpha",
            "a number from 0 to 1",
            self.alpha,
        )?;
        not_negative("eps", self.eps)?;
        not_negative("weight_decay", self.weight_decay)?;
        not_negative("momentum", self.momentum)
    }

    pub(super) fn buffer_names(&self) -> BufferNames {
        [
            Some("square_avg"),
            (self.momentum > 0.0).then_some("momentum_buffer"),
            self.centered.then_some("grad_avg"),
        ]
    }

    pub(super) fn step<F: Float>(
        &self,
        params: &mut [F],
        grads: &[F],
        lr: f64,
        [square_avg, momentum_buffer, grad_avg]: Buffers<'_, F>,
    ) {
        let (lr, a, c) = (F::lit(lr), F::lit(self.alpha), F::lit(1.0 - self.alpha));
        let (eps, weight_decay) = (F::lit(self.eps), F::lit(self.weight_decay));
        let momentum = F::lit(self.momentum);
        // Absent buffers run dry at once.
        let mut momentum_buffer = momentum_buffer.iter_mut();
        let mut grad_avg = grad_avg.iter_mut();
        for ((w, g), v) in params.iter_mut().zip(grads).zip(square_avg) {
            let g = *g + weight_decay * *w;
            *v = a * *v + c * (g * g);
            let mut variance = *v;
            if let Some(avg) = grad_avg.next() {
                *avg = a * *avg + c * g;
                // Rounding may take it below zero.
                variance = (variance - *avg * *avg).max(F::zero());
            }
            let mut step = g / (variance.sqrt() + eps);
            if let Some(b) = momentum_buffer.next() {
                *b = momentum * *b + step;
                step = *b;
            }
            *w -= lr * step;
        }
    }
}
