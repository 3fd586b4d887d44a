//! Initial values beyond PyTorch's. PyTorch's are drawn first, so that without
//! an option its bits remain.

use super::options::is_default;
use super::{Bias, CellConfig, CellKind, Part};
use crate::error::expect;
use crate::{Error, Float, Result};
use serde::{Deserialize, Serialize};
use std::f64::consts::TAU;

/// Initial values; the default is PyTorch's, all from U(-s, s), s = 1/sqrt(H).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Init {
    /// LSTM: the bias of the forget gate in all, at first (Jozefowicz et al.,
    /// 2015, take 1): `bias_ih` has it, `bias_hh` is zero there.
    #[serde(skip_serializing_if = "is_default")]
    pub forget_bias: Option<f64>,
    /// Every gate's block of `weight_hh` is a random orthogonal matrix (Saxe et
    /// al., 2014); under a projection (H, R) its columns are orthonormal.
    #[serde(skip_serializing_if = "is_default")]
    pub orthogonal: bool,
    /// Chrono initialisation (Tallec and Ollivier, 2018) for dependencies over
    /// up to this many steps, 3 or more: the bias of the forget gate is
    /// `log(u)`, `u` from U(1, T - 1), that of the input gate `-log(u)`, in
    /// all. A GRU's forget gate is z; an LSTM with `coupled` has the input gate
    /// only. `bias_hh` is zero there.
    #[serde(skip_serializing_if = "is_default")]
    pub chrono: Option<usize>,
}

impl Init {
    /// Refuses what does not fit the cell.
    pub(super) fn validate(&self, config: &CellConfig) -> Result<()> {
        let refuse = |text: String| Err(Error::option(text));
        let (cell, coupled) = (config.cell, config.options.coupled);
        for (asked, name, fits, of) in [
            (
                self.forget_bias.is_some(),
                "init.forget_bias",
                cell == CellKind::Lstm,
                "LSTM",
            ),
            (
                self.chrono.is_some(),
                "init.chrono",
                cell != CellKind::Rnn,
                "GRU and LSTM",
            ),
        ] {
            if asked && !fits {
                return refuse(format!("{name}: for {of} only, not {cell}"));
            }
            if asked && config.sizes.bias == Bias::None {
                return refuse(format!("{name} with bias none: there is no bias to set"));
            }
        }
        if let Some(value) = self.forget_bias {
            let fits = (value as f32).is_finite();
            expect(fits, "init.forget_bias", "a finite number", value)?;
            if coupled {
                return refuse(
                    "init.forget_bias with coupled: f = 1 - i has no bias of its own; use init.chrono".to_owned(),
                );
            }
            if self.chrono.is_some() {
                return refuse(
                    "init.forget_bias with init.chrono: both set the bias of the forget gate; choose one".to_owned(),
                );
            }
        }
        if let Some(steps) = self.chrono {
            expect(steps >= 3, "init.chrono", "at least 3 steps", steps)?;
        }
        Ok(())
    }

    /// Replaces PyTorch's values in the weights of a cell, its `parts` one
    /// after the other.
    pub(super) fn apply<F: Float>(
        &self,
        config: &CellConfig,
        parts: &[Part],
        weights: &mut [F],
        uniform: &mut dyn FnMut(f64, f64) -> F,
    ) {
        let h = config.sizes.hidden_size;
        let (input_gate, forget_gate) = match config.cell {
            CellKind::Rnn => (None, None),
            CellKind::Gru => (None, Some(1)),
            CellKind::Lstm if config.options.coupled => (Some(0), None),
            CellKind::Lstm => (Some(0), Some(1)),
        };
        // The biases of a gate in all.
        let set = |weights: &mut [F], gate: usize, values: &[f64]| {
            for (name, scale) in [("bias_ih", 1.0), ("bias_hh", 0.0)] {
                let bias = slice(parts, weights, name);
                for (to, value) in bias.iter_mut().skip(gate * h).zip(values) {
                    *to = F::lit(value * scale);
                }
            }
        };
        if self.orthogonal {
            let blocks = slice(parts, weights, "weight_hh");
            let columns = blocks.len() / (config.gates() * h);
            for block in blocks.chunks_exact_mut(h * columns) {
                orthogonal(block, h, columns, uniform);
            }
        }
        if let (Some(value), Some(gate)) = (self.forget_bias, forget_gate) {
            set(weights, gate, &vec![value; h]);
        }
        if let Some(steps) = self.chrono {
            let longest = steps as f64 - 1.0;
            let logs: Vec<_> = (0..h).map(|_| uniform(1.0, longest).f64().ln()).collect();
            if let Some(gate) = forget_gate {
                set(weights, gate, &logs);
            }
            if let Some(gate) = input_gate {
                let logs: Vec<_> = logs.iter().map(|log| -log).collect();
                set(weights, gate, &logs);
            }
        }
    }
}

/// A part of the weights by its name; empty where there is none such.
fn slice<'a, F>(parts: &[Part], weights: &'a mut [F], name: &str) -> &'a mut [F] {
    let mut start = 0;
    for part in parts {
        let end = start + part.size();
        if part.name == name {
            return &mut weights[start..end];
        }
        start = end;
    }
    &mut []
}

/// A matrix (rows, columns), not wider than high, with orthonormal columns,
/// drawn uniformly from all such: the columns are independent normal vectors,
/// made orthogonal one after the other by the method of Gram and Schmidt.
fn orthogonal<F: Float>(
    matrix: &mut [F],
    rows: usize,
    columns: usize,
    uniform: &mut dyn FnMut(f64, f64) -> F,
) {
    let dot = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
    let mut done: Vec<Vec<f64>> = Vec::with_capacity(columns);
    for k in 0..columns {
        let mut column = vec![0.0; rows];
        while column.iter().all(|v| *v == 0.0) {
            column.fill_with(|| normal(uniform));
        }
        // The second time takes away what rounding has left.
        for _ in 0..2 {
            for other in &done {
                let along = dot(other, &column);
                for (to, from) in column.iter_mut().zip(other) {
                    *to -= along * from;
                }
            }
            let length = dot(&column, &column).sqrt();
            column.iter_mut().for_each(|v| *v /= length);
        }
        for (row, v) in matrix.chunks_exact_mut(columns).zip(&column) {
            row[k] = F::lit(*v);
        }
        done.push(column);
    }
}

/// A number from N(0, 1), from two uniform ones (Box and Muller).
fn normal<F: Float>(uniform: &mut dyn FnMut(f64, f64) -> F) -> f64 {
    let (a, b) = (uniform(0.0, 1.0).f64(), uniform(0.0, 1.0).f64());
    (-2.0 * (1.0 - a).ln()).sqrt() * (TAU * b).cos()
}
