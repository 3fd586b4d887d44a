//! The simple recurrent network of Elman (1990), PyTorch's `RNNCell`:
//!
//! ```text
//! h' = act(W_ih x + b_ih + W_hh h + b_hh)        act = tanh or relu
//! ```

use super::gated::{GatedCell, STATES, SUMS, Side, Sizes};
use crate::float::Scalar;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// The activation of the simple cell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Nonlinearity {
    /// `tanh`.
    #[default]
    Tanh,
    /// `max(x, 0)`.
    Relu,
}

impl FromStr for Nonlinearity {
    type Err = Error;

    /// The name as PyTorch has it, and its words where there is none such.
    fn from_str(name: &str) -> Result<Self> {
        match name {
            "tanh" => Ok(Self::Tanh),
            "relu" => Ok(Self::Relu),
            other => Err(Error::option(format!(
                "Unknown nonlinearity '{other}'. Select from 'tanh' or 'relu'."
            ))),
        }
    }
}

/// The simple cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rnn {
    /// Input and hidden size, and the biases.
    pub sizes: Sizes,
    /// The activation.
    pub nonlinearity: Nonlinearity,
}

impl GatedCell for Rnn {
    const SAVED: &'static [&'static str] = &["a"];
    const STATE: &'static [&'static str] = &["h"];
    const INPUT: Side = Side {
        first: 0,
        gates: &[0],
    };
    const HIDDEN: Side = Side {
        first: 0,
        gates: &[0],
    };

    fn sizes(&self) -> Sizes {
        self.sizes
    }

    #[inline(always)]
    fn update<S: Scalar>(&self, sums: &mut [S; SUMS], _: [S; STATES]) -> [S; STATES] {
        let h = match self.nonlinearity {
            Nonlinearity::Tanh => sums[0].tanh(),
            Nonlinearity::Relu => sums[0].relu(),
        };
        [h, S::lit(0.0)]
    }

    /// `da = dh act'(h)`: `1 - h^2`, or 1 where `h > 0`.
    #[inline(always)]
    fn update_back<S: Scalar>(
        &self,
        _: [S; SUMS],
        _: [S; STATES],
        [h, _]: [S; STATES],
        [dh, _]: [S; STATES],
    ) -> ([S; SUMS], [S; STATES]) {
        let zero = S::lit(0.0);
        let da = match self.nonlinearity {
            Nonlinearity::Tanh => dh * (S::lit(1.0) - h * h),
            Nonlinearity::Relu => dh * h.positive(),
        };
        ([da, zero, zero, zero], [zero, zero])
    }
}
