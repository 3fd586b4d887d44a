//! The simple cell with any activation:
//!
//! ```text
//! h' = act(W_ih x + b_ih + W_hh h + b_hh)
//! ```

use crate::cell::{Activation, GatedCell, Rnn, STATES, SUMS, Side, Sizes};
use crate::float::Scalar;

/// The simple cell with any activation.
#[derive(Debug, Clone, PartialEq)]
pub struct RnnVariant {
    /// Input and hidden size, and the biases.
    pub sizes: Sizes,
    /// The activation.
    pub act: Activation,
}

impl GatedCell for RnnVariant {
    const SAVED: &'static [&'static str] = Rnn::SAVED;
    const STATE: &'static [&'static str] = Rnn::STATE;
    const INPUT: Side = Rnn::INPUT;
    const HIDDEN: Side = Rnn::HIDDEN;

    fn sizes(&self) -> Sizes {
        self.sizes
    }

    #[inline(always)]
    fn update<S: Scalar>(&self, sums: &mut [S; SUMS], _: [S; STATES]) -> [S; STATES] {
        [self.act.value(sums[0]), S::lit(0.0)]
    }

    /// `da = dh act'`.
    #[inline(always)]
    fn update_back<S: Scalar>(
        &self,
        _: [S; SUMS],
        _: [S; STATES],
        [h, _]: [S; STATES],
        [dh, _]: [S; STATES],
    ) -> ([S; SUMS], [S; STATES]) {
        let zero = S::lit(0.0);
        ([dh * self.act.slope(h), zero, zero, zero], [zero, zero])
    }
}
