//! A step as a whole: states and gates over time, how many gates are
//! saturated, and which input each prediction listens to.

use crate::progress::{Meter, Stage};
use crate::subject::Subject;
use crate::trace::Step;
use crate::trace::graph::{CellState, Part};
use elman::Result;
use elman::layer::RecurrentConfig;
use elman::network::Readout;
use serde::Serialize;

/// A gate of a sigmoid is saturated outside of these.
pub const SIGMOID: [f64; 2] = [0.1, 0.9];
/// A tanh is saturated beyond this.
pub const TANH: f64 = 0.9;

/// A state or a gate over time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Heat {
    /// `h`, `c`, `r`, `z`, `q`, `n`, `i`, `f`, `g`, `o`; `m`, what is projected.
    pub name: &'static str,
    /// The layer, counted from 0.
    pub layer: usize,
    /// The direction.
    pub reverse: bool,
    /// A row of units for each step.
    pub rows: Vec<Vec<f64>>,
    /// Each number as a shade of its span: from 0 to 4 above zero, from 0 to -4
    /// below.
    pub levels: Vec<Vec<i8>>,
    /// What the colours span.
    pub span: [f64; 2],
    /// Inside of these a number is not saturated; none where it has no bounds.
    pub bounds: Option<[f64; 2]>,
    /// The share of numbers outside.
    pub saturated: Option<f64>,
    /// How many numbers are outside.
    pub outside: Option<usize>,
    /// The share in percent, to a tenth.
    pub percent: Option<f64>,
    /// For each number, its value in the trace.
    pub ids: Vec<usize>,
}

/// The gradient of each prediction by each input.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Connectivity {
    /// What is predicted: `ŷ^3[1]`, a row each.
    pub outputs: Vec<String>,
    /// The step of each, counted from 1; none where it is of the whole sequence.
    pub at: Vec<Option<usize>>,
    /// For each output and step of the input, the norm of the gradient.
    pub rows: Vec<Vec<f64>>,
    /// Each as a shade from 0 to 4 of the largest.
    pub levels: Vec<Vec<u8>>,
    /// The largest of them.
    pub largest: f64,
    /// Of a network with a skip connection, what goes through that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beside: Option<Beside>,
}

/// The gradient of each prediction by each number that a skip connection reads:
/// its weights.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Beside {
    /// What the numbers are; as many as they, or none.
    pub names: Vec<String>,
    /// For each output and number, the size of the gradient.
    pub rows: Vec<Vec<f64>>,
    /// Each as a shade from 0 to 4 of the largest.
    pub levels: Vec<Vec<u8>>,
    /// The largest of them.
    pub largest: f64,
}

/// A number as a shade from 0, which is nothing at all, to 4.
fn shade(x: f64, most: f64) -> u8 {
    if most > 0.0 {
        (4.0 * x / most).ceil().clamp(0.0, 4.0) as u8
    } else {
        0
    }
}

/// A number of either sign as a shade from -4 to 4.
fn signed_shade(x: f64, most: f64) -> i8 {
    let size = shade(x.abs(), most) as i8;
    if x < 0.0 { -size } else { size }
}

/// The most outputs whose connectivity is computed.
const OUTPUTS: usize = 64;

/// Every state and gate over time.
pub fn heat(step: &Step, recurrent: &RecurrentConfig) -> Vec<Heat> {
    let graph = &step.forward.graph;
    let plain = recurrent.options.activations.is_empty();
    let tanh = recurrent.nonlinearity == elman::cell::Nonlinearity::Tanh;
    let rnn = recurrent.cell == elman::cell::CellKind::Rnn;
    let mut all: Vec<Heat> = Vec::new();
    for named in &step.forward.named {
        let name = named.part.letter();
        let row = graph.nodes[named.id].numbers.clone();
        let place = (named.layer, named.reverse, name);
        let same = |h: &&mut Heat| (h.layer, h.reverse, h.name) == place;
        let index = named.step - 1;
        let bounds = match named.part {
            Part::Reset | Part::Update | Part::Input | Part::Forget | Part::Output => Some(SIGMOID),
            Part::New | Part::Candidate => Some([-TANH, TANH]),
            Part::State(CellState::Hidden) if rnn && plain && tanh => Some([-TANH, TANH]),
            Part::State(_) | Part::Recalled | Part::Projected => None,
        };
        let heat = match all.iter_mut().find(same) {
            Some(heat) => heat,
            None => {
                all.push(Heat {
                    name,
                    layer: named.layer,
                    reverse: named.reverse,
                    rows: Vec::new(),
                    levels: Vec::new(),
                    span: [0.0, 0.0],
                    bounds,
                    saturated: None,
                    outside: None,
                    percent: None,
                    ids: Vec::new(),
                });
                let last = all.len() - 1;
                &mut all[last]
            }
        };
        if heat.rows.len() <= index {
            heat.rows.resize(index + 1, Vec::new());
            heat.ids.resize(index + 1, 0);
        }
        heat.rows[index] = row;
        heat.ids[index] = named.id;
    }
    for h in &mut all {
        let numbers = || h.rows.iter().flatten().copied();
        let most = numbers().map(f64::abs).fold(0.0, f64::max);
        h.span = match h.bounds {
            Some(SIGMOID) => [0.0, 1.0],
            Some(_) => [-1.0, 1.0],
            None => [-most, most],
        };
        let most = h.span[1];
        let shades = h
            .rows
            .iter()
            .map(|row| row.iter().map(|x| signed_shade(*x, most)).collect());
        h.levels = shades.collect();
        let outside = |[low, high]: [f64; 2]| numbers().filter(|x| *x < low || *x > high).count();
        h.outside = h.bounds.map(outside);
        let count = numbers().count().max(1) as f64;
        h.saturated = h.outside.map(|outside| outside as f64 / count);
        h.percent = h.saturated.map(|s| (s * 1000.0).round() / 10.0);
    }
    all
}

/// The norm of the gradient of every prediction by every step of the input.
///
/// # Errors
/// What the engine refuses.
pub fn connectivity(subject: &Subject) -> Result<Connectivity> {
    metered(subject, &mut Meter::new(&mut |_| {}))
}

/// The same, telling how far it is.
pub(crate) fn metered(subject: &Subject, meter: &mut Meter<'_>) -> Result<Connectivity> {
    let (count, features) = (subject.target.len(), subject.outputs().max(1));
    let mut rows = Vec::new();
    let (mut outputs, mut at) = (Vec::new(), Vec::new());
    meter.begin(Stage::Connectivity, count.min(OUTPUTS));
    for k in 0..count.min(OUTPUTS) {
        let mut seed = vec![0.0; count];
        seed[k] = 1.0;
        let d = subject.pass_with(Some(&seed))?.d_input;
        let norm = |row: elman::ndarray::ArrayView1<'_, f64>| {
            row.iter().map(|x| x * x).sum::<f64>().sqrt()
        };
        rows.push(d.rows().into_iter().map(norm).collect::<Vec<f64>>());
        let feature = if features > 1 {
            format!("[{}]", k % features + 1)
        } else {
            String::new()
        };
        let first = match subject.readout() {
            Some(Readout::LastState | Readout::AllStates(_)) => None,
            Some(Readout::LastSteps(last)) => Some(subject.input.nrows() - last + 1),
            Some(Readout::EveryStep) | None => Some(1),
        };
        let step = first.map(|first| first + k / features);
        let mark = step.map_or(String::new(), |t| format!("^{t}"));
        outputs.push(format!("ŷ{mark}{feature}"));
        at.push(step);
        meter.next();
    }
    let (levels, largest) = shades(&rows);
    Ok(Connectivity {
        beside: beside(subject, outputs.len()),
        outputs,
        at,
        levels,
        rows,
        largest,
    })
}

/// Rows as shades of the largest of their numbers, and that.
fn shades(rows: &[Vec<f64>]) -> (Vec<Vec<u8>>, f64) {
    let largest = rows.iter().flatten().copied().fold(0.0, f64::max);
    let levels = rows
        .iter()
        .map(|row| row.iter().map(|x| shade(*x, largest)).collect());
    (levels.collect(), largest)
}

fn beside(subject: &Subject, outputs: usize) -> Option<Beside> {
    let numbers = subject.skip.as_ref()?.len();
    let weights = subject.params.get("skip.weight")?;
    let weights: Vec<f64> = weights.iter().map(|w| w.abs()).collect();
    let rows = weights.chunks(numbers.max(1)).take(outputs);
    let rows: Vec<Vec<f64>> = rows.map(<[f64]>::to_vec).collect();
    let (levels, largest) = shades(&rows);
    Some(Beside {
        names: subject.names.beside.clone(),
        rows,
        levels,
        largest,
    })
}
