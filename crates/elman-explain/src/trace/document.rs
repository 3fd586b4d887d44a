//! The document: all that a renderer shows, and nothing to compute.

use super::Step;
use super::graph::{At, CellState, Counts, Graph, Id, Origin, Place, Role};
use super::shapes::{Tensor, shapes};
use crate::check::{self, Check};
use crate::figures::{self, Figure};
use crate::landscape::{self, Curve, RECORDED, Recorded};
use crate::norms::{self, Norms};
use crate::overview::{self, Connectivity, Heat};
use crate::progress::{Meter, Progress, Stage};
use crate::sketch::{self, Sketch};
use crate::subject::{Forecast, Subject};
use crate::text::{bracketed, fill, short};
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
    /// Origin input to loss.
    Forward,
    /// Origin loss to gradients.
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
    pub from: Option<Origin>,
    /// Of a part of a gradient that one use of several sends: this use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via: Option<Id>,
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
    /// Of each map its [`Heat::outside`] and [`Heat::percent`]; empty where the step
    /// is too large.
    pub outside: Vec<Option<usize>>,
    /// See `outside`.
    pub percent: Vec<Option<f64>>,
    /// As [`Connectivity::rows`]; empty where the step or these are too large.
    pub connectivity: Vec<Vec<f64>>,
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
    /// Numbers that are no value's, with their formulas; empty where there are too
    /// many values.
    pub figures: Vec<Figure>,
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
            steps: subject.steps(),
            parameters: subject.parameters().map(|e| e.range.len()).sum(),
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
        Self::with_progress(subject, &mut |_| {})
    }

    /// The same, telling how far it is.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_progress(subject: &Subject, report: &mut dyn FnMut(Progress)) -> Result<Self> {
        let mut meter = Meter::new(report);
        let step = super::step(subject)?;
        let total = step.forward.graph.numbers() + step.left_out;
        let readable = total <= READABLE;
        let (training, landscape) = if readable {
            let recorded = landscape::train(subject, &mut meter)?;
            let mut training = vec![frame(subject, 0, &recorded[0])?];
            let later = recorded.iter().enumerate().skip(1);
            // Training may lead to numbers that cannot be traced; it ends there.
            meter.begin(Stage::Training, recorded.len());
            training.extend(later.map_while(|(i, r)| {
                meter.next();
                frame(subject, i, r).ok()
            }));
            let curves = landscape::curves(subject, &recorded, &step, &mut meter)?;
            (training, curves)
        } else {
            (losses(subject, &mut meter)?, Vec::new())
        };
        let (check, values) = if readable {
            let (check, finite) = check::metered(subject, &step, &mut meter)?;
            (Some(check), values(subject, &step, &finite))
        } else {
            (None, Vec::new())
        };
        let recurrent = subject.recurrent()?;
        let norms = norms::norms(&step);
        let heat = overview::heat(&step, &recurrent);
        let connectivity = overview::metered(subject, &mut meter)?;
        let figures = check.as_ref().map_or_else(Vec::new, |check| {
            figures::figures(&step, &norms, &heat, &connectivity, check)
        });
        let about = About::new(subject, total, &training)?;
        Ok(Self {
            format: "elman explain 1",
            shapes: shapes(subject, &step.forward)?,
            ends: match readable {
                true => ends(&step, about.steps),
                false => Ends::default(),
            },
            sketch: match readable {
                true => sketch::sketch(&step, about.steps),
                false => Sketch::default(),
            },
            norms,
            heat,
            connectivity,
            figures,
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
    let heat = overview::heat(&traced, &subject.recurrent()?);
    let followed = subject.target.len() * subject.input.len() <= FOLLOWED;
    Ok(Frame {
        step,
        loss: traced.forward.graph.nodes[traced.forward.loss].numbers[0],
        prediction: subject.in_units(&recorded.prediction),
        numbers: nodes.map(|n| n.numbers.clone()).collect(),
        norms: norms::norms(&traced),
        outside: heat.iter().map(|h| h.outside).collect(),
        percent: heat.iter().map(|h| h.percent).collect(),
        connectivity: if followed {
            overview::connectivity(&at)?.rows
        } else {
            Vec::new()
        },
    })
}

/// The recorded training steps where they are too large to be read.
fn losses(subject: &Subject, meter: &mut Meter<'_>) -> Result<Vec<Frame>> {
    let mut all = Vec::new();
    meter.begin(Stage::Training, RECORDED + 1);
    landscape::descend(subject, |_, passed| {
        meter.next();
        all.push(Frame {
            step: all.len(),
            loss: passed.loss,
            prediction: subject.in_units(&passed.prediction),
            numbers: Vec::new(),
            norms: Vec::new(),
            outside: Vec::new(),
            percent: Vec::new(),
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

/// A template with numbers, negative ones in brackets unless they stand in those
/// of a function.
fn fill_numbers(template: &str, operands: &[At], get: impl Fn(At) -> f64) -> String {
    // Of `(-1)`, which a template has as `({0})`, the inner brackets are enough.
    let bare = |k: usize| template.contains(&format!("({{{k}}})"));
    let number = |(k, at): (usize, &At)| match bare(k) {
        true => (k, short(get(*at))),
        false => (k, bracketed(get(*at))),
    };
    fill(template, operands.iter().enumerate().map(number))
}

/// Where a part of a gradient comes from. Of a parameter's parts each comes from a
/// step of its own.
fn from(graph: &Graph, id: Id) -> Option<Origin> {
    let derivative = graph.nodes[id].derivative.as_ref()?;
    let parameter = graph.nodes[derivative.of].role == Role::Parameter;
    derivative.counts.origin().filter(|_| !parameter)
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
        let get = |(v, i): At| graph.nodes[v].numbers[i];
        let parts: Vec<Vec<f64>> = elements.iter().map(|e| e.parts(get)).collect();
        Value {
            id,
            pass,
            role: node.role,
            symbol: graph.symbol(id),
            place: node.place,
            from: from(graph, id),
            via: match node.derivative.as_ref().map(|d| &d.counts) {
                Some(Counts::Use(_, by)) => Some(*by),
                _ => None,
            },
            of: node.derivative.as_ref().map(|d| d.of),
            shape: [node.shape.0, node.shape.1],
            matrix: node.matrix,
            source: node.source.as_ref().map(|s| Source {
                name: s.name.clone(),
                index: s.index().collect(),
                place: s.index().map(|i| place_in(subject, &s.name, i)).collect(),
            }),
            formula: graph.formula(id),
            template,
            symbols: elements
                .iter()
                .map(|e| {
                    let symbols = e.operands().into_iter().map(|at| graph.symbol_at(at));
                    fill(&e.template(), symbols.enumerate())
                })
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
            difference: finite.as_ref().and_then(|f| f.difference),
        }
    };
    finite.iter().enumerate().map(of).collect()
}

/// The last layer's states at the end.
fn ends(step: &Step, steps: usize) -> Ends {
    let named = &step.forward.named;
    let last = step.forward.last_layer();
    let mut ends = Ends::default();
    for n in named {
        let state = step.forward.graph.nodes[n.id].state;
        if (Some(n.layer), state) != (last, Some(CellState::Hidden)) {
            continue;
        }
        if n.step == steps {
            ends.output.push(n.id);
        }
        if n.step == if n.reverse { 1 } else { steps } {
            ends.h_n.push(n.id);
        }
    }
    ends
}
