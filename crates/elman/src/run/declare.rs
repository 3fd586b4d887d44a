//! A network as a few lines of TOML, which name its layers and their places in
//! a file; sizes come from the file's names and shapes.

use crate::cell::{Activation, CellKind, Nonlinearity};
use crate::network::{ChainConfig, ChainLayer, NamedLayer};
use crate::weights::{
    FoundLayer, LAYER_NORM_EPS, TRANSPOSED, TensorFile, dotted, is_recurrent, recurrent,
};
use crate::{Error, Result};
use serde::Deserialize;
use std::ops::Range;
use toml::Spanned;

/// Layers in order, each with its prefix in the file of the weights.
///
/// ```
/// use elman::run::Declaration;
/// let declared = Declaration::parse(r#"
///     [[layer]]
///     type = "embedding"
///     prefix = "encoder"
///     [[layer]]
///     type = "rnn"
///     prefix = "rnn"
///     nonlinearity = "relu"
///     [[layer]]
///     type = "last_state"
///     [[layer]]
///     type = "linear"
///     prefix = "decoder"
/// "#)?;
/// let e = Declaration::parse("[[layer]]\ntype = \"conv\"").unwrap_err();
/// assert!(e.to_string().starts_with("line 2: unknown type `conv`; known are embedding, rnn,"));
/// # Ok::<(), elman::Error>(())
/// ```
///
/// | type | keys beside `prefix` |
/// |---|---|
/// | `embedding` | `padding_idx` |
/// | `rnn`, `gru`, `lstm` | `nonlinearity` (`tanh`, `relu`) for `rnn` |
/// | `linear` | |
/// | `layer_norm` | `eps`, 1e-5 unless given |
/// | `relu`, `tanh`, ... ([`Activation`]), `softmax`, `log_softmax` | no prefix: they have no weights |
/// | `dropout` | no prefix; `p`, 0.5 unless given; nothing but in training |
/// | `last_output` | no prefix: the output at each row's last valid step |
/// | `last_state` | no prefix: the last layer's final state `h_n`, both directions side by side |
#[derive(Debug, Clone, PartialEq)]
pub struct Declaration {
    layers: Vec<Layer>,
}

#[derive(Debug, Clone, PartialEq)]
struct Layer {
    line: usize,
    prefix: String,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Embedding {
        padding_idx: Option<usize>,
    },
    Recurrent(CellKind, Nonlinearity),
    Linear,
    LayerNorm {
        eps: f64,
    },
    /// A layer that needs no weights.
    Ready(ChainLayer),
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    layer: Vec<Spanned<Table>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    r#type: Spanned<String>,
    prefix: Option<Spanned<String>>,
    nonlinearity: Option<Spanned<String>>,
    eps: Option<Spanned<f64>>,
    padding_idx: Option<Spanned<usize>>,
    p: Option<Spanned<f64>>,
}

/// All types.
fn types() -> impl Iterator<Item = &'static str> {
    let cells = CellKind::ALL.map(CellKind::name);
    let functions = Activation::ALL.map(Activation::name);
    let others = [
        "softmax",
        "log_softmax",
        "dropout",
        "last_output",
        "last_state",
    ];
    let recurrent = std::iter::once("embedding").chain(cells);
    let with_weights = recurrent.chain(["linear", "layer_norm"]);
    with_weights.chain(functions).chain(others)
}

impl Declaration {
    /// Reads the TOML text.
    ///
    /// # Errors
    /// Where it is no TOML, or a type or key is not known or does not go with
    /// its layer; the message begins with the line.
    pub fn parse(text: &str) -> Result<Self> {
        let line = |span: &Range<usize>| {
            let before = text.as_bytes().get(..span.start).unwrap_or_default();
            1 + before.iter().filter(|b| **b == b'\n').count()
        };
        let file: File = toml::from_str(text).map_err(|e| {
            let message = e.message().lines().collect::<Vec<_>>().join(" ");
            let place = e.span().map_or(1, |span| line(&span));
            Error::file(format!("line {place}: {message}"))
        })?;
        if file.layer.is_empty() {
            return Err(Error::file(
                "no layer is declared; expected [[layer]] with a type and a prefix, for each layer in order",
            ));
        }
        let layers = file.layer.into_iter().map(|table| {
            let start = line(&table.span());
            read(table.into_inner(), start, &line)
        });
        Ok(Self {
            layers: layers.collect::<Result<_>>()?,
        })
    }

    /// The network with the sizes that the file's tensors have.
    ///
    /// # Errors
    /// Where a parameter is missing, or its shape is not one of the layer.
    pub fn infer(&self, file: &TensorFile<'_>) -> Result<ChainConfig> {
        let mut layers: Vec<NamedLayer> = Vec::with_capacity(self.layers.len());
        let mut given = None;
        for declared in &self.layers {
            let layer = declared.infer(file, given, self)?;
            given = match &layer {
                ChainLayer::Embedding { embedding_dim, .. } => Some(*embedding_dim),
                ChainLayer::Recurrent(config) => Some(config.output_size()),
                ChainLayer::Linear { out_features, .. } => Some(*out_features),
                _ => given,
            };
            layers.push(NamedLayer {
                prefix: declared.prefix.clone(),
                layer,
            });
        }
        Ok(ChainConfig { layers })
    }

    /// The declared prefixes.
    pub(super) fn prefixes(&self) -> impl Iterator<Item = &str> {
        self.layers.iter().map(|layer| &*layer.prefix)
    }
}

/// Checks one table of the file.
fn read(table: Table, start: usize, line: &dyn Fn(&Range<usize>) -> usize) -> Result<Layer> {
    let name = table.r#type.get_ref();
    let at = |span: Range<usize>, message: String| {
        Err(Error::file(format!("line {}: {message}", line(&span))))
    };
    let cell = || name.parse::<CellKind>().ok().filter(|k| k.name() == name);
    let function = || name.parse::<Activation>().ok();
    let nonlinearity = match &table.nonlinearity {
        None => Nonlinearity::default(),
        Some(key) => match &**key.get_ref() {
            "tanh" => Nonlinearity::Tanh,
            "relu" => Nonlinearity::Relu,
            other => {
                let text = format!("unknown nonlinearity `{other}`; select from tanh or relu");
                return at(key.span(), text);
            }
        },
    };
    let eps = table
        .eps
        .as_ref()
        .map_or(LAYER_NORM_EPS, |eps| *eps.get_ref());
    let p = table.p.as_ref().map_or(0.5, |p| *p.get_ref());
    let padding_idx = table.padding_idx.as_ref().map(|i| *i.get_ref());
    let kind = match &**name {
        "embedding" => Kind::Embedding { padding_idx },
        "linear" => Kind::Linear,
        "layer_norm" => Kind::LayerNorm { eps },
        "dropout" => Kind::Ready(ChainLayer::Dropout(p)),
        "softmax" => Kind::Ready(ChainLayer::Softmax),
        "log_softmax" => Kind::Ready(ChainLayer::LogSoftmax),
        "last_output" => Kind::Ready(ChainLayer::LastOutput),
        "last_state" => Kind::Ready(ChainLayer::LastState),
        _ => match (cell(), function()) {
            (Some(cell), _) => Kind::Recurrent(cell, nonlinearity),
            (_, Some(function)) => Kind::Ready(ChainLayer::Activation(function)),
            _ => {
                let known = types().collect::<Vec<_>>().join(", ");
                let text = format!("unknown type `{name}`; known are {known}");
                return at(table.r#type.span(), text);
            }
        },
    };
    let spans = [
        ("prefix", table.prefix.as_ref().map(Spanned::span)),
        (
            "nonlinearity",
            table.nonlinearity.as_ref().map(Spanned::span),
        ),
        ("eps", table.eps.as_ref().map(Spanned::span)),
        ("padding_idx", table.padding_idx.as_ref().map(Spanned::span)),
        ("p", table.p.as_ref().map(Spanned::span)),
    ];
    let known: &[&str] = match &kind {
        Kind::Embedding { .. } => &["prefix", "padding_idx"],
        Kind::Recurrent(CellKind::Rnn, _) => &["prefix", "nonlinearity"],
        Kind::Recurrent(..) | Kind::Linear => &["prefix"],
        Kind::LayerNorm { .. } => &["prefix", "eps"],
        Kind::Ready(ChainLayer::Dropout(_)) => &["p"],
        Kind::Ready(_) => &[],
    };
    for (key, span) in spans {
        if let Some(span) = span.filter(|_| !known.contains(&key)) {
            let known = match known {
                [] => "it has none but type".to_owned(),
                known => format!("its keys are type, {}", known.join(", ")),
            };
            return at(
                span,
                format!("{key}: the layer {name} has no such key; {known}"),
            );
        }
    }
    Ok(Layer {
        line: start,
        prefix: table.prefix.map_or(String::new(), Spanned::into_inner),
        kind,
    })
}

impl Layer {
    /// The layer with its sizes; the layer before it gives so many features.
    fn infer(
        &self,
        file: &TensorFile<'_>,
        given: Option<usize>,
        all: &Declaration,
    ) -> Result<ChainLayer> {
        let dotted = dotted(&self.prefix);
        let weight = format!("{dotted}weight");
        let needs = |name: &str| match file.shape(name) {
            Some(shape) => Ok(shape),
            None => Err(Error::file(format!(
                "{name}: the tensor is missing, which line {} of the network declares; {}",
                self.line,
                near(file, &self.prefix, all)
            ))),
        };
        let matrix = |what: &str| match needs(&weight)? {
            [rows, columns] => Ok((*rows, *columns)),
            other => Err(Error::file(format!(
                "{weight}: expected 2 axes, {what}, got shape {other:?}"
            ))),
        };
        let bias = file.shape(&format!("{dotted}bias"));
        Ok(match &self.kind {
            Kind::Embedding { padding_idx } => {
                let (num_embeddings, embedding_dim) = matrix("(num_embeddings, embedding_dim)")?;
                ChainLayer::Embedding {
                    num_embeddings,
                    embedding_dim,
                    padding_idx: *padding_idx,
                }
            }
            Kind::Recurrent(cell, nonlinearity) => {
                if !is_recurrent(file, &dotted) {
                    needs(&format!("{dotted}weight_hh_l0"))?;
                }
                let mut config = recurrent(file, &dotted, Some(*cell))?;
                config.nonlinearity = *nonlinearity;
                ChainLayer::Recurrent(config)
            }
            Kind::Linear => {
                let (out_features, in_features) = matrix("(out_features, in_features)")?;
                let reversed = given.is_some_and(|n| n != in_features && n == out_features)
                    || out_features != in_features && bias == Some(&[in_features][..]);
                if reversed {
                    return Err(Error::file(format!(
                        "{weight}: expected (out_features, in_features) = ({in_features}, {out_features}), got ({out_features}, {in_features}){TRANSPOSED}"
                    )));
                }
                ChainLayer::Linear {
                    in_features,
                    out_features,
                    bias: bias.is_some(),
                }
            }
            Kind::LayerNorm { eps } => match needs(&weight)? {
                [features] => ChainLayer::LayerNorm {
                    features: *features,
                    eps: *eps,
                    bias: bias.is_some(),
                },
                other => {
                    return Err(Error::file(format!(
                        "{weight}: expected 1 axis, the features, got shape {other:?}"
                    )));
                }
            },
            Kind::Ready(layer) => layer.clone(),
        })
    }
}

/// What to write in place of a prefix that the file does not have: one that is
/// not declared yet.
fn near(file: &TensorFile<'_>, prefix: &str, all: &Declaration) -> String {
    let names = file.names();
    let prefixes = names.iter().map(|n| n.rsplit_once('.').map_or("", |n| n.0));
    let mut prefixes: Vec<_> = prefixes.collect();
    prefixes.sort_unstable();
    prefixes.dedup();
    let below = |p: &&str| p.strip_suffix(prefix).is_some_and(|p| p.ends_with('.'));
    let free = || {
        prefixes
            .iter()
            .filter(|p| all.prefixes().all(|declared| declared != **p))
    };
    let nearest = free().find(|p| below(p)).or_else(|| {
        let near = free().map(|p| (distance(p, prefix), p));
        let close = near.filter(|(d, _)| *d <= prefix.len().max(3) / 2);
        close.min().map(|(_, p)| p)
    });
    match nearest {
        Some(nearest) if !nearest.is_empty() => format!("did you mean prefix = \"{nearest}\"?"),
        _ => format!("the prefixes in the file are {}", super::list(&prefixes)),
    }
}

/// Letters to insert, take out or change (Levenshtein 1966); long names are
/// compared at their beginning only.
fn distance(a: &str, b: &str) -> usize {
    const LONGEST: usize = 64;
    let b: Vec<char> = b.chars().take(LONGEST).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a) in a.chars().take(LONGEST).enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, b) in b.iter().enumerate() {
            let changed = corner + usize::from(a != *b);
            corner = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}

/// A declaration of layers on one line, as it can be written into a file; of
/// very many, how it begins.
pub(super) fn on_one_line(layers: &[FoundLayer]) -> String {
    const SHOWN: usize = 12;
    let more = if layers.len() > SHOWN { ", .." } else { "" };
    let layers: Vec<_> = layers
        .iter()
        .take(SHOWN)
        .map(|found| {
            let (kind, prefix) = (found.layer.name(), &found.prefix);
            format!("{{ type = \"{kind}\", prefix = {prefix:?} }}")
        })
        .collect();
    format!("layer = [{}{more}]", layers.join(", "))
}
