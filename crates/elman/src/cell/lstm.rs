//! Long short-term memory, Hochreiter and Schmidhuber (1997) with the forget
//! gate of Gers et al. (2000), PyTorch's `LSTMCell`:
//!
//! ```text
//! i = s(W_ii x + b_ii + W_hi h + b_hi)        g = tanh(W_ig x + b_ig + W_hg h + b_hg)
//! f = s(W_if x + b_if + W_hf h + b_hf)        o = s(W_io x + b_io + W_ho h + b_ho)
//! c' = f * c + i * g                          h' = o * tanh(c')
//! ```
//!
//! With a projection (Sak et al., 2014), which makes the recurrent weights
//! fewer:
//!
//! ```text
//! m = o * tanh(c')                            h' = W_hr m
//! ```
//!
//! The gates lie in the weights in the order i, f, g, o.

use super::gated::{GatedCell, STATES, SUMS, Side, Sizes};
use crate::float::Scalar;

/// Long short-term memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lstm {
    /// Input and hidden size, and the biases.
    pub sizes: Sizes,
    /// `R`, the size of `h` under a projection; 0 for none.
    pub proj_size: usize,
}

impl GatedCell for Lstm {
    const SAVED: &'static [&'static str] = &["i", "f", "g", "o"];
    const STATE: &'static [&'static str] = &["h", "c"];
    const INPUT: Side = Side {
        first: 0,
        gates: &[0, 1, 2, 3],
    };
    const HIDDEN: Side = Side {
        first: 0,
        gates: &[0, 1, 2, 3],
    };

    fn sizes(&self) -> Sizes {
        self.sizes
    }

    fn proj_size(&self) -> usize {
        self.proj_size
    }

    #[inline(always)]
    fn gates<S: Scalar>(&self, sums: &mut [S; SUMS]) {
        let [a_i, a_f, a_g, a_o] = *sums;
        *sums = [a_i.sigmoid(), a_f.sigmoid(), a_g.tanh(), a_o.sigmoid()];
    }

    #[inline(always)]
    fn update<S: Scalar>(&self, sums: &mut [S; SUMS], [_, c]: [S; STATES]) -> [S; STATES] {
        let [i, f, g, o] = *sums;
        let c = f * c + i * g;
        [o * c.tanh(), c]
    }

    /// ```text
    /// do = s'(o) dh tanh(c')       dc' += dh o (1 - tanh(c')^2)
    /// di = s'(i) dc' g             df = s'(f) dc' c
    /// dg = (1 - g^2) dc' i         direct: dc = dc' f
    /// ```
    #[inline(always)]
    fn update_back<S: Scalar>(
        &self,
        [i, f, g, o]: [S; SUMS],
        [_, c]: [S; STATES],
        [_, c_next]: [S; STATES],
        [dh, dc_next]: [S; STATES],
    ) -> ([S; SUMS], [S; STATES]) {
        let one = S::lit(1.0);
        let t = c_next.tanh();
        let d_o = o * (one - o) * dh * t;
        let dc = dc_next + dh * o * (one - t * t);
        let di = i * (one - i) * dc * g;
        let df = f * (one - f) * dc * c;
        let dg = (one - g * g) * dc * i;
        ([di, df, dg, d_o], [S::lit(0.0), dc * f])
    }
}
