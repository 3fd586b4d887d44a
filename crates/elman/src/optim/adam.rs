use super::state::{BufferNames, Buffers};
use super::{decay, not_negative, power};
use crate::{Float, Result};
use serde::{Deserialize, Serialize};

/// Options of Adam (`torch.optim.Adam`).
///
/// With g the gradient, w the parameter, t the step counted from 1, (b1, b2)
/// the betas, m = `exp_avg` and v = `exp_avg_sq`:
///
/// ```text
/// g = g + weight_decay w
/// m = b1 m + (1 - b1) g
/// v = b2 v + (1 - b2) g^2
/// w = w - lr / (1 - b1^t) m / (sqrt(v) / sqrt(1 - b2^t) + eps)
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Adam {
    /// The decay of the two moments, each in `[0, 1)`; (0.9, 0.999) by
    /// default.
    pub betas: (f64, f64),
    /// Keeps the quotient finite; at least 0, 1e-8 by default.
    pub eps: f64,
    /// The L2 penalty; at least 0, 0 by default.
    pub weight_decay: f64,
}

/// Options of AdamW (`torch.optim.AdamW`): [`Adam`] without a penalty in the
/// gradient; instead w = (1 - lr weight_decay) w before each step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdamW {
    /// The decay of the two moments, each in `[0, 1)`; (0.9, 0.999) by
    /// default.
    pub betas: (f64, f64),
    /// Keeps the quotient finite; at least 0, 1e-8 by default.
    pub eps: f64,
    /// How fast the parameters shrink; at least 0, 0.01 by default.
    pub weight_decay: f64,
}

impl Default for Adam {
    fn default() -> Self {
        Self {
            betas: (0.9, 0.999),
            eps: 1e-8,
            weight_decay: 0.0,
        }
    }
}

impl Default for AdamW {
    fn default() -> Self {
        let Adam { betas, eps, .. } = Adam::default();
        Self {
            betas,
            eps,
            weight_decay: 0.01,
        }
    }
}

impl Adam {
    pub(super) const BUFFER_NAMES: BufferNames = [Some("exp_avg"), Some("exp_avg_sq"), None];

    pub(super) fn validate(&self) -> Result<()> {
        decay("betas[0]", self.betas.0)?;
        decay("betas[1]", self.betas.1)?;
        not_negative("eps", self.eps)?;
        not_negative("weight_decay", self.weight_decay)
    }

    pub(super) fn step<F: Float>(
        &self,
        t: u64,
        params: &mut [F],
        grads: &[F],
        lr: f64,
        buffers: Buffers<'_, F>,
    ) {
        self.shrink_and_step(1.0, t, params, grads, lr, buffers);
    }

    /// [`step`](Self::step) on w = `keep` w.
    fn shrink_and_step<F: Float>(
        &self,
        keep: f64,
        t: u64,
        params: &mut [F],
        grads: &[F],
        lr: f64,
        [exp_avg, exp_avg_sq, _]: Buffers<'_, F>,
    ) {
        let (b1, b2) = self.betas;
        let rate = F::lit(lr / (1.0 - power(b1, t)));
        let root = F::lit((1.0 - power(b2, t)).sqrt());
        let (c1, c2) = (F::lit(1.0 - b1), F::lit(1.0 - b2));
        let (b1, b2, eps) = (F::lit(b1), F::lit(b2), F::lit(self.eps));
        let (keep, weight_decay) = (F::lit(keep), F::lit(self.weight_decay));
        let weights = params.iter_mut().zip(grads);
        for (((w, g), m), v) in weights.zip(exp_avg).zip(exp_avg_sq) {
            let g = *g + weight_decay * *w;
            *m = b1 * *m + c1 * g;
            *v = b2 * *v + c2 * (g * g);
            *w = keep * *w - rate * (*m / (v.sqrt() / root + eps));
        }
    }
}

impl AdamW {
    pub(super) fn validate(&self) -> Result<()> {
        self.moments().validate()?;
        not_negative("weight_decay", self.weight_decay)
    }

    fn moments(&self) -> Adam {
        Adam {
            betas: self.betas,
            eps: self.eps,
            weight_decay: 0.0,
        }
    }

    pub(super) fn step<F: Float>(
        &self,
        t: u64,
        params: &mut [F],
        grads: &[F],
        lr: f64,
        buffers: Buffers<'_, F>,
    ) {
        let keep = 1.0 - lr * self.weight_decay;
        self.moments()
            .shrink_and_step(keep, t, params, grads, lr, buffers);
    }
}
