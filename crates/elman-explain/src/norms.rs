//! How large the gradient is at every step, and what that means.
//!
//! Where the loss enters at one step, what is left at an earlier one is the
//! norm there over the norm where it entered. Where it enters at several, new
//! gradient arrives on the way and hides what was lost; so what is judged is the
//! product of the factors by which each step back multiplies, which is the same
//! number in the first case.
//!
//! That holds of what a step hands on as a whole. An LSTM hands on `h` and `c`,
//! and each sends gradient into the other; so its norms are of both together,
//! `d(h, c)`: of `dL/dh`, and of that part of `dL/dc` that comes from the next step,
//! as the rest of it comes through `h`. One step back multiplies these by the
//! Jacobian of a step. The norms of `dL/dc` beside them are of the way along `c`
//! alone, where the factor is what the forget gate keeps.

use crate::trace::graph::{CellState, Counts, Derivative, Id, Origin};
use crate::trace::{Step, enters};
use serde::Serialize;
use std::collections::BTreeMap;

/// Below this share of what the last step had, a gradient has vanished.
pub const VANISHING: f64 = 1e-3;
/// Above this multiple of it, it has exploded.
pub const EXPLODING: f64 = 1e3;

/// A gradient of at most this can fade to zero in a step.
const FADED: f64 = 1e-150;

/// What a norm means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Exactly zero, not faded on the way: nothing arrives.
    NoGradient,
    /// Too small to learn from.
    Vanishing,
    /// Neither.
    Healthy,
    /// Too large to step by.
    Exploding,
}

/// What the norms are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Judged {
    /// An LSTM's two states together.
    #[serde(rename = "(h, c)")]
    Both,
    /// The hidden state of another cell.
    #[serde(rename = "h")]
    Hidden,
    /// The way along an LSTM's cell state alone.
    #[serde(rename = "c")]
    Cell,
}

impl Judged {
    /// `(h, c)`, `h`, `c`.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Both => "(h, c)",
            Self::Hidden => "h",
            Self::Cell => "c",
        }
    }
}

/// The length of one or two values' numbers together.
#[derive(Debug, Clone, PartialEq)]
pub struct Length {
    /// `‖dL/dh^2‖`.
    pub symbol: String,
    /// The values; none where no gradient arrives.
    pub of: Vec<Id>,
}

/// The gradient of a state at one step.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AtStep {
    /// Counted from 1.
    pub step: usize,
    /// dL/dh, as a place in the values, where these are shown; none where no
    /// gradient arrives, and of an LSTM's two states together.
    pub gradient: Option<Id>,
    /// Its parts: from the same step, and from the next one; none of two states
    /// together.
    pub parts: [Option<Id>; 2],
    /// What the three norms that follow are of.
    #[serde(skip)]
    pub lengths: [Length; 3],
    /// ||dL/dh||.
    pub norm: f64,
    /// Of the part from the same step: from the loss here, from the layer above
    /// or, of a cell state, through the gates.
    pub from_loss: f64,
    /// Of the part from the next step.
    pub from_next: f64,
    /// The part from the next step over the norm there: what one step back
    /// multiplies by. None at the last step.
    pub factor: Option<f64>,
    /// What is left here of the gradient at the last step: the product of the
    /// factors up to this one.
    pub ratio: f64,
    /// What it means.
    pub verdict: Verdict,
}

/// The gradient of a state over the steps.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Norms {
    /// The layer, counted from 0.
    pub layer: usize,
    /// The direction.
    pub reverse: bool,
    /// What they are of.
    pub state: Judged,
    /// From where gradient enters at a step, beside what the next step sends.
    pub enters: Origin,
    /// Its steps, in time.
    pub steps: Vec<AtStep>,
    /// What a step back multiplies by: the geometric mean of the factors.
    pub factor: Option<f64>,
    /// How many steps back, at that factor, a gradient needs from where it
    /// enters to cross the threshold.
    pub crossed_after: Option<usize>,
    /// The worst of the steps.
    pub verdict: Verdict,
    /// The thresholds of the ratio.
    pub thresholds: [f64; 2],
}

fn norm<'a>(numbers: impl Iterator<Item = &'a f64>) -> f64 {
    numbers.map(|x| x * x).sum::<f64>().sqrt()
}

/// The parts of a gradient that have the norms of a step.
#[derive(Debug, Clone, Copy)]
struct Parts {
    whole: Option<Id>,
    here: Option<Id>,
    next: Option<Id>,
}

/// The norms of every layer and direction.
pub fn norms(step: &Step) -> Vec<Norms> {
    let (graph, last) = (&step.forward.graph, step.forward.last_layer());
    // Of each value, what comes from the next step, and the rest.
    let mut sides: BTreeMap<(Id, bool), Id> = BTreeMap::new();
    for (id, n) in graph.nodes.iter().enumerate() {
        if let Some(Derivative {
            of,
            counts: Counts::From(origin, _),
        }) = &n.derivative
        {
            sides.insert((*of, *origin == Origin::Next), id);
        }
    }
    let parts = |id: Id| Parts {
        whole: step.grads[id],
        here: sides.get(&(id, false)).copied(),
        next: sides.get(&(id, true)).copied(),
    };
    let size = |length: &Length| {
        let ids = length.of.iter();
        norm(ids.flat_map(|id| &graph.nodes[*id].numbers))
    };
    let length = |of: &str, part: Option<Origin>, ids: &[Option<Id>]| Length {
        symbol: match part {
            None => format!("‖dL/d{of}‖"),
            Some(origin) => format!("‖dL/d{of}[{}]‖", origin.word()),
        },
        of: ids.iter().flatten().copied().collect(),
    };
    // Of each layer and direction, the cell states by their steps.
    let named = || step.forward.named.iter();
    let cells = named().filter(|n| graph.nodes[n.id].state == Some(CellState::Cell));
    let cells = cells.map(|n| ((n.layer, n.reverse, n.step), n.id));
    let cells: BTreeMap<_, _> = cells.collect();
    let mut all: Vec<Norms> = Vec::new();
    for n in named() {
        let node = &graph.nodes[n.id];
        let Some(own) = node.state else { continue };
        let Parts { whole, here, next } = parts(n.id);
        let cell = cells.get(&(n.layer, n.reverse, n.step));
        let enters = enters(own, node.place, last);
        let (from, next_one) = (Some(enters), Some(Origin::Next));
        let h = graph.symbol(n.id);
        let (state, gradient, shown, lengths) = match (own, cell) {
            // What enters c at a step comes through h, and is counted there.
            (CellState::Hidden, Some(c)) => {
                let along = parts(*c).next;
                let both = format!("({h}, {})", graph.symbol(*c));
                let lengths = [
                    length(&both, None, &[whole, along]),
                    length(&h, from, &[here]),
                    length(&both, next_one, &[next, along]),
                ];
                (Judged::Both, None, [None, None], lengths)
            }
            _ => {
                let lengths = [
                    length(&h, None, &[whole]),
                    length(&h, from, &[here]),
                    length(&h, next_one, &[next]),
                ];
                let state = match own {
                    CellState::Hidden => Judged::Hidden,
                    CellState::Cell => Judged::Cell,
                };
                (state, whole, [here, next], lengths)
            }
        };
        let [norm, from_loss, from_next] = lengths.each_ref().map(size);
        let at = AtStep {
            step: n.step,
            gradient,
            parts: shown,
            lengths,
            norm,
            from_loss,
            from_next,
            factor: None,
            ratio: 1.0,
            verdict: Verdict::Healthy,
        };
        let place = (n.layer, n.reverse, state);
        let same = |n: &&mut Norms| (n.layer, n.reverse, n.state) == place;
        match all.iter_mut().find(same) {
            Some(n) => n.steps.push(at),
            None => all.push(Norms {
                layer: n.layer,
                reverse: n.reverse,
                state,
                enters,
                steps: vec![at],
                factor: None,
                crossed_after: None,
                verdict: Verdict::Healthy,
                thresholds: [VANISHING, EXPLODING],
            }),
        }
    }
    all.iter_mut().for_each(judge);
    all.sort_by_key(|n| (n.layer, n.reverse, n.state));
    all
}

/// The steps are in the order that the cell has taken them.
fn judge(n: &mut Norms) {
    let later: Vec<f64> = n.steps.iter().skip(1).map(|s| s.norm).collect();
    let mut logs = Vec::new();
    for (at, later) in n.steps.iter_mut().zip(&later) {
        if *later > 0.0 {
            let factor = at.from_next / later;
            at.factor = Some(factor);
            logs.push(factor.ln());
        }
    }
    // The way back begins at the last step that a gradient reaches.
    let (mut left, mut later): (Option<f64>, f64) = (None, 1.0);
    for at in n.steps.iter_mut().rev() {
        left = match (left, at.factor) {
            (None, _) => (at.norm > 0.0).then_some(1.0),
            (Some(left), factor) => Some(left * factor.unwrap_or(0.0)),
        };
        at.ratio = left.unwrap_or(0.0);
        // What has faded until no number is small enough for it had been small
        // a step before.
        let none = at.norm == 0.0 && later > FADED;
        if !none {
            later = at.norm;
        }
        at.verdict = match at.ratio {
            _ if none => Verdict::NoGradient,
            r if r < VANISHING => Verdict::Vanishing,
            r if r > EXPLODING => Verdict::Exploding,
            _ => Verdict::Healthy,
        };
    }
    let worst = |v| n.steps.iter().any(|s| s.verdict == v);
    let first = n.steps.first().map(|s| s.verdict);
    n.verdict = match (worst(Verdict::Exploding), worst(Verdict::Vanishing)) {
        (true, _) => Verdict::Exploding,
        (_, true) => Verdict::Vanishing,
        _ if first == Some(Verdict::NoGradient) => Verdict::NoGradient,
        _ => Verdict::Healthy,
    };
    if !logs.is_empty() && logs.iter().all(|l| l.is_finite()) {
        let mean = logs.iter().sum::<f64>() / logs.len() as f64;
        n.factor = Some(mean.exp());
        let goal = if mean < 0.0 { VANISHING } else { EXPLODING };
        let steps = (goal.ln() / mean).ceil();
        n.crossed_after = (steps.is_finite() && steps < 1e6).then_some(steps as usize);
    } else if logs.contains(&f64::NEG_INFINITY) {
        // A step that lets nothing through.
        (n.factor, n.crossed_after) = (Some(0.0), Some(1));
    }
    n.steps.sort_by_key(|s| s.step);
}
