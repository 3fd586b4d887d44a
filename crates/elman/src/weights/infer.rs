//! Layers and their sizes, from the names and shapes of a file's tensors.

use super::{Header, TensorFile};
use crate::cell::{Bias, CellKind, full_name};
use crate::layer::RecurrentConfig;
use crate::network::ChainLayer;
use crate::params::Layout;
use crate::{Error, Result};
use std::collections::{HashMap, HashSet};

/// PyTorch's parameters of one layer and direction.
const PARTS: [&str; 5] = ["weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr"];

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

/// A layer of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundLayer {
    /// What stands before its parameters' names: `encoder` where one is
    /// `encoder.weight`; may be empty.
    pub prefix: String,
    /// The layer. From a model file of this crate it has all its options.
    /// Otherwise, what the weights do not tell has PyTorch's default; a matrix
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
        .find(|n| ["weight_ih_l0", "weight_ih_l0_reverse"].contains(&split(n).1))
        .and_then(|name| file.shape(name)?.get(1).copied());
    let found = prefixes.into_iter().filter_map(|prefix| {
        let dotted = dotted(prefix);
        let layer = if is_recurrent(file, &dotted) {
            ChainLayer::Recurrent(recurrent(file, &dotted, None).ok()?)
        } else {
            plain(file, &dotted, reads)?
        };
        Some(FoundLayer {
            prefix: prefix.to_owned(),
            parameters: sizes.get(prefix).copied().unwrap_or_default(),
            multiply_adds: sizes_of(&layer).1,
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

/// Numbers in a layer's parameters, and multiplications that a step takes: one
/// for each number of a matrix. None in a layer that cannot be made.
pub(super) fn sizes_of(layer: &ChainLayer) -> (usize, usize) {
    match layer {
        ChainLayer::Recurrent(config) => {
            let mut layout = Layout::new();
            if config.stack(&mut layout, "").is_err() {
                return (0, 0);
            }
            let matrices = layout.entries().iter().filter(|e| e.shape.len() == 2);
            (layout.len(), matrices.map(|e| e.range.len()).sum())
        }
        ChainLayer::Linear {
            in_features,
            out_features,
            bias,
        } => {
            let products = in_features.saturating_mul(*out_features);
            let bias = if *bias { *out_features } else { 0 };
            (products.saturating_add(bias), products)
        }
        ChainLayer::LayerNorm { features, bias, .. } => {
            (features.saturating_mul(1 + usize::from(*bias)), 0)
        }
        ChainLayer::Embedding {
            num_embeddings,
            embedding_dim,
            ..
        } => (num_embeddings.saturating_mul(*embedding_dim), 0),
        _ => (0, 0),
    }
}

/// A parameter's name as the layer's prefix and the rest.
pub(super) fn split(name: &str) -> (&str, &str) {
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

/// The parameters that a layer has in the file, in one direction.
fn parts(file: &dyn Shapes, dotted: &str, layer: usize, reverse: bool) -> Vec<&'static str> {
    let has = |part: &&str| {
        let name = full_name(part, layer, reverse);
        file.shape(&format!("{dotted}{name}")).is_some()
    };
    PARTS.into_iter().filter(has).collect()
}

/// True where the file has any parameter of a first recurrent layer whose name
/// begins with `dotted`.
pub(crate) fn is_recurrent(file: &dyn Shapes, dotted: &str) -> bool {
    let any = |reverse| !parts(file, dotted, 0, reverse).is_empty();
    any(false) || any(true)
}

/// True for the name of a matrix that a recurrent layer's kernels multiply with,
/// of any layer and direction.
pub(super) fn is_recurrent_weight(name: &str) -> bool {
    let part = split(name).1;
    let of = |layer: &&str| {
        let layer = layer.strip_suffix("_reverse").unwrap_or(layer);
        !layer.is_empty() && layer.bytes().all(|b| b.is_ascii_digit())
    };
    let parts = ["weight_ih_l", "weight_hh_l", "weight_hr_l"].iter();
    let mut layers = parts.filter_map(|start| part.strip_prefix(start));
    layers.any(|layer| of(&layer))
}

/// The prefixes of all recurrent layers, without the dot.
pub(crate) fn recurrent_prefixes(file: &dyn Shapes) -> Vec<&str> {
    let first: HashSet<_> = [false, true]
        .into_iter()
        .flat_map(|reverse| PARTS.map(|part| full_name(part, 0, reverse)))
        .collect();
    let names = file.names().into_iter().map(split);
    let mut prefixes: Vec<_> = names
        .filter_map(|(prefix, name)| first.contains(name).then_some(prefix))
        .collect();
    let mut seen = HashSet::new();
    prefixes.retain(|prefix| seen.insert(*prefix));
    prefixes
}

/// Which parameters a stack has, by layer and direction: a layer is there, and
/// so is a direction, where any parameter of it is.
struct There {
    /// Of each layer: forward, and in reverse.
    layers: Vec<[Vec<&'static str>; 2]>,
}

impl There {
    fn new(file: &dyn Shapes, dotted: &str) -> Self {
        let layer = |l| [false, true].map(|reverse| parts(file, dotted, l, reverse));
        let layers = (0..).map(layer);
        Self {
            layers: layers
                .take_while(|l| l.iter().any(|parts| !parts.is_empty()))
                .collect(),
        }
    }

    fn has(&self, part: &str) -> bool {
        self.layers.iter().flatten().any(|p| p.contains(&part))
    }

    fn runs(&self, reverse: bool) -> bool {
        let direction = usize::from(reverse);
        self.layers.iter().any(|l| !l[direction].is_empty())
    }

    /// Refuses a stack that lacks one of its matrices.
    fn check(&self, dotted: &str) -> Result<()> {
        let projection: &[&str] = if self.has("weight_hr") {
            &["weight_hr"]
        } else {
            &[]
        };
        let directions = || [false, true].into_iter().filter(|r| self.runs(*r));
        for needed in [&["weight_ih", "weight_hh"], projection] {
            for reverse in directions() {
                for (l, layer) in self.layers.iter().enumerate() {
                    let has = &layer[usize::from(reverse)];
                    let Some(part) = needed.iter().find(|p| !has.contains(p)) else {
                        continue;
                    };
                    let name = full_name(part, l, reverse);
                    let beside = self.beside(l, reverse).map_or(String::new(), |name| {
                        format!(", but {dotted}{name} is there")
                    });
                    return Err(Error::file(format!(
                        "{dotted}{name}: the tensor is missing{beside}"
                    )));
                }
            }
        }
        Ok(())
    }

    /// A parameter that asks for the others of this layer and direction: one of
    /// them; else one of the direction, or of the layer.
    fn beside(&self, layer: usize, reverse: bool) -> Option<String> {
        let first = |l: usize, reverse: bool| {
            let part = self.layers.get(l)?[usize::from(reverse)].first()?;
            Some(full_name(part, l, reverse))
        };
        first(layer, reverse).or_else(|| match reverse {
            true => (0..self.layers.len()).find_map(|l| first(l, true)),
            false => first(layer, true),
        })
    }
}

/// The configuration of the recurrent layer whose parameters begin with
/// `dotted`, checked against `cell`.
pub(crate) fn recurrent(
    file: &dyn Shapes,
    dotted: &str,
    cell: Option<CellKind>,
) -> Result<RecurrentConfig> {
    let there = There::new(file, dotted);
    there.check(dotted)?;
    let reverse = !there.runs(false);
    let named = |part: &str| format!("{dotted}{}", full_name(part, 0, reverse));
    let matrix = |part: &str| match file.shape(&named(part)) {
        Some([rows, columns]) => Ok((*rows, *columns)),
        Some(other) => Err(Error::file(format!(
            "{}: expected 2 axes, got shape {other:?}",
            named(part)
        ))),
        None => Err(Error::file(format!(
            "{}: the tensor is missing",
            named(part)
        ))),
    };
    let (rows, columns) = matrix("weight_hh")?;
    let (input_rows, input_size) = matrix("weight_ih")?;
    let (proj_size, hidden_size) = if there.has("weight_hr") {
        matrix("weight_hr")?
    } else {
        (0, columns)
    };
    if there.has("weight_hr") && proj_size == 0 {
        return Err(Error::file(format!(
            "{}: expected a row for each of proj_size features, got shape [0, {hidden_size}]",
            named("weight_hr")
        )));
    }
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
                    "(4*{hidden_size}, {proj_size}) for an LSTM with proj_size {proj_size}, whose {} is ({proj_size}, {hidden_size})",
                    named("weight_hr")
                ),
                Some(asked) => format!(
                    "({}*{hidden_size}, {hidden_size}) for {}",
                    asked.gates(),
                    with_article(asked)
                ),
                None => "1, 3 or 4 times as many rows as columns (RNN, GRU, LSTM)".to_owned(),
            };
            let transposed =
                proj_size == 0 && CellKind::ALL.iter().any(|k| suits(k, columns, rows));
            let mend = match found {
                Some(found) => format!("; the shape suggests {}", with_article(found)),
                None if transposed => TRANSPOSED.to_owned(),
                None => String::new(),
            };
            return Err(Error::file(format!(
                "{}: expected {expected}, got ({rows}, {columns}){mend}",
                named("weight_hh")
            )));
        }
    };
    if input_rows != rows {
        let mend = if input_size == rows { TRANSPOSED } else { "" };
        return Err(Error::file(format!(
            "{}: expected {rows} rows, as {} has, got {input_rows}{mend}",
            named("weight_ih"),
            named("weight_hh")
        )));
    }
    let mut config = RecurrentConfig::new(cell, input_size, hidden_size);
    config.proj_size = proj_size;
    config.stack.reverse = reverse;
    config.stack.bidirectional = there.runs(false) && there.runs(true);
    config.stack.num_layers = there.layers.len();
    config.bias = match (there.has("bias_ih"), there.has("bias_hh")) {
        (true, false) => Bias::Single,
        (false, false) => Bias::None,
        _ => Bias::Both,
    };
    Ok(config)
}

/// `a GRU`, `an LSTM`.
pub(crate) fn with_article(cell: CellKind) -> String {
    let article = match cell {
        CellKind::Gru => "a",
        CellKind::Rnn | CellKind::Lstm => "an",
    };
    format!("{article} {cell}")
}

/// The mend where a shape is the expected one reversed.
pub(crate) const TRANSPOSED: &str =
    "; is it transposed? Keras stores (in, out), PyTorch (out, in): save the transpose";
