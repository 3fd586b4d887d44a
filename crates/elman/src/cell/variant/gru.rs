//! The gated recurrent unit with any activations, `s_r`, `s_z` and `t`:
//!
//! ```text
//! r  = s_r(W_ir x + b_ir + W_hr h + b_hr)
//! z  = s_z(W_iz x + b_iz + W_hz h + b_hz)
//! hn = W_hn h + b_hn
//! n  = t(W_in x + b_in + r * hn)
//! h' = (1 - z) * n + z * h
//! ```

use crate::cell::{Activation, GatedCell, Gru, STATES, SUMS, Side, Sizes};
use crate::float::Scalar;

/// The gated recurrent unit with any activations.
#[derive(Debug, Clone, PartialEq)]
pub struct GruVariant {
    /// Input and hidden size, and the biases.
    pub sizes: Sizes,
    /// The activations of r, z and n.
    pub acts: [Activation; 3],
}

impl GatedCell for GruVariant {
    const SAVED: &'static [&'static str] = Gru::SAVED;
    const STATE: &'static [&'static str] = Gru::STATE;
    const INPUT: Side = Gru::INPUT;
    const HIDDEN: Side = Gru::HIDDEN;

    fn sizes(&self) -> Sizes {
        self.sizes
    }

    #[inline(always)]
    fn update<S: Scalar>(&self, sums: &mut [S; SUMS], [h, _]: [S; STATES]) -> [S; STATES] {
        let [a_n, a_r, a_z, hn] = *sums;
        let [act_r, act_z, act_n] = self.acts;
        let r = act_r.value(a_r);
        let z = act_z.value(a_z);
        let n = act_n.value(a_n + r * hn);
        *sums = [n, r, z, hn];
        [(S::lit(1.0) - z) * n + z * h, S::lit(0.0)]
    }

    /// ```text
    /// dz = s_z' dh (h - n)         dn = t' dh (1 - z)
    /// dr = s_r' dn hn              d_hn = dn r            direct: dh z
    /// ```
    #[inline(always)]
    fn update_back<S: Scalar>(
        &self,
        [n, r, z, hn]: [S; SUMS],
        [h, _]: [S; STATES],
        _: [S; STATES],
        [dh, _]: [S; STATES],
    ) -> ([S; SUMS], [S; STATES]) {
        let [act_r, act_z, act_n] = self.acts;
        let dz = act_z.slope(z) * dh * (h - n);
        let dn = act_n.slope(n) * dh * (S::lit(1.0) - z);
        let dr = act_r.slope(r) * dn * hn;
        ([dn, dr, dz, dn * r], [dh * z, S::lit(0.0)])
    }
}
