//! The document: all that a renderer shows, and nothing to compute.

use super::Step;
use super::graph::{From, Id, Place, Role};
use crate::check::{self, Check};
use crate::landscape::{self, Curve, RECORDED, Recorded};
use crate::norms::{self, Norms};
use crate::overview::{self, Connectivity, Heat};
use crate::sketch::{self, Sketch};
use crate::subject::{Forecast, Subject};
use crate::torch;
use crate::words::Note;
use elman::Result;
use serde::Serialize;

/// The most numbers that are shown one by one; a larger step is shown as heat
/// maps and norms.
pub const READABLE: usize = 1500;

/// Predicted times read numbers up to which connectivity is recorded at every
/// training step, and not at the first alone.
const FOLLOWED: usize = 200;

/// Which of the three passes a value belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pass {
    /// Input, target, parameters, first states.
    Given,
    /// From input to loss.
    Forward,
    /// From loss to gradients.
    Backward,
    /// Gradients into parameters.
    Update,
}

/// Where in a parameter's tensor a shown number is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Source {
    /// The parameter's name in files.
    pub name: String,
    /// For each number, its place in the row-major tensor.
    pub index: Vec<usize>,
    /// The same as Python has it: `rnn.weight_hh_l0[0, 1]`.
    pub place: Vec<String>,
}

/// A value: a row or a matrix of numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Value {
    /// Its place in the list of values.
    pub id: Id,
    /// The pass it belongs to.
    pub pass: Pass,
    /// What it is.
    pub role: Role,
    /// `h^2`.
    pub symbol: String,
    /// Where in the network it is.
    #[serde(flatten)]
    pub place: Place,
    /// Of a part of a gradient: where that comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<From>,
    /// Of a gradient: the value it is the gradient of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<Id>,
    /// Rows and columns.
    pub shape: [usize; 2],
    /// A weight matrix, or what has its shape: its labels have two indices.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub matrix: bool,
    /// Of a parameter: where it comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// The formula of the whole in symbols; empty where it is given.
    pub formula: String,
    /// The formula of one number, `{k}` for its k-th operand.
    pub template: String,
    /// For each number its operands: value, and place in it.
    pub operands: Vec<Vec<(Id, usize)>>,
    /// For each number its name, counted from 1: `W_h[1,2]`.
    pub labels: Vec<String>,
    /// For each number its formula in symbols.
    pub symbols: Vec<String>,
    /// The same with the numbers.
    pub filled: Vec<String>,
    /// The numbers, row-major.
    pub numbers: Vec<f64>,
    /// For each number that is a sum of several products, these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Vec<f64>>,
    /// For each number of a gradient its finite difference; `null` at a kink.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub finite: Vec<Option<f64>>,
    /// max|a - b| / max|b| of the two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<f64>,
}

/// A recorded training step.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Frame {
    /// Counted from 0, the pass that is shown first.
    pub step: usize,
    /// Its loss.
    pub loss: f64,
    /// The numbers of every value, in the order of the values; empty where the
    /// step is too large to be shown number by number.
    pub numbers: Vec<Vec<f64>>,
    /// The prediction in the units of [`About::target`].
    pub prediction: Vec<f64>,
    /// The norms at this step, as in [`Trace::norms`]; empty where the step is
    /// too large.
    pub norms: Vec<Norms>,
    /// As [`Connectivity::rows`]; empty where the step or these are too large.
    pub connectivity: Vec<Vec<f64>>,
}

/// A tensor as PyTorch has it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tensor {
    /// PyTorch's name.
    pub name: String,
    /// The symbols it is shown by.
    pub symbols: Vec<String>,
    /// Where the symbols are parts of a parameter: the first and the last row of
    /// each, counted from 1.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<[usize; 2]>,
    /// Its shape in PyTorch, with batch first.
    pub shape: Vec<usize>,
    /// The shape, in letters.
    pub letters: String,
}

impl Tensor {
    /// Symbols that are all shown.
    const SYMBOLS: usize = 8;

    /// The symbols that are shown: all of them or, of a long sequence's steps, the
    /// first ones and the last.
    pub fn shown(&self) -> Vec<String> {
        match self.symbols.as_slice() {
            [first, second, .., last]
                if self.rows.is_empty() && self.symbols.len() > Self::SYMBOLS =>
            {
                let shown = [first.as_str(), second, "…", last];
                shown.map(str::to_owned).to_vec()
            }
            _ => self.symbols.clone(),
        }
    }
}

/// Of the last layer, the states of its directions that PyTorch returns at the
/// end, as places in the values; empty where these are not shown.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Ends {
    /// In `h_n`: where each direction ends.
    pub h_n: Vec<Id>,
    /// In `output[:, -1]`: at the last step.
    pub output: Vec<Id>,
}

/// What is explained, in short.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct About {
    /// In words.
    pub network: String,
    /// `many-to-one` and so on.
    pub configuration: String,
    /// `rnn`, `gru`, `lstm`.
    pub cell: String,
    /// The activation of an RNN; of the others `tanh`.
    pub nonlinearity: String,
    /// Layers.
    pub layers: usize,
    /// Both directions.
    pub bidirectional: bool,
    /// Units of a layer.
    pub hidden: usize,
    /// `both` as in PyTorch, `single` as in the theory, or `none`.
    pub bias: String,
    /// Steps of the sequence, or predicted ones of a one-to-many network.
    pub steps: usize,
    /// Parameters.
    pub parameters: usize,
    /// The input before it was divided.
    pub input: Vec<Vec<f64>>,
    /// The target before it was divided; of a forecaster in the units of its table.
    pub target: Vec<f64>,
    /// The prediction in the same units.
    pub prediction: Vec<f64>,
    /// What they were divided by.
    pub scale: f64,
    /// The loss.
    pub loss: f64,
    /// The loss after the update; none where it leaves the finite numbers.
    pub loss_after: Option<f64>,
    /// Learning rate.
    pub lr: f64,
    /// Seed of the parameters, where they were drawn.
    pub seed: Option<u64>,
    /// Names of the steps, where they have any: their times.
    pub step_names: Vec<String>,
    /// Names of the features of a step, where they have any.
    pub feature_names: Vec<String>,
    /// Of a forecaster: what is forecast.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forecast: Option<Forecast>,
    /// Remarks on what is explained.
    pub notes: Vec<Note>,
    /// Numbers of the whole step, shown or not.
    pub numbers: usize,
    /// Whether they are shown one by one.
    pub readable: bool,
    /// The most that are.
    pub most: usize,
}

/// A training step, explained.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Trace {
    /// `elman explain 1`: changes where the document does.
    pub format: &'static str,
    /// What is explained.
    pub about: About,
    /// The tensors as PyTorch has them.
    pub shapes: Vec<Tensor>,
    /// Every value; empty where there are too many.
    pub values: Vec<Value>,
    /// The finite differences; none where there are too many values.
    pub check: Option<Check>,
    /// What PyTorch returns at the end.
    pub ends: Ends,
    /// The network unrolled over time.
    pub sketch: Sketch,
    /// Norms of the gradients of states, step by step.
    pub norms: Vec<Norms>,
    /// States and gates over time.
    pub heat: Vec<Heat>,
    /// The gradient of each prediction by each input.
    pub connectivity: Connectivity,
    /// Recorded training steps.
    pub training: Vec<Frame>,
    /// The loss along weights.
    pub landscape: Vec<Curve>,
    /// PyTorch code that gives the same numbers.
    pub code: String,
}

impl About {
    /// Of a step with so many numbers, and the training that follows it.
    fn new(subject: &Subject, numbers: usize, training: &[Frame]) -> Result<Self> {
        let mut notes = subject.names.notes.clone();
        if training.len() <= RECORDED {
            let (steps, most) = ((training.len() - 1).to_string(), RECORDED.to_string());
            notes.push(Note::new("note_ended", [('n', steps), ('m', most)]));
        }
        let recurrent = subject.recurrent()?;
        let nonlinearity = match (&recurrent.options.activations[..], recurrent.nonlinearity) {
            ([_, ..], _) => "linear",
            (_, elman::cell::Nonlinearity::Relu) => "relu",
            _ => "tanh",
        };
        let configuration = match subject.readout() {
            None => "one-to-many",
            Some(elman::network::Readout::EveryStep) => "many-to-many",
            Some(elman::network::Readout::LastSteps(k)) if k > 1 => "many-to-many",
            Some(_) => "many-to-one",
        };
        let bias = match recurrent.bias {
            elman::cell::Bias::Both => "both",
            elman::cell::Bias::Single => "single",
            elman::cell::Bias::None => "none",
        };
        Ok(Self {
            network: subject.describe()?,
            configuration: configuration.to_owned(),
            cell: recurrent.cell.to_string().to_lowercase(),
            nonlinearity: nonlinearity.to_owned(),
            layers: recurrent.stack.num_layers,
            bidirectional: recurrent.stack.bidirectional,
            hidden: recurrent.hidden_size,
            bias: bias.to_owned(),
            steps: match configuration {
                "one-to-many" => subject.target.len() / subject.outputs().max(1),
                _ => subject.input.nrows(),
            },
            parameters: subject.params.values().len(),
            input: subject
                .input
                .rows()
                .into_iter()
                .map(|r| r.iter().map(|x| x * subject.scale).collect())
                .collect(),
            target: subject.in_units(&subject.target),
            prediction: training[0].prediction.clone(),
            scale: subject.scale,
            loss: training[0].loss,
            loss_after: training.get(1).map(|f| f.loss),
            lr: subject.lr,
            seed: subject.seed,
            step_names: subject.names.steps.clone(),
            feature_names: subject.names.features.clone(),
            forecast: subject.names.forecast.clone(),
            notes,
            numbers,
            readable: numbers <= READABLE,
            most: READABLE,
        })
    }
}

impl Trace {
    /// Explains a training step.
    ///
    /// # Errors
    /// What [`Subject::check`] and the engine refuse.
    pub fn new(subject: &Subject) -> Result<Self> {
        let step = super::step(subject)?;
        let total = step.forward.graph.numbers() + step.left_out;
        let readable = total <= READABLE;
        let (training, landscape) = if readable {
            let recorded = landscape::train(subject)?;
            let mut training = vec![frame(subject, 0, &recorded[0])?];
            let later = recorded.iter().enumerate().skip(1);
            // Training may lead to numbers that cannot be traced; it ends there.
            training.extend(later.map_while(|(i, r)| frame(subject, i, r).ok()));
            let curves = landscape::curves(subject, &recorded, &step)?;
            (training, curves)
        } else {
            (losses(subject)?, Vec::new())
        };
        let (check, values) = if readable {
            let (check, finite) = check::check(subject, &step)?;
            (Some(check), values(subject, &step, &finite))
        } else {
            (None, Vec::new())
        };
        let recurrent = subject.recurrent()?;
        let about = About::new(subject, total, &training)?;
        Ok(Self {
            format: "elman explain 1",
            shapes: shapes(subject, &step)?,
            ends: match readable {
                true => ends(&step, about.steps),
                false => Ends::default(),
            },
            sketch: match readable {
                true => sketch::sketch(&step, about.steps),
                false => Sketch::default(),
            },
            norms: norms::norms(&step),
            heat: overview::heat(&step, &recurrent),
            connectivity: overview::connectivity(subject)?,
            code: torch::code(subject)?,
            about,
            values,
            check,
            training,
            landscape,
        })
    }

    /// The values of a pass.
    pub fn of(&self, pass: Pass) -> impl Iterator<Item = &Value> {
        self.values.iter().filter(move |v| v.pass == pass)
    }
}

/// A recorded training step.
fn frame(subject: &Subject, step: usize, recorded: &Recorded) -> Result<Frame> {
    let at = Subject {
        params: recorded.params.clone(),
        ..subject.clone()
    };
    let traced = super::step(&at)?;
    let nodes = traced.forward.graph.nodes.iter();
    let followed = subject.target.len() * subject.input.len() <= FOLLOWED;
    Ok(Frame {
        step,
        loss: recorded.loss,
        prediction: subject.in_units(&recorded.prediction),
        numbers: nodes.map(|n| n.numbers.clone()).collect(),
        norms: norms::norms(&traced),
        connectivity: if followed {
            overview::connectivity(&at)?.rows
        } else {
            Vec::new()
        },
    })
}

/// The recorded training steps where they are too large to be read.
fn losses(subject: &Subject) -> Result<Vec<Frame>> {
    let mut all = Vec::new();
    landscape::descend(subject, |_, passed| {
        all.push(Frame {
            step: all.len(),
            loss: passed.loss,
            prediction: subject.in_units(&passed.prediction),
            numbers: Vec::new(),
            norms: Vec::new(),
            connectivity: Vec::new(),
        });
    })?;
    Ok(all)
}

/// A place in a parameter, counted from 0.
fn place_in(subject: &Subject, name: &str, i: usize) -> String {
    let entry = subject.params.layout().find(name);
    match entry.map(|e| e.shape.as_slice()) {
        Some([_, columns]) => format!("{name}[{}, {}]", i / columns, i % columns),
        _ => format!("{name}[{i}]"),
    }
}

/// A template with its operands.
fn fill(template: &str, operands: &[(Id, usize)], show: impl Fn((Id, usize)) -> String) -> String {
    let mut text = template.to_owned();
    for (k, at) in operands.iter().enumerate() {
        text = text.replace(&format!("{{{k}}}"), &show(*at));
    }
    text
}

/// A template with numbers, negative ones in brackets unless they stand in those
/// of a function.
fn fill_numbers(
    template: &str,
    operands: &[(Id, usize)],
    get: impl Fn((Id, usize)) -> f64,
) -> String {
    let mut text = template.to_owned();
    for (k, at) in operands.iter().enumerate() {
        let number = crate::render::short(get(*at));
        text = text.replace(&format!("({{{k}}})"), &format!("({number})"));
        let signed = if number.starts_with('−') {
            format!("({number})")
        } else {
            number
        };
        text = text.replace(&format!("{{{k}}}"), &signed);
    }
    text
}

fn values(subject: &Subject, step: &Step, finite: &[Option<check::Finite>]) -> Vec<Value> {
    let graph = &step.forward.graph;
    let (back, update) = step.begins;
    let of = |(id, finite): (Id, &Option<check::Finite>)| {
        let node = &graph.nodes[id];
        let pass = match node.role {
            _ if id >= update => Pass::Update,
            _ if id >= back => Pass::Backward,
            Role::Input | Role::Target | Role::Parameter => Pass::Given,
            Role::Start if node.rule == super::graph::Rule::Given => Pass::Given,
            _ => Pass::Forward,
        };
        let count = node.numbers.len();
        let elements: Vec<_> = (0..count).map(|i| graph.element(id, i)).collect();
        let template = elements.iter().map(|e| e.template());
        let template = template.max_by_key(String::len).unwrap_or_default();
        let get = |(v, i): (Id, usize)| graph.nodes[v].numbers[i];
        let parts: Vec<Vec<f64>> = elements.iter().map(|e| e.parts(get)).collect();
        Value {
            id,
            pass,
            role: node.role,
            symbol: graph.symbol(id),
            place: node.place,
            from: node.from.filter(|_| node.role == Role::Share),
            of: node.of.as_ref().map(|(v, _)| *v),
            shape: [node.shape.0, node.shape.1],
            matrix: node.matrix,
            source: node.source.as_ref().map(|(name, index)| Source {
                name: name.clone(),
                index: index.clone(),
                place: index.iter().map(|i| place_in(subject, name, *i)).collect(),
            }),
            formula: graph.formula(id),
            template,
            symbols: elements
                .iter()
                .map(|e| fill(&e.template(), &e.operands(), |at| graph.symbol_at(at)))
                .collect(),
            filled: elements
                .iter()
                .map(|e| fill_numbers(&e.template(), &e.operands(), get))
                .collect(),
            operands: elements.iter().map(|e| e.operands()).collect(),
            labels: (0..count).map(|i| graph.symbol_at((id, i))).collect(),
            numbers: node.numbers.clone(),
            parts: if parts.iter().all(Vec::is_empty) {
                Vec::new()
            } else {
                parts
            },
            finite: finite.as_ref().map_or_else(Vec::new, |f| f.numbers.clone()),
            difference: finite.as_ref().map(|f| f.difference),
        }
    };
    finite.iter().enumerate().map(of).collect()
}

/// The last layer's states at the end.
fn ends(step: &Step, steps: usize) -> Ends {
    let named = &step.forward.named;
    let last = named.iter().map(|(layer, ..)| *layer).max().unwrap_or(0);
    let mut ends = Ends::default();
    for (layer, reverse, t, name, id) in named {
        if (*layer, *name) != (last, "h") {
            continue;
        }
        if *t == steps {
            ends.output.push(*id);
        }
        if *t == if *reverse { 1 } else { steps } {
            ends.h_n.push(*id);
        }
    }
    ends
}

/// The layer's tensors with PyTorch's names and shapes.
fn shapes(subject: &Subject, step: &Step) -> Result<Vec<Tensor>> {
    let recurrent = subject.recurrent()?;
    let stack = &recurrent.stack;
    let graph = &step.forward.graph;
    let symbols = |wanted: &dyn Fn(&super::graph::Node) -> bool| -> Vec<String> {
        let there = graph.nodes.iter().filter(|n| wanted(n));
        there.map(|n| n.symbol.clone()).collect()
    };
    let directions = if stack.bidirectional { 2 } else { 1 };
    let r = match recurrent.proj_size {
        0 => recurrent.hidden_size,
        projected => projected,
    };
    let slots = stack.num_layers * directions;
    let (steps, features) = match subject.readout() {
        None => (
            subject.target.len() / subject.outputs().max(1),
            recurrent.input_size,
        ),
        Some(_) => subject.input.dim(),
    };
    let tensor = |name: &str, symbols: Vec<String>, shape: [usize; 3], letters: &str| Tensor {
        name: name.to_owned(),
        symbols,
        rows: Vec::new(),
        shape: shape.to_vec(),
        letters: letters.to_owned(),
    };
    let named = |ids: &[Id]| ids.iter().map(|id| graph.symbol(*id)).collect::<Vec<_>>();
    let starts = |state: char| {
        symbols(&|n| {
            let own = n.symbol.starts_with(state) && !n.symbol.ends_with('°');
            n.role == Role::Start && own && n.place.layer.is_some()
        })
    };
    // Of each layer and direction, the state where it ends.
    let ends = |state: &str| {
        let all = step.forward.named.iter();
        let last = all.filter(|(_, reverse, t, name, _)| {
            *name == state && *t == if *reverse { 1 } else { steps }
        });
        last.map(|(.., id)| graph.symbol(*id)).collect::<Vec<_>>()
    };
    let slot = "(L·D, B, H)";
    let h = recurrent.hidden_size;
    let inputs = symbols(&|n| n.role == Role::Input && n.place.step.is_some());
    let outputs = named(&step.forward.outputs);
    let lstm = recurrent.cell == elman::cell::CellKind::Lstm;
    let mut all = vec![
        tensor("input", inputs, [1, steps, features], "(B, T, I)"),
        tensor("h_0", starts('h'), [slots, 1, r], slot),
    ];
    if lstm {
        all.push(tensor("c_0", starts('c'), [slots, 1, h], slot));
    }
    let wide = [1, steps, directions * r];
    all.push(tensor("output", outputs, wide, "(B, T, D·H)"));
    all.push(tensor("h_n", ends("h"), [slots, 1, r], slot));
    if lstm {
        all.push(tensor("c_n", ends("c"), [slots, 1, h], slot));
    }
    for entry in subject.params.layout().entries() {
        let of = |n: &super::graph::Node| {
            let source = n.source.as_ref().filter(|_| n.role == Role::Parameter);
            source.is_some_and(|(name, _)| *name == entry.name)
        };
        let columns: usize = entry.shape.iter().skip(1).product();
        let parts = graph.nodes.iter().filter(|n| of(n));
        let rows = parts.filter_map(|n| {
            let (_, index) = n.source.as_ref()?;
            let row = |i: &usize| i / columns.max(1) + 1;
            Some([index.iter().map(row).min()?, index.iter().map(row).max()?])
        });
        let symbols = symbols(&of);
        all.push(Tensor {
            name: entry.name.clone(),
            rows: if symbols.len() > 1 {
                rows.collect()
            } else {
                Vec::new()
            },
            symbols,
            shape: entry.shape.clone(),
            letters: String::new(),
        });
    }
    Ok(all)
}
