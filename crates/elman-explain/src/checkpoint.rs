//! What PyTorch has saved, as a [`Subject`].

use crate::setup::{Configuration, Request, RnnActivation, check_finite};
use crate::subject::{Names, Stored, Subject};
use crate::words::Note;
use elman::cell::{CellKind, Nonlinearity};
use elman::network::{ChainLayer, Network, NetworkConfig, Readout, SequenceConfig};
use elman::params::Params;
use elman::run::RunOptions;
use elman::weights::{Dtype, FoundLayer, TensorFile, found_layers};
use elman::{Error, Result};
use std::collections::BTreeSet;

/// A linear layer behind the recurrent one.
#[derive(Debug, Clone, Copy)]
struct Head<'a> {
    name: &'a str,
    /// Numbers that it reads.
    columns: usize,
    /// Numbers that it gives.
    rows: usize,
}

impl Request {
    /// What PyTorch has saved: one recurrent layer, with or without a linear head
    /// behind it, whatever they are called. The head reads the last state or the
    /// states of all steps side by side, as its columns tell, or, where the
    /// configuration is many-to-many, that of every step; where there is no head,
    /// the prediction is the state itself.
    ///
    /// # Errors
    /// Where the file holds other layers, input or target is missing or does not
    /// fit, or the activation is none that PyTorch's layer has.
    pub fn of_torch(
        &self,
        file: &TensorFile<'_>,
        nonlinearity: Option<RnnActivation>,
    ) -> Result<Subject> {
        let nonlinearity = match nonlinearity {
            None => None,
            Some(RnnActivation::Tanh) => Some(Nonlinearity::Tanh),
            Some(RnnActivation::Relu) => Some(Nonlinearity::Relu),
            Some(RnnActivation::Linear) => {
                return Err(Error::option(
                    "--nonlinearity: expected tanh or relu, as PyTorch's layers have; linear is for a model of one's own",
                ));
            }
        };
        if file.names().is_empty() {
            return Err(Error::file(
                "it holds no tensor; save a recurrent layer, alone or with its head: torch.save(model.state_dict(), \"model.pt\")",
            ));
        }
        let found = found_layers(file);
        let head = head(&found)?;
        let options = RunOptions {
            nonlinearity,
            ..RunOptions::default()
        };
        let (recurrent, prefix) = elman::run::infer(file, &options)?;
        let (given, target) = self.given()?;
        let input = given.numbers;
        let state = match recurrent.proj_size {
            0 => recurrent.hidden_size,
            projected => projected,
        };
        let directions = if recurrent.stack.bidirectional { 2 } else { 1 };
        let every = match self.configuration {
            Configuration::ManyToOne => false,
            Configuration::ManyToMany => true,
            Configuration::OneToMany => {
                return Err(Error::option(
                    "--configuration: expected many-to-one or many-to-many, as a layer that PyTorch has saved reads a sequence, got one-to-many",
                ));
            }
        };
        let (readout, outputs, note) = read_by(head, state * directions, input.nrows(), every)?;
        let mut notes = vec![note];
        if recurrent.cell == CellKind::Rnn && nonlinearity.is_none() {
            notes.push(Note::new("note_activation", [('f', "tanh".to_owned())]));
        }
        let network = NetworkConfig::Sequence(SequenceConfig {
            recurrent,
            readout,
            outputs,
            head_dropout: 0.0,
            skip: None,
        });
        let network = network.build()?;
        let mut params = Params::try_zeros(Network::<f64>::layout(&network).clone())?;
        let (complete, tensors) = load(&mut params, file, &prefix, head)?;
        if !complete {
            notes.push(Note::new("note_no_bias", []));
        }
        check_finite(&params)?;
        self.finish(Subject {
            network,
            params,
            input,
            bare: head.is_none(),
            skip: None,
            target: target.iter().copied().collect(),
            lr: self.lr,
            scale: self.scale.unwrap_or(1.0),
            seed: None,
            names: Names {
                features: given.features,
                notes,
                file: Some(Stored {
                    keys: file.place().map_or(Vec::new(), |place| {
                        place.split('.').map(str::to_owned).collect()
                    }),
                    tensors: Some(tensors),
                    ..Stored::default()
                }),
                ..Names::default()
            },
        })
    }
}

/// The head of a file with one recurrent layer; none where that is alone.
fn head(found: &[FoundLayer]) -> Result<Option<Head<'_>>> {
    let (recurrent, others): (Vec<_>, Vec<_>) = found
        .iter()
        .partition(|f| matches!(f.layer, ChainLayer::Recurrent(_)));
    let heads: Option<Vec<Head<'_>>> = others
        .iter()
        .map(|f| match f.layer {
            ChainLayer::Linear {
                in_features: columns,
                out_features: rows,
                ..
            } => Some(Head {
                name: &f.prefix,
                columns,
                rows,
            }),
            _ => None,
        })
        .collect();
    match (recurrent.len(), heads.as_deref()) {
        (0 | 1, Some([])) => Ok(None),
        (1, Some([one])) => Ok(Some(*one)),
        (0, _) => {
            let all = found.iter().map(|f| match f.prefix.as_str() {
                "" => "one without a name".to_owned(),
                prefix => format!("`{prefix}`"),
            });
            Err(Error::option(format!(
                "expected one recurrent layer (nn.RNN, nn.GRU or nn.LSTM) and at most one linear head, got other layers alone: {}; save the module that has the recurrent layer: torch.save(model.state_dict(), \"model.pt\")",
                all.collect::<Vec<_>>().join(", ")
            )))
        }
        _ => {
            let all = found.iter().map(|f| format!("`{}`", f.prefix));
            Err(Error::option(format!(
                "expected one recurrent layer and at most one linear head, got {}; elman run takes them with --network; {}",
                all.collect::<Vec<_>>().join(", "),
                by_itself(recurrent.first().map_or("", |f| f.prefix.as_str()))
            )))
        }
    }
}

/// What the head reads of states of so many numbers, how many it gives, and the
/// remark on it.
fn read_by(
    head: Option<Head<'_>>,
    width: usize,
    steps: usize,
    every: bool,
) -> Result<(Readout, usize, Note)> {
    let Some(head) = head else {
        let (key, readout) = match every {
            true => ("note_every_state", Readout::EveryStep),
            false => ("note_identity", Readout::LastState),
        };
        return Ok((readout, width, Note::new(key, [])));
    };
    let (key, readout) = match head.columns {
        c if every && c != width => {
            return Err(Error::shape(format!(
                "{}.weight, axis 1: expected {width}, the numbers of a state, as --configuration many-to-many has it read the state of every step, got {c}",
                head.name
            )));
        }
        c if c == width && every => ("note_every", Readout::EveryStep),
        c if c == width => ("note_head", Readout::LastState),
        c if c == width * steps => ("note_all", Readout::AllStates(steps)),
        c => {
            return Err(Error::shape(format!(
                "{}.weight, axis 1: expected {width}, the numbers of the last state, or {steps} * {width}, those of all {steps} steps of the input, got {c}",
                head.name
            )));
        }
    };
    let values = [('n', head.name.to_owned()), ('c', head.columns.to_string())];
    Ok((readout, head.rows, Note::new(key, values)))
}

/// Fills the parameters from a file whose recurrent layer has the prefix; without
/// a head, with the identity. False where the head has no bias; and the
/// parameters' names with the file's own.
fn load(
    params: &mut Params<f64>,
    file: &TensorFile<'_>,
    prefix: &str,
    head: Option<Head<'_>>,
) -> Result<(bool, Vec<(String, String)>)> {
    let layout = params.layout().clone();
    let mut unread: BTreeSet<&str> = file.names().into_iter().collect();
    let mut complete = true;
    let mut tensors = Vec::new();
    for entry in layout.entries() {
        let stored = match (entry.name.strip_prefix("rnn."), head) {
            (Some(part), _) => format!("{prefix}{part}"),
            (None, Some(head)) => entry.name.replacen("head", head.name, 1),
            (None, None) => {
                if let [_, columns] = entry.shape.as_slice() {
                    let matrix = &mut params.values_mut()[entry.range.clone()];
                    matrix
                        .iter_mut()
                        .step_by(columns + 1)
                        .for_each(|x| *x = 1.0);
                }
                continue;
            }
        };
        unread.remove(stored.as_str());
        match numbers(file, &stored)? {
            Some(values) => {
                params.set(&entry.name, &values)?;
                tensors.push((entry.name.clone(), stored));
            }
            None => complete = false,
        }
    }
    match unread.first() {
        None => Ok((complete, tensors)),
        Some(name) => Err(Error::option(format!(
            "{name} is of no recurrent layer and no linear head, which is all that is explained; elman run takes the whole with --network; {}",
            by_itself(prefix.trim_end_matches('.'))
        ))),
    }
}

/// How a layer of a module of PyTorch's comes into a file of its own.
fn by_itself(prefix: &str) -> String {
    let (layer, name) = match prefix {
        "" => ("layer", "layer"),
        own => (own, own.rsplit('.').next().unwrap_or(own)),
    };
    format!(
        "to explain the recurrent layer alone, save it by itself: torch.save(model.{layer}.state_dict(), \"{name}.pt\")"
    )
}

/// The numbers of a tensor, whatever their precision.
fn numbers(file: &TensorFile<'_>, name: &str) -> Result<Option<Vec<f64>>> {
    if file.float_dtype(|n| n == name)? == Some(Dtype::F32) {
        let stored = file.get::<f32>(name)?;
        return Ok(stored.map(|all| all.iter().map(|x| f64::from(*x)).collect()));
    }
    let stored = file.get::<f64>(name)?;
    Ok(stored.map(|all| all.iter().copied().collect()))
}
