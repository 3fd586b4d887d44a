//! What is explained: a network, its parameters, one sequence and its target.

use crate::text::count;
use crate::words::Note;
use elman::cell::{Bias, CellKind, full_name};
use elman::layer::{Merge, Pass, RecurrentConfig};
use elman::loss::Loss;
use elman::ndarray::{Array2, Array3, ArrayView2, Axis};
use elman::network::{AnyCache, AnyNetwork, Inputs, Network, NetworkConfig, Readout};
use elman::params::{Entry, Layout, Params};
use elman::{Error, Result};

/// A network with one sequence to look at.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The network: a [`Sequence`](elman::network::Sequence) or a
    /// [`OneToMany`](elman::network::OneToMany).
    pub network: AnyNetwork,
    /// Its parameters; empty of an [outline](crate::setup::Request::outline).
    pub params: Params<f64>,
    /// The sequence, (T, I); of a one-to-many network the vector, (1, I).
    pub input: Array2<f64>,
    /// Whether the network is a layer alone: its head is the identity, which stands
    /// in the engine for no head and is never trained.
    pub bare: bool,
    /// What a skip connection reads.
    pub skip: Option<Vec<f64>>,
    /// The target, K * O numbers, step after step.
    pub target: Vec<f64>,
    /// Learning rate of the update.
    pub lr: f64,
    /// What the numbers were divided by before they entered; 1 for nothing.
    pub scale: f64,
    /// Whether the parameters are those that PyTorch draws with this seed.
    pub seed: Option<u64>,
    /// What things are called.
    pub names: Names,
}

/// What the parts of a subject are called; any of them may be empty.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// The steps of the input, like their times.
    pub steps: Vec<String>,
    /// The features of a step.
    pub features: Vec<String>,
    /// The numbers beside the sequence.
    pub beside: Vec<String>,
    /// Of a forecaster: what is forecast.
    pub forecast: Option<Forecast>,
    /// Remarks.
    pub notes: Vec<Note>,
    /// The file of the parameters, where they come from one.
    pub file: Option<Stored>,
    /// Numbers that were set: their places in all parameters.
    pub set: Vec<usize>,
}

/// What a forecaster forecasts.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Forecast {
    /// Its name in the table.
    pub name: String,
    /// What the network calls 0, in the units of the table.
    pub centre: f64,
    /// What it calls 1 is so much more.
    pub spread: f64,
    /// What is known before the steps to forecast, in the units of the table, a
    /// number for each of the first steps.
    pub known: Vec<f64>,
}

/// A file of parameters.
#[derive(Debug, Clone, Default)]
pub struct Stored {
    /// Its path, as Python code is to name it.
    pub path: String,
    /// Whether `torch.save` wrote it; else it is a safetensors file.
    pub torch: bool,
    /// Whether it has matrices of whole numbers, each with a scale for each row.
    pub scaled: bool,
    /// The keys that lead to its state_dict.
    pub keys: Vec<String>,
    /// Its tensors: the parameter's name, and the file's own. None where they
    /// are elman's.
    pub tensors: Option<Vec<(String, String)>>,
}

/// The parameters of a head.
const HEAD: [&str; 2] = ["head.weight", "head.bias"];

/// Recurrent layers that are explained at most.
pub(crate) const LAYERS: usize = 64;
/// Steps that are explained at most.
const STEPS: usize = 4096;
/// Steps times parameters: the work of a pass that is explained at most.
const WORK: usize = 1 << 28;

/// Refuses options that PyTorch's layers do not have.
fn only_pytorchs(recurrent: &RecurrentConfig) -> Result<()> {
    let stack = &recurrent.stack;
    let mut options = recurrent.options.clone();
    options.activations.clear();
    options.init = Default::default();
    for (name, beyond) in [
        ("options", options != Default::default()),
        ("merge", stack.bidirectional && stack.merge != Merge::Concat),
        ("residual", stack.residual),
        ("zoneout", stack.zoneout_hidden + stack.zoneout_cell > 0.0),
        ("learn_initial_state", stack.learn_initial_state),
    ] {
        if beyond {
            return Err(Error::option(format!(
                "{name}: only what PyTorch's cells and stacks have is explained number by number; expected it off"
            )));
        }
    }
    Ok(())
}

/// One pass of the engine.
#[derive(Debug, Clone)]
pub struct Passed {
    /// The prediction, K * O numbers.
    pub prediction: Vec<f64>,
    /// The mean of the squared errors.
    pub loss: f64,
    /// The gradients; zeros of a head that stands for none.
    pub grads: Params<f64>,
    /// The gradient of the input, (T, I).
    pub d_input: Array2<f64>,
    /// The gradient of the states at the start, by slot.
    pub d_start: Vec<Vec<f64>>,
    /// Every state and gate.
    pub traces: Vec<Traced>,
}

/// A state or a gate of a pass.
#[derive(Debug, Clone)]
pub struct Traced {
    /// The layer, counted from 0.
    pub layer: usize,
    /// The direction that goes from the end.
    pub reverse: bool,
    /// Its name, as the engine has it.
    pub name: &'static str,
    /// Its numbers, (T, H).
    pub numbers: Array2<f64>,
}

impl Subject {
    /// The configuration of the recurrent layers.
    ///
    /// # Errors
    /// Where the network is of another kind, or its cells came from a closure.
    pub fn recurrent(&self) -> Result<RecurrentConfig> {
        match self.network.config() {
            Some(NetworkConfig::Sequence(c)) => Ok(c.recurrent),
            Some(NetworkConfig::OneToMany(c)) => Ok(c.recurrent),
            other => {
                let got = match other {
                    Some(NetworkConfig::EncoderDecoder(_)) => "an encoder and a decoder",
                    Some(NetworkConfig::Chain(_)) => "a chain of layers",
                    _ => "cells of its own",
                };
                let entries = self.params.layout().entries().iter();
                let prefix = entries
                    .filter_map(|e| e.name.strip_suffix("weight_ih_l0"))
                    .next();
                Err(Error::option(format!(
                    "expected one recurrent stack with a head, or one that reads its own output, got {got}; to explain one recurrent layer, save its tensors by themselves, in Python: save_file({{n.removeprefix(\"{0}\"): t for n, t in load_file(\"model.safetensors\").items() if n.startswith(\"{0}\")}}, \"layer.safetensors\") from safetensors.numpy",
                    prefix.unwrap_or("rnn.")
                )))
            }
        }
    }

    /// What the head reads; `None` of a one-to-many network.
    pub fn readout(&self) -> Option<Readout> {
        match self.network.config() {
            Some(NetworkConfig::Sequence(c)) => Some(c.readout),
            _ => None,
        }
    }

    /// Predictions or targets in the units of the input or, of a forecaster, of
    /// its table.
    pub fn in_units(&self, numbers: &[f64]) -> Vec<f64> {
        let (centre, spread) = match &self.names.forecast {
            Some(f) => (f.centre, f.spread),
            None => (0.0, self.scale),
        };
        numbers.iter().map(|x| centre + spread * x).collect()
    }

    /// O, features of a prediction.
    pub fn outputs(&self) -> usize {
        match self.network.config() {
            Some(NetworkConfig::Sequence(c)) => c.outputs,
            Some(NetworkConfig::OneToMany(c)) => c.recurrent.input_size,
            _ => 0,
        }
    }

    /// Steps of the sequence, or predicted ones of a one-to-many network.
    pub fn steps(&self) -> usize {
        match self.readout() {
            Some(_) => self.input.nrows(),
            None => self.target.len() / self.outputs().max(1),
        }
    }

    /// Refuses what cannot be explained, or does not fit.
    ///
    /// # Errors
    /// Where the input has other features or steps than the network reads, the
    /// target another length, or an option of the network is none of PyTorch's.
    pub fn check(&self) -> Result<()> {
        let recurrent = self.recurrent()?;
        only_pytorchs(&recurrent)?;
        let layers = recurrent.stack.num_layers;
        if layers > LAYERS {
            return Err(Error::option(format!(
                "--layers: at most {LAYERS} are explained, got {layers}"
            )));
        }
        let (steps, features) = self.input.dim();
        let steps_in_all = steps.max(self.target.len());
        if steps_in_all > STEPS {
            return Err(Error::option(format!(
                "--input, --target: at most {STEPS} steps are explained, got {steps_in_all}; give a part of them"
            )));
        }
        let parameters = self.layout().len();
        if steps_in_all.saturating_mul(parameters) > WORK {
            return Err(Error::option(format!(
                "{steps_in_all} steps through {parameters} parameters are more than can be traced (at most {WORK} of them together); give fewer steps, or --hidden and --layers less"
            )));
        }
        if steps == 0 {
            return Err(Error::shape(
                "--input: expected at least one step, got none; give numbers like --input \"10 20 30\"",
            ));
        }
        let expected = match self.network.config() {
            Some(NetworkConfig::OneToMany(c)) => c.inputs,
            _ => recurrent.input_size,
        };
        if features != expected {
            return Err(Error::shape(format!(
                "--input, axis 1 (features of a step): expected {expected} = input_size, got {features}; give every step {}: \"1 2; 3 4\" are two steps of two, and in a file each line is a step and each column a feature",
                count(expected, "number")
            )));
        }
        match self.readout() {
            Some(Readout::AllStates(t)) if t != steps => {
                return Err(Error::shape(format!(
                    "--input, axis 0 (steps): expected {t}, as the head reads {t} states side by side, got {steps}"
                )));
            }
            Some(Readout::LastSteps(k)) if k > steps => {
                return Err(Error::shape(format!(
                    "--input, axis 0 (steps): expected at least {k}, as the head reads the last {k} states, got {steps}"
                )));
            }
            _ => {}
        }
        let finite = |x: &f64| x.is_finite();
        if !self.input.iter().all(finite) || !self.target.iter().all(finite) {
            return Err(Error::option(
                "--input, --target: expected finite numbers, got NaN or infinity",
            ));
        }
        if !(self.lr >= 0.0 && self.lr.is_finite()) {
            return Err(Error::option(format!(
                "--lr: expected a finite number of at least 0, got {:?}",
                self.lr
            )));
        }
        let predicted = self.predicted()? * self.outputs();
        if self.target.len() != predicted {
            return Err(Error::shape(format!(
                "--target: expected {} ({} of {}), got {}",
                count(predicted, "number"),
                count(self.predicted()?, "predicted step"),
                count(self.outputs(), "feature"),
                self.target.len()
            )));
        }
        Ok(())
    }

    /// K, steps that are predicted.
    fn predicted(&self) -> Result<usize> {
        let array = self.array();
        Ok(self.network.output_dim(&self.inputs(&array))?.0)
    }

    fn array(&self) -> Array3<f64> {
        self.input.clone().insert_axis(Axis(1))
    }

    fn inputs<'a>(&'a self, array: &'a Array3<f64>) -> Inputs<'a, f64> {
        let skip = self.skip.as_deref();
        let skip = skip.and_then(|s| ArrayView2::from_shape((1, s.len()), s).ok());
        Inputs {
            skip,
            ..Inputs::sequences(array.view())
        }
    }

    /// The loss for parameters and input that may differ from the subject's.
    ///
    /// # Errors
    /// What the engine refuses.
    pub fn loss(&self, params: &Params<f64>) -> Result<f64> {
        let array = self.array();
        let inputs = self.inputs(&array);
        let dim = self.network.output_dim(&inputs)?;
        let mut y = Array3::zeros(dim);
        let (mut state, mut cache) = (self.network.start(1), AnyCache::Empty);
        let pass = Pass {
            inference: true,
            ..Pass::default()
        };
        self.network
            .forward(params, &inputs, &pass, &mut state, &mut cache, y.view_mut())?;
        let mut dy = Array3::zeros(dim);
        self.measure(&y, &mut dy)
    }

    fn measure(&self, y: &Array3<f64>, dy: &mut Array3<f64>) -> Result<f64> {
        let target = Array3::from_shape_vec(y.dim(), self.target.clone())
            .map_err(|e| Error::shape(format!("--target: {e}")))?;
        let divisor = Loss::Mse.divisor(Default::default(), target.view(), None)?;
        Loss::Mse.evaluate(y.view(), target.view(), None, divisor, dy.view_mut())
    }

    /// One pass forward and back through the engine.
    ///
    /// # Errors
    /// What the engine refuses; numbers that are not finite.
    pub fn pass(&self) -> Result<Passed> {
        self.pass_with(None)
    }

    /// The same, going back from the sum of predictions weighted by `seed` in
    /// place of the loss.
    ///
    /// # Errors
    /// As [`pass`](Self::pass).
    pub fn pass_with(&self, seed: Option<&[f64]>) -> Result<Passed> {
        let array = self.array();
        let inputs = self.inputs(&array);
        let dim = self.network.output_dim(&inputs)?;
        let (mut y, mut dy) = (Array3::zeros(dim), Array3::zeros(dim));
        let (mut state, mut cache) = (self.network.start(1), AnyCache::Empty);
        let pass = Pass::default();
        self.network.forward(
            &self.params,
            &inputs,
            &pass,
            &mut state,
            &mut cache,
            y.view_mut(),
        )?;
        let loss = self.measure(&y, &mut dy)?;
        if !loss.is_finite() {
            return Err(Error::option(
                "the loss: expected a finite number, got none; use smaller numbers for --input, --target and --set, or a larger --scale",
            ));
        }
        if let Some(seed) = seed {
            dy.iter_mut().zip(seed).for_each(|(d, s)| *d = *s);
        }
        let traces = match (&self.network, &cache) {
            (AnyNetwork::Sequence(n), AnyCache::Sequence(c)) => n.stack().trace(c.stack()),
            _ => Vec::new(),
        };
        let traces = traces.into_iter().map(|t| {
            let (layer, reverse, name) = (t.layer, t.reverse, t.name);
            let numbers = t.values.index_axis_move(Axis(1), 0);
            Traced {
                layer,
                reverse,
                name,
                numbers,
            }
        });
        let traces = traces.collect();
        let mut grads = Params::zeros(self.params.layout().clone());
        let mut d_input = Array3::zeros(array.dim());
        state.clear();
        self.network.backward(
            &self.params,
            &inputs,
            &mut cache,
            dy.view(),
            &mut state,
            &mut grads,
            Some(d_input.view_mut()),
        )?;
        for name in HEAD.iter().filter(|_| self.bare) {
            if let Some(mut frozen) = grads.get_mut(name) {
                frozen.fill(0.0);
            }
        }
        Ok(Passed {
            prediction: y.iter().copied().collect(),
            loss,
            grads,
            d_input: d_input.index_axis_move(Axis(1), 0),
            d_start: (0..state.slots()).map(|s| state.slot(s).to_vec()).collect(),
            traces,
        })
    }

    /// The parameters as PyTorch draws them with the seed, where there is one.
    pub(crate) fn drawn(&self) -> Option<Params<f64>> {
        let mut config = self.network.config()?;
        match &mut config {
            NetworkConfig::Sequence(c) => c.recurrent.bias = Bias::Both,
            NetworkConfig::OneToMany(c) => c.recurrent.bias = Bias::Both,
            _ => return None,
        }
        let network = config.build().ok()?;
        network.try_init(self.seed?).ok()
    }

    /// H of a layer.
    pub(crate) fn hidden(recurrent: &RecurrentConfig, layer: usize) -> usize {
        let own = recurrent.hidden_sizes.get(layer);
        own.copied().unwrap_or(recurrent.hidden_size)
    }

    /// What a layer hands on in one direction: its projection, or H.
    pub(crate) fn output(recurrent: &RecurrentConfig, layer: usize) -> usize {
        match recurrent.proj_size {
            0 => Self::hidden(recurrent, layer),
            projected => projected,
        }
    }

    /// The network's parameters, whether their numbers are there or not.
    pub(crate) fn layout(&self) -> &Layout {
        Network::<f64>::layout(&self.network)
    }

    /// The parameters that are explained and trained: all but those of a head that
    /// stands for none.
    pub fn parameters(&self) -> impl Iterator<Item = &Entry> {
        let entries = self.layout().entries().iter();
        entries.filter(|e| !(self.bare && HEAD.contains(&e.name.as_str())))
    }

    /// What the file of the parameters calls one; none where there is no file, or it
    /// has the same names.
    pub fn stored(&self, name: &str) -> Option<&str> {
        let tensors = self.names.file.as_ref()?.tensors.as_ref()?;
        let (_, own) = tensors.iter().find(|(ours, _)| ours == name)?;
        (own != name).then_some(own.as_str())
    }

    /// The prefix of the recurrent layers' parameters.
    pub(crate) fn prefix(&self) -> &'static str {
        match self.network {
            AnyNetwork::OneToMany(_) => "decoder",
            _ => "rnn",
        }
    }

    /// The full name of a part of a cell's parameters.
    pub(crate) fn name(&self, part: &str, layer: usize, reverse: bool) -> String {
        format!("{}.{}", self.prefix(), full_name(part, layer, reverse))
    }

    /// In words: `RNN, 2 units, ...`.
    ///
    /// # Errors
    /// As [`recurrent`](Self::recurrent).
    pub fn describe(&self) -> Result<String> {
        let r = self.recurrent()?;
        let kind = match r.cell {
            CellKind::Rnn => "RNN",
            CellKind::Gru => "GRU",
            CellKind::Lstm => "LSTM",
        };
        let both = if r.stack.bidirectional {
            ", both directions"
        } else {
            ""
        };
        let bias = match r.bias {
            Bias::Both => "two biases",
            Bias::Single => "one bias",
            Bias::None => "no bias",
        };
        let (l, h) = (r.stack.num_layers, r.hidden_size);
        let (layers, units) = (count(l, "layer"), count(h, "unit"));
        Ok(format!("{kind}, {layers} of {units}{both}, {bias}"))
    }
}
