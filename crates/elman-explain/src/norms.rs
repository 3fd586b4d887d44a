//! How large the gradient is at every step, and what that means.

use crate::trace::Step;
use crate::trace::graph::{From, Id, Role};
use serde::Serialize;
use std::collections::BTreeMap;

/// Below this share of the gradient at the last step it has vanished.
pub const VANISHING: f64 = 1e-3;
/// Above this multiple of it, it has exploded.
pub const EXPLODING: f64 = 1e3;

/// What a norm means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
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
    /// The norm over that at the last step.
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
    /// After how many steps back, at that factor, the threshold is crossed.
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
    // Of each value, the norm of what comes from the next step, and of the rest.
    let mut parts: BTreeMap<(Id, bool), f64> = BTreeMap::new();
    for n in &graph.nodes {
        if let (Role::Share, Some((v, Some(_))), Some(from)) = (n.role, &n.of, n.from)
            && !n.symbol.contains("[via")
        {
            let part = parts.entry((*v, from == From::Next));
            part.or_insert_with(|| norm(&n.numbers));
        }
    }
    let mut all: Vec<Norms> = Vec::new();
    for (layer, reverse, t, name, id) in &step.forward.named {
        if !matches!(*name, "h" | "c") {
            continue;
        }
        let part = |next| parts.get(&(*id, next)).copied().unwrap_or(0.0);
        let total = step.grads[*id].map_or(0.0, |g| norm(&graph.nodes[g].numbers));
        let at = AtStep {
            step: *t,
            norm: total,
            from_loss: part(false),
            from_next: part(true),
            factor: None,
            ratio: 1.0,
            verdict: Verdict::Healthy,
        };
        let same = |n: &&mut Norms| (n.layer, n.reverse, n.state) == (*layer, *reverse, *name);
        match all.iter_mut().find(same) {
            Some(n) => n.steps.push(at),
            None => all.push(Norms {
                layer: *layer,
                reverse: *reverse,
                state: name,
                steps: vec![at],
                factor: None,
                crossed_after: None,
                verdict: Verdict::Healthy,
                thresholds: [VANISHING, EXPLODING],
            }),
        }
    }
    for n in &mut all {
        judge(n);
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
    // Where the way back begins: the last step that a gradient reaches.
    let last = n.steps.iter().rev().map(|s| s.norm).find(|x| *x > 0.0);
    for at in &mut n.steps {
        at.ratio = last.map_or(0.0, |last| at.norm / last);
        at.verdict = match at.ratio {
            r if r < VANISHING => Verdict::Vanishing,
            r if r > EXPLODING => Verdict::Exploding,
            _ => Verdict::Healthy,
        };
    }
    let worst = |v| n.steps.iter().any(|s| s.verdict == v);
    n.verdict = match (worst(Verdict::Exploding), worst(Verdict::Vanishing)) {
        (true, _) => Verdict::Exploding,
        (_, true) => Verdict::Vanishing,
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
