//! Long short-term memory with any activations, peepholes (Gers and
//! Schmidhuber, 2000), coupled gates (Greff et al., 2017) and a limit of the
//! cell state:
//!
//! ```text
//! i  = s_i(a_i + w_ci * c)          f = s_f(a_f + w_cf * c), or 1 - i
//! g  = t_g(a_g)
//! c' = limited(f * c + i * g)
//! o  = s_o(a_o + w_co * c')         h' = o * t_c(c')
//! ```
//!
//! with `a_i = W_ii x + b_ii + W_hi h + b_hi` and so on; a projection maps `h'`
//! as in [`Lstm`](crate::cell::Lstm). The gates lie in the weights in the order
//! i, f, g, o, or i, g, o.

use crate::cell::{Activation, CellConfig, GatedCell, STATES, SUMS, Side, Sizes, UNITS};
use crate::float::Scalar;

/// Long short-term memory with what PyTorch's lacks.
#[derive(Debug, Clone, PartialEq)]
pub struct LstmVariant<const PEEPHOLES: bool, const COUPLED: bool> {
    /// Input and hidden size, and the biases.
    pub sizes: Sizes,
    /// `R`, the size of `h` under a projection; 0 for none.
    pub proj_size: usize,
    /// The activations of i, f, g, o and of the cell state on its way out; that
    /// of f is not used where it is coupled.
    pub acts: [Activation; 5],
    /// The limit of the cell state.
    pub clip: Option<f64>,
}

impl<const PEEPHOLES: bool, const COUPLED: bool> LstmVariant<PEEPHOLES, COUPLED> {
    const SIDE: Side = Side {
        first: 0,
        gates: if COUPLED { &[0, 1, 2] } else { &[0, 1, 2, 3] },
    };

    /// The cell of a checked configuration.
    pub fn new(config: &CellConfig) -> Self {
        Self {
            sizes: config.sizes,
            proj_size: config.proj_size,
            acts: config.activations(),
            clip: config.options.cell_clip,
        }
    }

    /// The weights of the peepholes, by gate: i, f, o.
    #[inline(always)]
    fn peepholes<S: Scalar>(unit: [S; UNITS]) -> [S; 3] {
        match (PEEPHOLES, COUPLED) {
            (false, _) => [S::lit(0.0); 3],
            (true, false) => unit,
            (true, true) => [unit[0], S::lit(0.0), unit[1]],
        }
    }
}

impl<const PEEPHOLES: bool, const COUPLED: bool> GatedCell for LstmVariant<PEEPHOLES, COUPLED> {
    const SAVED: &'static [&'static str] = if COUPLED {
        &["i", "g", "o"]
    } else {
        &["i", "f", "g", "o"]
    };
    const STATE: &'static [&'static str] = &["h", "c"];
    const INPUT: Side = Self::SIDE;
    const HIDDEN: Side = Self::SIDE;
    const UNIT: &'static [&'static str] = match (PEEPHOLES, COUPLED) {
        (false, _) => &[],
        (true, false) => &["weight_ci", "weight_cf", "weight_co"],
        (true, true) => &["weight_ci", "weight_co"],
    };

    fn sizes(&self) -> Sizes {
        self.sizes
    }

    fn proj_size(&self) -> usize {
        self.proj_size
    }

    #[inline(always)]
    fn update<S: Scalar>(&self, sums: &mut [S; SUMS], prev: [S; STATES]) -> [S; STATES] {
        self.update_with(sums, prev, [S::lit(0.0); UNITS])
    }

    #[inline(always)]
    fn update_back<S: Scalar>(
        &self,
        saved: [S; SUMS],
        prev: [S; STATES],
        next: [S; STATES],
        d_next: [S; STATES],
    ) -> ([S; SUMS], [S; STATES]) {
        let none = [S::lit(0.0); UNITS];
        let (d_sums, d_prev, _) = self.update_back_with(saved, prev, next, d_next, none);
        (d_sums, d_prev)
    }

    #[inline(always)]
    fn update_with<S: Scalar>(
        &self,
        sums: &mut [S; SUMS],
        [_, c]: [S; STATES],
        unit: [S; UNITS],
    ) -> [S; STATES] {
        let one = S::lit(1.0);
        let [act_i, act_f, act_g, act_o, act_c] = self.acts;
        let [w_ci, w_cf, w_co] = Self::peepholes(unit);
        // Without peepholes no product with 0: `c` may be infinite.
        let see = |a: S, w: S, c: S| if PEEPHOLES { a + w * c } else { a };
        let [a_i, a_f, a_g, a_o] = by_gate::<S, COUPLED>(*sums);
        let i = act_i.value(see(a_i, w_ci, c));
        let f = if COUPLED {
            one - i
        } else {
            act_f.value(see(a_f, w_cf, c))
        };
        let g = act_g.value(a_g);
        let mut next = f * c + i * g;
        if let Some(clip) = self.clip {
            next = next.limited(S::lit(-clip), S::lit(clip));
        }
        let o = act_o.value(see(a_o, w_co, next));
        *sums = by_sum::<S, COUPLED>([i, f, g, o]);
        [o * act_c.value(next), next]
    }

    /// ```text
    /// do = s_o' dh t_c(c')         dc' += dh o t_c' + do w_co, 0 at the limit
    /// di = s_i' dc' g              df = s_f' dc' c
    /// dg = t_g' dc' i              direct: dc = dc' f + di w_ci + df w_cf
    /// dw_ci = di c                 dw_cf = df c           dw_co = do c'
    /// ```
    ///
    /// Coupled: `di = s_i' dc' (g - c)`, and no df.
    #[inline(always)]
    fn update_back_with<S: Scalar>(
        &self,
        saved: [S; SUMS],
        [_, c]: [S; STATES],
        [_, next]: [S; STATES],
        [dh, d_next]: [S; STATES],
        unit: [S; UNITS],
    ) -> ([S; SUMS], [S; STATES], [S; UNITS]) {
        let (zero, one) = (S::lit(0.0), S::lit(1.0));
        let [act_i, act_f, act_g, act_o, act_c] = self.acts;
        let [w_ci, w_cf, w_co] = Self::peepholes(unit);
        let [i, f, g, o] = by_gate::<S, COUPLED>(saved);
        let f = if COUPLED { one - i } else { f };
        let t = act_c.value(next);
        let d_o = act_o.slope(o) * dh * t;
        let mut dc = d_next + dh * o * act_c.slope(t);
        if PEEPHOLES {
            dc = dc + d_o * w_co;
        }
        if let Some(clip) = self.clip {
            dc = next.abs().select_less(S::lit(clip), dc, zero);
        }
        let (di, df) = if COUPLED {
            (act_i.slope(i) * dc * (g - c), zero)
        } else {
            (act_i.slope(i) * dc * g, act_f.slope(f) * dc * c)
        };
        let dg = act_g.slope(g) * dc * i;
        let mut d_prev = dc * f;
        if PEEPHOLES {
            d_prev = d_prev + di * w_ci + df * w_cf;
        }
        let d_unit = match (PEEPHOLES, COUPLED) {
            (false, _) => [zero; UNITS],
            (true, false) => [di * c, df * c, d_o * next],
            (true, true) => [di * c, d_o * next, zero],
        };
        let d_sums = by_sum::<S, COUPLED>([di, df, dg, d_o]);
        (d_sums, [zero, d_prev], d_unit)
    }
}

/// Sums in the order i, f, g, o; coupled gates have no f.
#[inline(always)]
fn by_gate<S: Scalar, const COUPLED: bool>(sums: [S; SUMS]) -> [S; 4] {
    match sums {
        [i, g, o, _] if COUPLED => [i, S::lit(0.0), g, o],
        all => all,
    }
}

/// The way back from [`by_gate`].
#[inline(always)]
fn by_sum<S: Scalar, const COUPLED: bool>(gates: [S; 4]) -> [S; SUMS] {
    match gates {
        [i, _, g, o] if COUPLED => [i, g, o, S::lit(0.0)],
        all => all,
    }
}
