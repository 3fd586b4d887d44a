//! The gated recurrent unit of Cho et al. (2014), in the form of PyTorch's
//! `GRUCell`: the reset gate acts after the matrix product.
//!
//! ```text
//! r  = s(W_ir x + b_ir + W_hr h + b_hr)
//! z  = s(W_iz x + b_iz + W_hz h + b_hz)
//! hn = W_hn h + b_hn
//! n  = tanh(W_in x + b_in + r * hn)
//! h' = (1 - z) * n + z * h
//! ```
//!
//! The gates lie in the weights in the order r, z, n. The sums lie in the order
//! n, r, z, hn, so that those of the input and those of the state are each in
//! one piece.

use super::gated::{GatedCell, STATES, SUMS, Side, Sizes};
use crate::float::Scalar;

/// The gated recurrent unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gru {
    /// Input and hidden size, and the biases.
    pub sizes: Sizes,
}

impl GatedCell for Gru {
    const SAVED: &'static [&'static str] = &["n", "r", "z", "hn"];
    const STATE: &'static [&'static str] = &["h"];
    const INPUT: Side = Side {
        first: 0,
        gates: &[2, 0, 1],
    };
    const HIDDEN: Side = Side {
        first: 1,
        gates: &[0, 1, 2],
    };

    fn sizes(&self) -> Sizes {
        self.sizes
    }

    #[inline(always)]
    fn gates<S: Scalar>(&self, sums: &mut [S; SUMS]) {
        let [a_n, a_r, a_z, hn] = *sums;
        *sums = [a_n, a_r.sigmoid(), a_z.sigmoid(), hn];
    }

    #[inline(always)]
    fn update<S: Scalar>(&self, sums: &mut [S; SUMS], [h, _]: [S; STATES]) -> [S; STATES] {
        let [a_n, r, z, hn] = *sums;
        let n = (a_n + r * hn).tanh();
        *sums = [n, r, z, hn];
        [(S::lit(1.0) - z) * n + z * h, S::lit(0.0)]
    }

    /// ```text
    /// dz = s'(z) dh (h - n)        dn = (1 - n^2) dh (1 - z)
    /// dr = s'(r) dn hn             d_hn = dn r            direct: dh z
    /// ```
    #[inline(always)]
    fn update_back<S: Scalar>(
        &self,
        [n, r, z, hn]: [S; SUMS],
        [h, _]: [S; STATES],
        _: [S; STATES],
        [dh, _]: [S; STATES],
    ) -> ([S; SUMS], [S; STATES]) {
        let one = S::lit(1.0);
        let dz = z * (one - z) * dh * (h - n);
        let dn = (one - n * n) * dh * (one - z);
        let dr = r * (one - r) * dn * hn;
        ([dn, dr, dz, dn * r], [dh * z, S::lit(0.0)])
    }
}
