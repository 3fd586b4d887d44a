//! Layers and their sizes, from the names and shapes of a file's tensors.

use super::{Header, TensorFile};
use crate::cell::{Bias, CellKind};
use crate::layer::RecurrentConfig;
use crate::network::ChainLayer;
use crate::{Error, Result};
use std::collections::{HashMap, HashSet};

/// The parameter by which a recurrent layer is known.
const FIRST: &str = "weight_hh_l0";

/// Names and shapes of tensors.
pub trait Shapes {
    /// Names of the tensors, in the order of the file.
    fn names(&self) -> Vec<&str>;

    /// Shape of a tensor; `None` where there is none of that name.
    fn shape(&self, name: &str) -> Option<&[usize]>;
}

impl Shapes for TensorFile<'_> {
    fn names(&self) -> Vec<&str> {
        self.names()
    }

    fn shape(&self, name: &str) -> Option<&[usize]> {
        self.shape(name)
    }
}

impl Shapes for Header {
    fn names(&self) -> Vec<&str> {
        self.tensors.iter().map(|(name, _)| &**name).collect()
    }

    fn shape(&self, name: &str) -> Option<&[usize]> {
        let info = self.index.find(&self.tensors, name)?;
        Some(&info.shape)
    }
}

/// A layer that names and shapes tell.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundLayer {
    /// What stands before its parameters' names: `encoder` where one is
    /// `encoder.weight`; may be empty.
    pub prefix: String,
    /// The layer. What the weights do not tell has PyTorch's default; a matrix
    /// without a bias counts as an embedding where the first recurrent layer
    /// reads as many features as it has columns.
    pub layer: ChainLayer,
    /// Numbers in its parameters.
    pub parameters: usize,
    /// Multiplications, each with an addition, that one step of one row takes.
    pub multiply_adds: usize,
}

/// The layers that a file's names and shapes tell: embeddings, then recurrent
/// layers, then the others, each in the order of the file. Tensors that tell
/// none are passed over.
pub fn found_layers(file: &dyn Shapes) -> Vec<FoundLayer> {
    let names = file.names();
    let mut prefixes: Vec<&str> = names.iter().map(|name| split(name).0).collect();
    let mut seen = HashSet::new();
    prefixes.retain(|prefix| seen.insert(*prefix));
    let size = |name: &str| {
        let sides = file.shape(name).unwrap_or_default().iter();
        sides.fold(1_usize, |n, side| n.saturating_mul(*side))
    };
    let mut sizes = HashMap::<&str, usize>::new();
    for name in &names {
        let of_layer = sizes.entry(split(name).0).or_default();
        *of_layer = of_layer.saturating_add(size(name));
    }
    let reads = names
        .iter()
        .find_map(|n| n.strip_suffix(FIRST))
        .and_then(|dotted| file.shape(&format!("{dotted}weight_ih_l0")))
        .and_then(|shape| shape.get(1).copied());
    let found = prefixes.into_iter().filter_map(|prefix| {
        let dotted = dotted(prefix);
        let layer = if file.shape(&format!("{dotted}{FIRST}")).is_some() {
            ChainLayer::Recurrent(recurrent(file, &dotted, None).ok()?)
        } else {
            plain(file, &dotted, reads)?
        };
        Some(FoundLayer {
            prefix: prefix.to_owned(),
            parameters: sizes.get(prefix).copied().unwrap_or_default(),
            multiply_adds: multiply_adds(&layer),
            layer,
        })
    });
    let mut found: Vec<_> = found.collect();
    found.sort_by_key(|f| match f.layer {
        ChainLayer::Embedding { .. } => 0,
        ChainLayer::Recurrent(_) => 1,
        _ => 2,
    });
    found
}

/// A layer of `weight` and `bias`.
fn plain(file: &dyn Shapes, dotted: &str, reads: Option<usize>) -> Option<ChainLayer> {
    let shape = |name: &str| file.shape(&format!("{dotted}{name}"));
    let bias = shape("bias");
    // What a batch normalisation has besides.
    if shape("running_mean").is_some() {
        return None;
    }
    match (shape("weight")?, bias) {
        ([rows, columns], None) if Some(*columns) == reads => Some(ChainLayer::Embedding {
            num_embeddings: *rows,
            embedding_dim: *columns,
            padding_idx: None,
        }),
        ([rows, columns], bias) if bias.is_none_or(|bias| bias == [*rows]) => {
            Some(ChainLayer::Linear {
                in_features: *columns,
                out_features: *rows,
                bias: bias.is_some(),
            })
        }
        ([features], bias) if bias.is_none_or(|bias| bias == [*features]) => {
            Some(ChainLayer::LayerNorm {
                features: *features,
                eps: LAYER_NORM_EPS,
                bias: bias.is_some(),
            })
        }
        _ => None,
    }
}

/// PyTorch's default.
pub(crate) const LAYER_NORM_EPS: f64 = 1e-5;

fn multiply_adds(layer: &ChainLayer) -> usize {
    match layer {
        ChainLayer::Recurrent(config) => {
            let directions = 1 + usize::from(config.stack.bidirectional);
            let (output, h) = (config.output_size(), config.hidden_size);
            let state = output / directions;
            let of_layer = |input: usize| {
                let gates = config.cell.gates().saturating_mul(h);
                let products = gates.saturating_mul(input.saturating_add(state));
                let projection = config.proj_size.saturating_mul(h);
                products
                    .saturating_add(projection)
                    .saturating_mul(directions)
            };
            let above = of_layer(output).saturating_mul(config.stack.num_layers - 1);
            of_layer(config.input_size).saturating_add(above)
        }
        ChainLayer::Linear {
            in_features,
            out_features,
            ..
        } => in_features.saturating_mul(*out_features),
        _ => 0,
    }
}

/// A parameter's name as the layer's prefix and the rest.
fn split(name: &str) -> (&str, &str) {
    name.rsplit_once('.').unwrap_or(("", name))
}

/// The prefix as it stands before a parameter's name.
pub(crate) fn dotted(prefix: &str) -> String {
    if prefix.is_empty() {
        String::new()
    } else {
        format!("{prefix}.")
    }
}

/// The prefixes of all recurrent layers, without the dot.
pub(crate) fn recurrent_prefixes(file: &dyn Shapes) -> Vec<&str> {
    let names = file.names().into_iter();
    let of_first = names.filter(|name| split(name).1 == FIRST);
    of_first.map(|name| split(name).0).collect()
}

/// The configuration of the recurrent layer whose parameters begin with
/// `dotted`, checked against `cell`.
pub(crate) fn recurrent(
    file: &dyn Shapes,
    dotted: &str,
    cell: Option<CellKind>,
) -> Result<RecurrentConfig> {
    let matrix = |name: &str| match file.shape(&format!("{dotted}{name}")) {
        Some([rows, columns]) => Ok((*rows, *columns)),
        Some(other) => Err(Error::file(format!(
            "{dotted}{name}: expected 2 axes, got shape {other:?}"
        ))),
        None => Err(Error::file(format!(
            "{dotted}{name}: the tensor is missing"
        ))),
    };
    let has = |name: &str| file.shape(&format!("{dotted}{name}")).is_some();
    let (rows, columns) = matrix(FIRST)?;
    let (input_rows, input_size) = matrix("weight_ih_l0")?;
    let (proj_size, hidden_size) = if has("weight_hr_l0") {
        matrix("weight_hr_l0")?
    } else {
        (0, columns)
    };
    let suits = |k: &CellKind, rows: usize, h: usize| Some(rows) == h.checked_mul(k.gates());
    let found = CellKind::ALL
        .into_iter()
        .filter(|k| proj_size == 0 || *k == CellKind::Lstm)
        .find(|k| suits(k, rows, hidden_size));
    let cell = match (found, cell) {
        (Some(found), None) => found,
        (Some(found), Some(asked)) if found == asked => found,
        (found, asked) => {
            let expected = match asked {
                _ if proj_size > 0 => format!(
                    "(4*{hidden_size}, {proj_size}) for a LSTM with proj_size {proj_size}, whose weight_hr_l0 is ({proj_size}, {hidden_size})"
                ),
                Some(asked) => format!(
                    "({}*{hidden_size}, {hidden_size}) for a {asked}",
                    asked.gates()
                ),
                None => "1, 3 or 4 times as many rows as columns (RNN, GRU, LSTM)".to_owned(),
            };
            let transposed =
                proj_size == 0 && CellKind::ALL.iter().any(|k| suits(k, columns, rows));
            let mend = match found {
                Some(found) => format!("; the shape suggests a {found}"),
                None if transposed => TRANSPOSED.to_owned(),
                None => String::new(),
            };
            return Err(Error::file(format!(
                "{dotted}{FIRST}: expected {expected}, got ({rows}, {columns}){mend}"
            )));
        }
    };
    if input_rows != rows {
        let mend = if input_size == rows { TRANSPOSED } else { "" };
        return Err(Error::file(format!(
            "{dotted}weight_ih_l0: expected {rows} rows, as {FIRST} has, got {input_rows}{mend}"
        )));
    }
    let mut config = RecurrentConfig::new(cell, input_size, hidden_size);
    config.proj_size = proj_size;
    config.stack.bidirectional = has("weight_hh_l0_reverse");
    config.stack.num_layers = (1..=file.names().len())
        .find(|l| !has(&format!("weight_hh_l{l}")))
        .unwrap_or(1);
    config.bias = match (has("bias_ih_l0"), has("bias_hh_l0")) {
        (true, false) => Bias::Single,
        (false, false) => Bias::None,
        _ => Bias::Both,
    };
    Ok(config)
}

/// The mend where a shape is the expected one reversed.
pub(crate) const TRANSPOSED: &str =
    "; is it transposed? Keras stores (in, out), PyTorch (out, in): save the transpose";
