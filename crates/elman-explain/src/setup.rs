//! From words to a [`Subject`]: what is explained where nothing is asked for,
//! and what flags change of it.

use crate::numbers::{Table, parse_input};
use crate::subject::{LAYERS, Names, Subject};
use crate::trace;
use elman::cell::{Activation, Bias, CellKind, Nonlinearity};
use elman::layer::RecurrentConfig;
use elman::ndarray::Array2;
use elman::network::{
    AnyNetwork, Network, NetworkConfig, OneToManyConfig, Readout, SequenceConfig,
};
use elman::params::Params;
use elman::weights::{Dtype, Model, TensorFile};
use elman::{Error, Result};

/// Which predictions there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Configuration {
    /// One, after the whole sequence.
    #[default]
    ManyToOne,
    /// A sequence from one vector.
    OneToMany,
    /// One a step.
    ManyToMany,
}

/// The activation of a plain RNN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RnnActivation {
    /// `tanh`.
    #[default]
    Tanh,
    /// `max(x, 0)`.
    Relu,
    /// None, for work by hand.
    Linear,
}

/// What is asked for. [`Request::default`] is the worked example: windows of
/// three steps of 10, 20, 30, ..., read by an RNN of two units.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The cell.
    pub cell: CellKind,
    /// Units of a layer.
    pub hidden: usize,
    /// Layers.
    pub layers: usize,
    /// Both directions.
    pub bidirectional: bool,
    /// Which predictions there are.
    pub configuration: Configuration,
    /// Many-to-one: the head reads the last state alone, not all of them side
    /// by side.
    pub last_state: bool,
    /// The activation of an RNN.
    pub nonlinearity: RnnActivation,
    /// Two biases, as PyTorch has them, not the one of the theory.
    pub two_biases: bool,
    /// Seed of the initial values.
    pub seed: u64,
    /// The learning rate.
    pub lr: f64,
    /// Numbers that are set, `NAME[i,j]=VALUE`.
    pub set: Vec<String>,
    /// The input in words, see [`parse_input`].
    pub input: Option<String>,
    /// The input from a file, in place of words.
    pub table: Option<Table>,
    /// The target in words.
    pub target: Option<String>,
    /// What input and target are divided by; for a model file 1 where it is
    /// not given, else 100.
    pub scale: Option<f64>,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            cell: CellKind::Rnn,
            hidden: 2,
            layers: 1,
            bidirectional: false,
            configuration: Configuration::ManyToOne,
            last_state: false,
            nonlinearity: RnnActivation::Tanh,
            two_biases: false,
            seed: 0,
            lr: 0.1,
            set: Vec::new(),
            input: None,
            table: None,
            target: None,
            scale: None,
        }
    }
}

/// Units of a layer that are looked at at most: more are refused before any
/// memory is taken.
const MOST: usize = 1024;

/// All numbers in one row: what a one-to-many network reads.
fn as_vector(input: Array2<f64>) -> Result<Array2<f64>> {
    let (steps, features) = input.dim();
    if steps > 1 && features > 1 {
        return Err(Error::shape(format!(
            "--input: a one-to-many network reads one vector, like \"10 20 30\", got {steps} steps of {features} numbers"
        )));
    }
    let row: Vec<f64> = input.into_iter().collect();
    Array2::from_shape_vec((1, row.len()), row).map_err(|e| Error::shape(format!("--input: {e}")))
}

impl Request {
    /// The subject that is asked for, without a model file.
    ///
    /// # Errors
    /// Where a size is 0 or beyond all reason, an option does not go with the
    /// cell, numbers cannot be read, or shapes do not fit.
    pub fn subject(&self) -> Result<Subject> {
        self.made(|config| self.drawn(config))
    }

    /// The same without the numbers of its parameters, which takes no time however
    /// many they are: for [shapes](trace::shapes).
    ///
    /// # Errors
    /// As [`subject`](Self::subject).
    pub fn outline(&self) -> Result<Subject> {
        self.made(|config| {
            let bias = if self.two_biases {
                Bias::Both
            } else {
                Bias::Single
            };
            Ok((config(bias).build()?, Params::zeros(Default::default())))
        })
    }

    /// The subject, with the network and the parameters that `make` gives for the
    /// configuration that a bias leads to.
    fn made(
        &self,
        make: impl FnOnce(&dyn Fn(Bias) -> NetworkConfig) -> Result<(AnyNetwork, Params<f64>)>,
    ) -> Result<Subject> {
        self.check()?;
        let (worked_input, worked_target) = match self.configuration {
            Configuration::ManyToOne => ("10 20 30", "40"),
            Configuration::OneToMany => ("10", "20 30 40"),
            Configuration::ManyToMany => ("10 20 30", "20 30 40"),
        };
        let given = self.read()?;
        if given.is_some() && self.target.is_none() {
            return Err(Error::option(
                "--target is missing: what the network should predict for this input, like --target 40",
            ));
        }
        let target = parse_input("--target", self.target.as_deref().unwrap_or(worked_target))?;
        let given = match given {
            Some(given) => given,
            None => parse_input("--input", worked_input)?.into(),
        };
        let (input, predicted) = (given.numbers.dim(), target.dim());
        let (network, params) = make(&|bias| self.config(input, predicted, bias))?;
        let input = match self.configuration {
            Configuration::OneToMany => as_vector(given.numbers)?,
            _ => given.numbers,
        };
        self.finish(Subject {
            network,
            params,
            input,
            bare: false,
            skip: None,
            target: target.iter().copied().collect(),
            lr: self.lr,
            scale: self.scale.unwrap_or(100.0),
            seed: Some(self.seed),
            names: Names {
                features: given.features,
                ..Names::default()
            },
        })
    }

    /// Refuses sizes beyond all reason, and options that do not go together.
    fn check(&self) -> Result<()> {
        for (name, n, most) in [
            ("--hidden", self.hidden, MOST),
            ("--layers", self.layers, LAYERS),
        ] {
            if n == 0 || n > most {
                return Err(Error::option(format!(
                    "{name}: expected 1 to {most}, got {n}"
                )));
            }
        }
        if self.nonlinearity != RnnActivation::Tanh && self.cell != CellKind::Rnn {
            return Err(Error::option(
                "--nonlinearity: only an RNN has one; leave it out, or choose --cell rnn",
            ));
        }
        if self.last_state && self.configuration != Configuration::ManyToOne {
            return Err(Error::option(
                "--readout: only a many-to-one network chooses what its head reads; leave it out",
            ));
        }
        if self.bidirectional && self.configuration == Configuration::OneToMany {
            return Err(Error::option(
                "--bidirectional: a network that reads its own output goes forward in time only; leave it out",
            ));
        }
        Ok(())
    }

    /// The network for an input (T, I) and a target (K, O).
    fn config(
        &self,
        (steps, features): (usize, usize),
        (predicted, outputs): (usize, usize),
        bias: Bias,
    ) -> NetworkConfig {
        let one_to_many = self.configuration == Configuration::OneToMany;
        let input_size = if one_to_many { outputs } else { features };
        let mut recurrent = RecurrentConfig::new(self.cell, input_size, self.hidden);
        recurrent.bias = bias;
        recurrent.stack.num_layers = self.layers;
        recurrent.stack.bidirectional = self.bidirectional;
        match self.nonlinearity {
            RnnActivation::Tanh => {}
            RnnActivation::Relu => recurrent.nonlinearity = Nonlinearity::Relu,
            RnnActivation::Linear => recurrent.options.activations = vec![Activation::Identity],
        }
        if one_to_many {
            return NetworkConfig::OneToMany(OneToManyConfig {
                recurrent,
                inputs: steps * features,
                steps: predicted,
            });
        }
        let readout = match (self.configuration, self.last_state) {
            (Configuration::ManyToMany, _) => Readout::EveryStep,
            (_, true) => Readout::LastState,
            (_, false) => Readout::AllStates(steps),
        };
        NetworkConfig::Sequence(SequenceConfig {
            recurrent,
            readout,
            outputs,
            head_dropout: 0.0,
            skip: None,
        })
    }

    /// The network of a configuration, its parameters as PyTorch draws them.
    fn drawn(&self, config: &dyn Fn(Bias) -> NetworkConfig) -> Result<(AnyNetwork, Params<f64>)> {
        // PyTorch draws two biases; the theory has one of them.
        let both = config(Bias::Both).build()?;
        let drawn: Params<f64> = both.try_init(self.seed)?;
        if self.two_biases {
            return Ok((both, drawn));
        }
        let single = config(Bias::Single).build()?;
        let mut params = Params::try_zeros(Network::<f64>::layout(&single).clone())?;
        for entry in drawn.layout().entries() {
            let values = &drawn.values()[entry.range.clone()];
            if params.layout().find(&entry.name).is_some() {
                params.set(&entry.name, values)?;
            }
        }
        Ok((single, params))
    }

    /// A model file's network with the input and the target that are asked for.
    ///
    /// # Errors
    /// Where one of them is missing or does not fit.
    pub fn of_model(&self, network: AnyNetwork, params: Params<f64>) -> Result<Subject> {
        let (given, target) = self.given()?;
        if let Some(NetworkConfig::Sequence(SequenceConfig { skip: Some(s), .. })) =
            network.config()
        {
            return Err(Error::option(format!(
                "its skip connection reads {} numbers beside the sequence, which --input does not give; a model of `elman forecast` is explained on a table, with --input TABLE.csv",
                s.inputs
            )));
        }
        let target: Vec<f64> = target.iter().copied().collect();
        let input = match network.config() {
            Some(NetworkConfig::OneToMany(_)) => as_vector(given.numbers)?,
            _ => given.numbers,
        };
        self.finish(Subject {
            network,
            params,
            input,
            bare: false,
            skip: None,
            target,
            lr: self.lr,
            scale: self.scale.unwrap_or(1.0),
            seed: None,
            names: Names {
                features: given.features,
                ..Names::default()
            },
        })
    }

    /// The input that is asked for.
    fn read(&self) -> Result<Option<Table>> {
        match (&self.table, &self.input) {
            (Some(table), _) => Ok(Some(table.clone())),
            (None, Some(words)) => Ok(Some(parse_input("--input", words)?.into())),
            (None, None) => Ok(None),
        }
    }

    /// Input and target, without which a file cannot be explained.
    pub(crate) fn given(&self) -> Result<(Table, Array2<f64>)> {
        let input = self.read()?;
        let (Some(input), Some(target)) = (input, &self.target) else {
            let missing = match self.target {
                None if self.table.is_some() || self.input.is_some() => "target",
                _ => "input",
            };
            return Err(Error::option(format!(
                "--{missing} is missing: a model file needs --input, what it reads, and --target, what it should predict"
            )));
        };
        Ok((input, parse_input("--target", target)?))
    }

    /// A subject that was made elsewhere, with the learning rate and the numbers
    /// that are asked for.
    ///
    /// # Errors
    /// Where a number cannot be set, or shapes do not fit.
    pub fn of(&self, subject: Subject) -> Result<Subject> {
        self.finish(Subject {
            lr: self.lr,
            ..subject
        })
    }

    /// Divides by the scale and sets numbers.
    pub(crate) fn finish(&self, mut subject: Subject) -> Result<Subject> {
        let scale = subject.scale;
        if !(scale.is_finite() && scale != 0.0) {
            return Err(Error::option(format!(
                "--scale: expected a finite number other than 0, got {scale}"
            )));
        }
        subject.input /= scale;
        subject.target.iter_mut().for_each(|y| *y /= scale);
        subject.check()?;
        for set in &self.set {
            // An outline has no number to set, but names to know.
            match subject.params.values().is_empty() {
                true => find(&subject, set).map(drop)?,
                false => assign(&mut subject, set)?,
            }
        }
        Ok(subject)
    }
}

/// Parameters in `f64`.
pub fn widened(stored: &Params<f32>) -> Result<Params<f64>> {
    let mut params = Params::try_zeros(stored.layout().clone())?;
    let both = params.values_mut().iter_mut().zip(stored.values());
    both.for_each(|(to, from)| *to = f64::from(*from));
    Ok(params)
}

/// The first network of a model file and its parameters, in `f64` whatever they
/// are stored as.
///
/// # Errors
/// What [`Model::from_tensors`] refuses.
pub fn open(file: &TensorFile<'_>) -> Result<(AnyNetwork, Params<f64>)> {
    let single = file.float_dtype(|_| true)? == Some(Dtype::F32);
    if !single {
        let model = Model::<f64>::from_tensors(file)?;
        check_finite(&model.members()[0])?;
        return Ok((model.network().clone(), model.members()[0].clone()));
    }
    let model = Model::<f32>::from_tensors(file)?;
    let params = widened(&model.members()[0])?;
    check_finite(&params)?;
    Ok((model.network().clone(), params))
}

/// Sets one number of a parameter of a [checked](Subject::check) subject:
/// `W_h[1,2]=0.5` as formulas show it, counted from 1, or by PyTorch's name,
/// counted from 0, `weight_hh_l0[1,0]=0.5`; there `rnn.` may be left out. So it may
/// by the name that the parameter's file has.
///
/// # Errors
/// Where the words are no such thing, or the parameter or the place does not
/// exist.
pub fn assign(subject: &mut Subject, text: &str) -> Result<()> {
    let (at, number) = find(subject, text)?;
    subject.params.values_mut()[at] = number;
    subject.names.set.push(at);
    Ok(())
}

/// The place among all parameters, and the number, of `NAME[i,j]=VALUE`.
fn find(subject: &Subject, text: &str) -> Result<(usize, f64)> {
    let wrong = || {
        Error::option(format!(
            "--set: expected NAME[i,j]=VALUE, like W_h[1,2]=0.5 or weight_hh_l0[1,0]=0.5, got `{text}`"
        ))
    };
    let (place, value) = text.split_once('=').ok_or_else(wrong)?;
    let (place, value) = (place.trim(), value.trim());
    let number = value.replace('\u{2212}', "-");
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let (name, index) = match place.strip_suffix(']') {
        Some(place) => place.split_once('[').ok_or_else(wrong)?,
        None => (place, ""),
    };
    let index = match index.trim() {
        "" => Vec::new(),
        several => several
            .split(',')
            .map(|i| i.trim().parse().map_err(|_| wrong()))
            .collect::<Result<Vec<usize>>>()?,
    };
    if !number.is_finite() {
        return Err(Error::option(format!(
            "--set {place}: expected a finite number, got {value}"
        )));
    }
    let at = match by_name(subject, (place, name), &index)? {
        Some(at) => at,
        None => by_symbol(subject, (place, name), &index)?,
    };
    Ok((at, number))
}

/// The place of a number by PyTorch's name of its parameter; none where no
/// parameter has that name. `place` is the name with its indices, as it was given.
fn by_name(
    subject: &Subject,
    (place, name): (&str, &str),
    index: &[usize],
) -> Result<Option<usize>> {
    let entry = subject.parameters().find(|e| {
        let own = ["rnn.", "decoder."]
            .iter()
            .find_map(|p| e.name.strip_prefix(p));
        e.name == name || own == Some(name) || subject.stored(&e.name) == Some(name)
    });
    let Some(entry) = entry else { return Ok(None) };
    let fits =
        index.len() == entry.shape.len() && index.iter().zip(&entry.shape).all(|(i, n)| i < n);
    if !fits {
        let last = entry.shape.iter().map(|n| n.saturating_sub(1).to_string());
        let last = last.collect::<Vec<_>>().join(",");
        return Err(Error::shape(format!(
            "--set {place}: expected {} counted from 0 inside the shape {:?}, up to {name}[{last}], got {}",
            if entry.shape.len() == 1 {
                "one index"
            } else {
                "row and column"
            },
            entry.shape,
            got(index)
        )));
    }
    let flat = index
        .iter()
        .zip(&entry.shape)
        .fold(0, |at, (i, n)| at * n + i);
    Ok(Some(entry.range.start + flat))
}

/// The indices that were given.
fn got(index: &[usize]) -> String {
    match index {
        [] => "no index".to_owned(),
        _ => format!("{index:?}"),
    }
}

/// The same by the symbol that formulas have, counted from 1: a row has one
/// index, a matrix two; a single number needs none.
fn by_symbol(subject: &Subject, (place, name): (&str, &str), index: &[usize]) -> Result<usize> {
    let forward = trace::outline(subject)?;
    let nodes = forward.graph.nodes.iter();
    let shown: Vec<_> = nodes.filter(|n| n.source.is_some()).collect();
    let layout = subject.layout();
    let Some(node) = shown.iter().find(|n| n.symbol == name) else {
        let symbols: Vec<&str> = shown.iter().map(|n| n.symbol.as_str()).collect();
        let names = subject.parameters();
        let names = names.map(|e| subject.stored(&e.name).unwrap_or(&e.name));
        let names: Vec<&str> = names.collect();
        return Err(Error::option(format!(
            "--set: no parameter is named `{name}`; there are {}, counted from 1, or by {} names {}, counted from 0",
            symbols.join(", "),
            match subject.names.file {
                Some(_) => "the file's",
                None => "PyTorch's",
            },
            names.join(", ")
        )));
    };
    let (rows, columns) = node.shape;
    let found = match *index {
        [] if rows * columns == 1 => Some((1, 1)),
        [j] if !node.matrix => Some((1, j)),
        [i, j] if node.matrix => Some((i, j)),
        _ => None,
    };
    let inside = found.filter(|(i, j)| (1..=rows).contains(i) && (1..=columns).contains(j));
    let at = inside
        .zip(node.source.as_ref())
        .and_then(|((i, j), source)| {
            let entry = layout.find(&source.name)?;
            let at = source.index().nth((i - 1) * columns + j - 1)?;
            Some(entry.range.start + at)
        });
    at.ok_or_else(|| {
        let expected = match node.matrix {
            true => format!(
                "row and column counted from 1 inside the shape [{rows}, {columns}], up to {name}[{rows},{columns}]"
            ),
            false => format!(
                "one index counted from 1 inside the shape [{columns}], up to {name}[{columns}]"
            ),
        };
        Error::shape(format!(
            "--set {place}: expected {expected}, got {}",
            got(index)
        ))
    })
}

/// Refuses a model with a number that is none.
pub(crate) fn check_finite(params: &Params<f64>) -> Result<()> {
    for entry in params.layout().entries() {
        let values = &params.values()[entry.range.clone()];
        if let Some(at) = values.iter().position(|x| !x.is_finite()) {
            let mut place = Vec::new();
            let mut rest = at;
            for side in entry.shape.iter().rev() {
                place.insert(0, (rest % side).to_string());
                rest /= side;
            }
            return Err(Error::file(format!(
                "{}[{}] is {}, expected finite numbers; was the model trained to its end?",
                entry.name,
                place.join(","),
                values[at]
            )));
        }
    }
    Ok(())
}
