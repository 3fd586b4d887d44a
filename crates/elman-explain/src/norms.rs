//! How large the gradient is at every step, and what that means.
//!
//! Where the loss enters at one step, what is left at an earlier one is the
//! norm there over the norm where it entered. Where it enters at several, new
//! gradient arrives on the way and hides what was lost; so what is judged is the
//! product of the factors by which each step back multiplies, which is the same
//! number in the first case. Of an LSTM's h it is no product of such factors: what
//! arrives from the next step has come through c as well. There c is to be read.

use crate::trace::Step;
use crate::trace::graph::{Counts, Derivative, Id, Origin};
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

/// The gradient of a state at one step.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AtStep {
    /// Counted from 1.
    pub step: usize,
    /// dL/dh, as a place in the values, where these are shown; none where no
    /// gradient arrives.
    pub gradient: Option<Id>,
    /// Its parts: from the same step, and from the next one.
    pub parts: [Option<Id>; 2],
    /// ||dL/dh||.
    pub norm: f64,
    /// Of the part from the same step: from the loss here, from the layer above
    /// or, of a cell state, through the gates.
    pub from_loss: f64,
    /// Of the part from the next step.
    pub from_next: f64,
    /// The part from the next step over the norm there: what one step back
    /// multiplies by; of an LSTM's h a ratio alone, as the part has come through
    /// c, too. None at the last step.
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
    /// `h` or `c`.
    pub state: &'static str,
    /// Its steps, in time.
    pub steps: Vec<AtStep>,
    /// What a step back multiplies by: the geometric mean of the factors.
    pub factor: Option<f64>,
    /// How many steps back, at that factor, a gradient needs from where the loss
    /// enters to cross the threshold. None of an LSTM's h.
    pub crossed_after: Option<usize>,
    /// The worst of the steps.
    pub verdict: Verdict,
    /// The thresholds of the ratio.
    pub thresholds: [f64; 2],
}

fn norm(numbers: &[f64]) -> f64 {
    numbers.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// The norms of every layer, direction and state.
pub fn norms(step: &Step) -> Vec<Norms> {
    let graph = &step.forward.graph;
    // Of each value, what comes from the next step, and the rest.
    let mut parts: BTreeMap<(Id, bool), Id> = BTreeMap::new();
    for (id, n) in graph.nodes.iter().enumerate() {
        if let Some(Derivative {
            of,
            counts: Counts::From(origin, _),
        }) = &n.derivative
        {
            parts.insert((*of, *origin == Origin::Next), id);
        }
    }
    let size = |id: Option<Id>| id.map_or(0.0, |id| norm(&graph.nodes[id].numbers));
    let mut all: Vec<Norms> = Vec::new();
    for named in &step.forward.named {
        let Some(state) = graph.nodes[named.id].state else {
            continue;
        };
        let [here, next] = [false, true].map(|next| parts.get(&(named.id, next)).copied());
        let at = AtStep {
            step: named.step,
            gradient: step.grads[named.id],
            parts: [here, next],
            norm: size(step.grads[named.id]),
            from_loss: size(here),
            from_next: size(next),
            factor: None,
            ratio: 1.0,
            verdict: Verdict::Healthy,
        };
        let place = (named.layer, named.reverse, state.letter());
        let same = |n: &&mut Norms| (n.layer, n.reverse, n.state) == place;
        match all.iter_mut().find(same) {
            Some(n) => n.steps.push(at),
            None => all.push(Norms {
                layer: named.layer,
                reverse: named.reverse,
                state: state.letter(),
                steps: vec![at],
                factor: None,
                crossed_after: None,
                verdict: Verdict::Healthy,
                thresholds: [VANISHING, EXPLODING],
            }),
        }
    }
    let cells = all.iter().any(|n| n.state == "c");
    for n in &mut all {
        judge(n);
        // What comes back to h came through c, too: at no rate of its own.
        if cells && n.state == "h" {
            n.crossed_after = None;
        }
    }
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
    }
    n.steps.sort_by_key(|s| s.step);
}
