use super::state::{BufferNames, Buffers};
use super::{expect, not_negative};
use crate::{Float, Result};
use serde::{Deserialize, Serialize};

/// Options of stochastic gradient descent (`torch.optim.SGD`). All are 0 or
/// false by default.
///
/// With g the gradient, w the parameter and b the momentum buffer:
///
/// ```text
/// g = g + weight_decay w
/// b = g at the first step, then momentum b + (1 - dampening) g
/// w = w - lr b;  with nesterov: w - lr (g + momentum b)
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sgd {
    /// How much of the last step goes on; at least 0.
    pub momentum: f64,
    /// How much of the gradient is kept out of the momentum.
    pub dampening: f64,
    /// Nesterov's momentum; needs a momentum and no dampening.
    pub nesterov: bool,
    /// The L2 penalty; at least 0.
    pub weight_decay: f64,
}

impl Sgd {
    pub(super) fn validate(&self) -> Result<()> {
        not_negative("momentum", self.momentum)?;
        not_negative("weight_decay", self.weight_decay)?;
        let dampening = self.dampening;
        expect(
            dampening.is_finite(),
            "dampening",
            "a finite number",
            dampening,
        )?;
        expect(
            !self.nesterov || (self.momentum > 0.0 && dampening == 0.0),
            "nesterov",
            "a momentum above 0 and a dampening of 0",
            format_args!("{} and {dampening}", self.momentum),
        )
    }

    pub(super) fn buffer_names(&self) -> BufferNames {
        let kept = self.momentum > 0.0;
        [kept.then_some("momentum_buffer"), None, None]
    }

    pub(super) fn step<F: Float>(
        &self,
        t: u64,
        params: &mut [F],
        grads: &[F],
        lr: f64,
        [buffer, ..]: Buffers<'_, F>,
    ) {
        let (lr, weight_decay) = (F::lit(lr), F::lit(self.weight_decay));
        let momentum = F::lit(self.momentum);
        let share = F::lit(if t == 1 { 1.0 } else { 1.0 - self.dampening });
        let weights = params.iter_mut().zip(grads);
        if buffer.is_empty() {
            for (w, g) in weights {
                *w -= lr * (*g + weight_decay * *w);
            }
            return;
        }
        for ((w, g), b) in weights.zip(buffer) {
            let g = *g + weight_decay * *w;
            *b = momentum * *b + share * g;
            *w -= lr * if self.nesterov { g + momentum * *b } else { *b };
        }
    }
}
