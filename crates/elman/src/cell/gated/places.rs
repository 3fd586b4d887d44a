//! Where the numbers of a gated cell lie.

use super::{GatedCell, STATES, Side, Sizes};
use crate::Float;
use crate::cell::Bias;
use crate::kernel::{Matrix, StepShape};

/// Where the parameters of a gated cell begin in its slice.
pub struct Places {
    pub i: usize,
    pub h: usize,
    /// Features of the output.
    pub r: usize,
    /// Sums in one row.
    pub sums: usize,
    /// Numbers in one saved row: the sums, and `m` under a projection.
    pub v: usize,
    /// Numbers in one row of state.
    pub s: usize,
    pub weight_ih: usize,
    pub weight_hh: usize,
    pub bias_ih: Option<usize>,
    pub bias_hh: Option<usize>,
    pub weight_hr: Option<usize>,
    /// The weights of the units' own.
    pub unit: usize,
}

impl Places {
    pub fn of<C: GatedCell>(cell: &C) -> Self {
        let Sizes {
            input_size: i,
            hidden_size: h,
            bias,
        } = cell.sizes();
        let projected = cell.proj_size() > 0;
        let r = if projected { cell.proj_size() } else { h };
        let gates = C::INPUT.gates.len() * h;
        let end = gates * (i + r);
        let biases = match bias {
            Bias::Both => 2,
            Bias::Single => 1,
            Bias::None => 0,
        };
        let sums = C::SAVED.len() * h;
        let weight_hr = end + biases * gates;
        Self {
            i,
            h,
            r,
            sums,
            v: if projected { sums + h } else { sums },
            s: r + (C::STATE.len() - 1) * h,
            weight_ih: 0,
            weight_hh: gates * i,
            bias_ih: (biases > 0).then_some(end),
            bias_hh: (biases > 1).then_some(end + gates),
            weight_hr: projected.then_some(weight_hr),
            unit: weight_hr + if projected { r * h } else { 0 },
        }
    }

    /// The sizes of a step of `n` rows.
    pub fn shape(&self, n: usize) -> StepShape {
        StepShape {
            n,
            h: self.h,
            r: self.r,
            s: self.s,
            v: self.v,
            projected: self.weight_hr.is_some(),
        }
    }

    /// The parts of a row of state by units; `m` stands for the output under a
    /// projection.
    pub fn units<'a, F>(&self, state: &'a [F], m: &'a [F]) -> [&'a [F]; STATES] {
        let (output, rest) = state.split_at(self.r);
        [if self.weight_hr.is_some() { m } else { output }, rest]
    }

    /// As [`units`](Self::units), to be changed.
    pub fn units_mut<'a, F>(&self, state: &'a mut [F], m: &'a mut [F]) -> [&'a mut [F]; STATES] {
        let (output, rest) = state.split_at_mut(self.r);
        [if self.weight_hr.is_some() { m } else { output }, rest]
    }

    /// The weights of one side, a matrix (H, K) a gate, in the order of sums.
    pub fn blocks<'a, F: Float>(
        &self,
        side: Side,
        start: usize,
        k: usize,
        values: &'a [F],
    ) -> impl Iterator<Item = Matrix<'a, F>> + Clone {
        let h = self.h;
        side.gates
            .iter()
            .map(move |g| Matrix::new(&values[start + g * h * k..], h, k, k))
    }

    /// The sums of a row without its products: the biases.
    pub fn biases<C: GatedCell, F: Float>(&self, values: &[F], sums: &mut [F]) {
        sums.fill(F::zero());
        for (side, bias) in [(C::INPUT, self.bias_ih), (C::HIDDEN, self.bias_hh)] {
            let Some(start) = bias else { continue };
            for (s, g) in side.gates.iter().enumerate() {
                let sums = &mut sums[(side.first + s) * self.h..][..self.h];
                for (sum, b) in sums.iter_mut().zip(&values[start + g * self.h..]) {
                    *sum += *b;
                }
            }
        }
    }
}
