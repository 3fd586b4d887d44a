//! What a chain is rebuilt from.

use crate::cell::Activation;
use crate::layer::RecurrentConfig;
use serde::{Deserialize, Serialize};

/// Layers in order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainConfig {
    /// From the input to the output; at least one.
    pub layers: Vec<NamedLayer>,
}

/// A layer and what stands before the names of its parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedLayer {
    /// `encoder` where the parameter is `encoder.weight`; may be empty.
    pub prefix: String,
    /// The layer.
    pub layer: ChainLayer,
}

/// A layer of a chain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ChainLayer {
    /// [`Embedding`](crate::layer::Embedding); the first layer only.
    Embedding {
        /// Vectors of the table.
        num_embeddings: usize,
        /// Features of a vector.
        embedding_dim: usize,
        /// The index whose vector is not trained.
        padding_idx: Option<usize>,
    },
    /// A recurrent stack; its output goes on.
    Recurrent(RecurrentConfig),
    /// [`Linear`](crate::layer::Linear), step by step.
    Linear {
        /// Features of an input row.
        in_features: usize,
        /// Features of an output row.
        out_features: usize,
        /// Whether there is a bias.
        bias: bool,
    },
    /// [`LayerNorm`](crate::layer::LayerNorm), step by step.
    LayerNorm {
        /// Features of a row.
        features: usize,
        /// What is added to the variance.
        eps: f64,
        /// Whether there is a bias.
        bias: bool,
    },
    /// A function of every number.
    Activation(Activation),
    /// `exp(x) / sum of exp(x)` over the features.
    Softmax,
    /// The logarithm of that.
    LogSoftmax,
    /// A share of the numbers is set to zero in training; nothing otherwise.
    Dropout(f64),
    /// The output at each row's last valid step, one step from here on; zero
    /// for a row of length 0. In a bidirectional stack the reverse direction
    /// has read one step only there.
    LastOutput,
    /// The final state `h_n` of the recurrent layer before it, its last layer's
    /// directions side by side, one step from here on: both directions have
    /// read the whole row.
    LastState,
}

impl ChainLayer {
    /// The name: `layer_norm`, `lstm`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Embedding { .. } => "embedding",
            Self::Recurrent(config) => config.cell.name(),
            Self::Linear { .. } => "linear",
            Self::LayerNorm { .. } => "layer_norm",
            Self::Activation(activation) => activation.name(),
            Self::Softmax => "softmax",
            Self::LogSoftmax => "log_softmax",
            Self::Dropout(_) => "dropout",
            Self::LastOutput => "last_output",
            Self::LastState => "last_state",
        }
    }

    /// Features that it reads; `None` where any number will do.
    pub(crate) fn reads(&self) -> Option<usize> {
        match self {
            Self::Recurrent(config) => Some(config.input_size),
            Self::Linear { in_features, .. } => Some(*in_features),
            Self::LayerNorm { features, .. } => Some(*features),
            _ => None,
        }
    }

    /// Features that it gives; `None` where they are as many as it reads.
    pub(super) fn gives(&self) -> Option<usize> {
        match self {
            Self::Embedding { embedding_dim, .. } => Some(*embedding_dim),
            Self::Recurrent(config) => Some(config.output_size()),
            Self::Linear { out_features, .. } => Some(*out_features),
            _ => None,
        }
    }
}
