//! The options of a stack.

use crate::cell::is_default;
use crate::error::expect;
use crate::{Error, Float, Result};
use serde::{Deserialize, Serialize};

/// How the layers of a stack are put together. The first four fields have
/// PyTorch's names and defaults; the others go beyond PyTorch, and are off by
/// default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StackConfig {
    /// `L`, at least 1.
    pub num_layers: usize,
    /// A second run of every layer, from the last step to the first.
    pub bidirectional: bool,
    /// Arrays at the interface are (B, T, ..) and not (T, B, ..).
    pub batch_first: bool,
    /// Share of each layer's outputs, but the last one's, that is set to zero
    /// in training.
    pub dropout: f64,
    /// The masks of [`dropout`](Self::dropout) are the same for all steps of a
    /// row (variational or locked dropout; Gal and Ghahramani 2016).
    #[serde(default, skip_serializing_if = "is_default")]
    pub locked_dropout: bool,
    /// The only run of every layer goes from each row's last step to the first;
    /// the parameters' names end in `_reverse`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub reverse: bool,
    /// How the outputs of both directions become the output of a layer.
    #[serde(default, skip_serializing_if = "is_default")]
    pub merge: Merge,
    /// From the second layer on, a layer's output (after dropout) is added to
    /// the input that it read: `x_{l+1} = x_l + h_l`. All layers need outputs of
    /// one width.
    #[serde(default, skip_serializing_if = "is_default")]
    pub residual: bool,
    /// Share of the state `h` that the recurrent products do not see in
    /// training: one mask for all steps of a row, the rest scaled by `1/(1-p)`
    /// (Gal and Ghahramani 2016).
    #[serde(default, skip_serializing_if = "is_default")]
    pub recurrent_dropout: f64,
    /// Share of the recurrent weights `weight_hh` that is set to zero in
    /// training: one mask for all rows and steps of a training step, the rest
    /// scaled by `1/(1-p)` (DropConnect, as in the AWD-LSTM of Merity et al.
    /// 2018).
    #[serde(default, skip_serializing_if = "is_default")]
    pub weight_drop: f64,
    /// Probability that a unit of the state `h` keeps its value in a step
    /// (Krueger et al. 2017). In training it is drawn for every row, step and
    /// unit; otherwise the state is the expectation, `p h_{t-1} + (1-p) h_t`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub zoneout_hidden: f64,
    /// The same for all other parts of the state: the LSTM's `c`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub zoneout_cell: f64,
    /// The state that fresh rows begin at is a parameter, `h_0_l0` of shape
    /// (H) and so on after the cell's own in every layer and direction, zero at
    /// first; see [`State`](super::State).
    #[serde(default, skip_serializing_if = "is_default")]
    pub learn_initial_state: bool,
}

/// How the outputs of the two directions of a layer become one, as Keras'
/// `merge_mode`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Merge {
    /// Side by side, as PyTorch has them: the output has `2 R` features.
    #[default]
    Concat,
    /// `forward + reverse`, `R` features.
    Sum,
    /// `(forward + reverse) / 2`, `R` features.
    Mean,
    /// `forward * reverse`, `R` features.
    Product,
}

impl Merge {
    /// Features of a layer's output, from those of a direction.
    pub(crate) fn width(self, output: usize, directions: usize) -> usize {
        match self {
            Self::Concat => output.saturating_mul(directions),
            _ => output,
        }
    }

    /// One number of both directions; of two that lie side by side, the second.
    #[inline(always)]
    pub(crate) fn join<F: Float>(self, forward: F, reverse: F) -> F {
        match self {
            Self::Concat => reverse,
            Self::Sum => forward + reverse,
            Self::Mean => (forward + reverse) * F::lit(0.5),
            Self::Product => forward * reverse,
        }
    }

    /// The derivative of [`join`](Self::join) by one direction, given `other`.
    #[inline(always)]
    pub(crate) fn split<F: Float>(self, d: F, other: F) -> F {
        match self {
            Self::Concat | Self::Sum => d,
            Self::Mean => d * F::lit(0.5),
            Self::Product => d * other,
        }
    }
}

impl Default for StackConfig {
    fn default() -> Self {
        Self {
            num_layers: 1,
            bidirectional: false,
            batch_first: false,
            dropout: 0.0,
            locked_dropout: false,
            reverse: false,
            merge: Merge::Concat,
            residual: false,
            recurrent_dropout: 0.0,
            weight_drop: 0.0,
            zoneout_hidden: 0.0,
            zoneout_cell: 0.0,
            learn_initial_state: false,
        }
    }
}

impl StackConfig {
    /// The most layers a stack may have.
    pub const MAX_LAYERS: usize = 1024;

    /// Refuses options outside their range, in PyTorch's words where it has
    /// them, and options that contradict each other; a stack does so itself
    /// when it is made.
    ///
    /// # Errors
    /// No layers or more than [`MAX_LAYERS`](Self::MAX_LAYERS); a probability
    /// outside `[0, 1]`; `reverse` with `bidirectional`; a `merge` of one
    /// direction; `locked_dropout` without dropout; it or `residual` with
    /// one layer.
    pub fn validate(&self) -> Result<()> {
        let refuse = |text: &str| Err(Error::option(text));
        if !(0.0..=1.0).contains(&self.dropout) {
            return refuse(
                "dropout should be a number in range [0, 1] representing the probability of an element being zeroed",
            );
        }
        for (name, p) in [
            ("recurrent_dropout", self.recurrent_dropout),
            ("weight_drop", self.weight_drop),
            ("zoneout_hidden", self.zoneout_hidden),
            ("zoneout_cell", self.zoneout_cell),
        ] {
            let legal = (0.0..=1.0).contains(&p);
            expect(legal, name, "a probability in range [0, 1]", p)?;
        }
        if self.num_layers == 0 {
            return refuse("num_layers must be greater than zero");
        }
        let few = self.num_layers <= Self::MAX_LAYERS;
        let at_most = format!("at most {}", Self::MAX_LAYERS);
        expect(few, "num_layers", &at_most, self.num_layers)?;
        if self.reverse && self.bidirectional {
            return refuse(
                "reverse: a bidirectional stack has a reverse direction already; choose reverse or bidirectional",
            );
        }
        if self.merge != Merge::Concat && !self.bidirectional {
            return refuse(
                "merge: there are two directions to merge with bidirectional only; leave merge at concat",
            );
        }
        if self.locked_dropout && self.dropout == 0.0 {
            return refuse("locked_dropout: there are no masks to lock; set dropout above 0");
        }
        if self.locked_dropout && self.num_layers == 1 {
            return refuse("locked_dropout: masks lie between layers; set num_layers above 1");
        }
        if self.residual && self.num_layers == 1 {
            return refuse(
                "residual: connections go from the second layer on; set num_layers above 1",
            );
        }
        Ok(())
    }

    /// What is legal and yet looks like a mistake, in PyTorch's words.
    ///
    /// ```
    /// use elman::layer::StackConfig;
    /// let config = StackConfig { dropout: 0.5, ..StackConfig::default() };
    /// assert!(config.warnings()[0].contains("expects num_layers greater than 1"));
    /// assert!(StackConfig { num_layers: 2, ..config }.warnings().is_empty());
    /// ```
    pub fn warnings(&self) -> Vec<String> {
        if self.dropout > 0.0 && self.num_layers == 1 {
            return vec![format!(
                "dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects num_layers greater than 1, but got dropout={:?} and num_layers=1",
                self.dropout
            )];
        }
        Vec::new()
    }

    /// `D`, 1 or 2.
    pub(crate) fn num_directions(&self) -> usize {
        1 + usize::from(self.bidirectional)
    }
}
