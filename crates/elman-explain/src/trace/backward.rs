//! The backward pass: the chain rule from the loss to every value, each part
//! of a gradient a value of its own.

use super::forward::Forward;
use super::graph::{CellState, Counts, Derivative, Graph, Id, Origin, Place, Role, Rule};
use std::collections::BTreeMap;

/// A training step: forward, back, update.
#[derive(Debug, Clone)]
pub struct Step {
    /// The forward pass, with the gradients and the updated parameters after
    /// its values.
    pub forward: Forward,
    /// The gradient of each value of the forward pass.
    pub grads: Vec<Option<Id>>,
    /// The first value of the backward pass, and of the update.
    pub begins: (Id, Id),
    /// Numbers of the gradients and the update of parameters where these were
    /// left out; 0 where they are there.
    pub left_out: usize,
}

/// What one use of a value sends back.
enum Sent {
    /// A rule of its own.
    Rule(Rule),
    /// A part of the columns: the gradient of a slice, from a column on.
    Slice(Id, usize),
}

fn sent(graph: &Graph, grads: &[Option<Id>], v: Id, by: Id) -> Vec<Sent> {
    let rule = graph.nodes[by].rule.clone();
    if let Rule::MeanSquare(all) = &rule {
        let n = all.iter().map(|e| graph.nodes[*e].numbers.len()).sum();
        return vec![Sent::Rule(Rule::ErrorSlope(v, n))];
    }
    let Some(d) = grads[by] else {
        return Vec::new();
    };
    let one = |rule| vec![Sent::Rule(rule)];
    match rule {
        Rule::Product(a, w) if v == a => one(Rule::Back(d, w)),
        Rule::Product(a, _) => one(Rule::Outer(a, d)),
        Rule::Sum(_) => one(Rule::Sum(vec![d])),
        Rule::Times(a, b) => one(Rule::Times(d, if v == a { b } else { a })),
        Rule::Apply(f, _) => one(Rule::Slope(f, d, by)),
        Rule::OneMinus(_) => one(Rule::Negative(d)),
        Rule::Join(all) => {
            let before = all.iter().take_while(|a| **a != v);
            let start = before.map(|a| graph.width(*a)).sum();
            one(Rule::Slice(d, start))
        }
        Rule::Slice(_, start) => vec![Sent::Slice(d, start)],
        Rule::Difference(a, _) if v == a => one(Rule::Sum(vec![d])),
        _ => Vec::new(),
    }
}

/// Where what a use sends back comes from.
fn origin(v: Place, role: Role, by: Place, last_layer: Option<usize>) -> Origin {
    match (v.layer, by.layer) {
        _ if by.join => {
            if by.layer == last_layer {
                Origin::Loss
            } else {
                Origin::Above
            }
        }
        (None, Some(_)) if role == Role::Prediction => Origin::Next,
        (Some(a), Some(b)) if a == b && v.reverse == by.reverse && !v.join => {
            if v.step == by.step {
                Origin::Inside
            } else {
                Origin::Next
            }
        }
        (_, Some(_)) => Origin::Above,
        (_, None) => Origin::Loss,
    }
}

/// From where a gradient enters a state, beside what the next step sends.
pub(crate) fn enters(state: CellState, place: Place, last_layer: Option<usize>) -> Origin {
    match state {
        CellState::Cell => Origin::Inside,
        CellState::Hidden if place.layer == last_layer => Origin::Loss,
        CellState::Hidden => Origin::Above,
    }
}

/// What arrives at a value, by where it comes from: which use sends it, and how
/// it is computed.
type Arrivals = BTreeMap<Origin, Vec<(Id, Rule)>>;

/// Appends the backward pass and the update of a forward pass; of a `lean` one
/// the gradients of inputs, states and gates alone.
pub fn backward(mut forward: Forward, lr: f64, lean: bool) -> Step {
    let uses = forward.graph.uses();
    let (loss, last_layer) = (forward.loss, forward.last_layer());
    let begins = loss + 1;
    let graph = &mut forward.graph;
    let mut grads: Vec<Option<Id>> = vec![None; begins];
    let mut left_out = 0;
    for v in (0..loss).rev() {
        let node = &graph.nodes[v];
        let (role, place, shape) = (node.role, node.place, node.shape);
        if role == Role::Target {
            continue;
        }
        if lean && role == Role::Parameter {
            // Its gradient, the part of each use where there are several, and
            // the parameter after the update.
            let parts = if uses[v].len() > 1 { uses[v].len() } else { 0 };
            left_out += shape.0 * shape.1 * (parts + 2);
            continue;
        }
        let mut groups = arrivals(graph, &uses, &grads, v, last_layer);
        let mut rules = groups.values().flatten().map(|(_, rule)| rule);
        let (first, count) = (rules.next(), groups.values().flatten().count());
        match (role, first) {
            (_, None) => continue,
            // What is only added passes its gradient on as it is.
            (Role::Product | Role::Prediction, Some(Rule::Sum(one))) if count == 1 => {
                grads[v] = Some(one[0]);
                continue;
            }
            _ => {}
        }
        // A state's gradient always has its parts.
        if let (Role::State, Some(state)) = (role, graph.nodes[v].state) {
            groups.entry(enters(state, place, last_layer)).or_default();
            groups.entry(Origin::Next).or_default();
        }
        let symbol = gradient_symbol(graph, &uses, v);
        grads[v] = Some(gradient(graph, v, &symbol, groups));
    }
    let update = graph.nodes.len();
    descend(graph, &grads, lr);
    Step {
        forward,
        grads,
        begins: (begins, update),
        left_out,
    }
}

/// Every use of a value, by where what it sends comes from.
fn arrivals(
    graph: &Graph,
    uses: &[Vec<Id>],
    grads: &[Option<Id>],
    v: Id,
    last_layer: Option<usize>,
) -> Arrivals {
    let (role, place) = (graph.nodes[v].role, graph.nodes[v].place);
    let (mut groups, mut slices) = (Arrivals::new(), Vec::new());
    for by in &uses[v] {
        for sent in sent(graph, grads, v, *by) {
            match sent {
                Sent::Slice(d, start) => slices.push((d, start)),
                Sent::Rule(rule) => {
                    let from = origin(place, role, graph.nodes[*by].place, last_layer);
                    groups.entry(from).or_default().push((*by, rule));
                }
            }
        }
    }
    if !slices.is_empty() {
        let rule = Rule::Scatter(slices);
        groups.entry(Origin::Inside).or_default().push((v, rule));
    }
    groups
}

/// What the gradient of a value is called.
fn gradient_symbol(graph: &Graph, uses: &[Vec<Id>], v: Id) -> String {
    let node = &graph.nodes[v];
    match (node.role, &node.rule) {
        (Role::Error, rule) => {
            let mark = node.place.step.map_or(String::new(), |t| format!("^{t}"));
            // The gradient of a prediction that only the loss reads.
            match rule {
                Rule::Difference(y, _) if uses[*y].len() == 1 => format!("dL/dŷ{mark}"),
                _ => format!("dL/de{mark}"),
            }
        }
        (Role::Product, _) => format!("dL/d({})", node.symbol),
        _ => format!("dL/d{}", node.symbol),
    }
}

/// Appends the gradient of a value, after its parts where it has several.
fn gradient(graph: &mut Graph, v: Id, symbol: &str, groups: Arrivals) -> Id {
    let several = groups.len() > 1;
    let mut parts = Vec::new();
    for (from, all) in groups {
        let readers: Vec<Id> = all.iter().map(|(by, _)| *by).collect();
        match <[(Id, Rule); 1]>::try_from(all) {
            Ok([(_, rule)]) if !several => {
                return derivative(graph, v, Counts::All, symbol.to_owned(), rule);
            }
            Err(all) if !several => parts = shares(graph, (v, from), symbol, all),
            one_or_more => {
                let rule = match one_or_more {
                    Ok([(_, rule)]) => rule,
                    Err(none) if none.is_empty() => Rule::Nothing,
                    Err(all) => Rule::Sum(shares(graph, (v, from), symbol, all)),
                };
                let symbol = format!("{symbol}[{}]", from.word());
                let counts = Counts::From(from, readers);
                parts.push(derivative(graph, v, counts, symbol, rule));
            }
        }
    }
    derivative(graph, v, Counts::All, symbol.to_owned(), Rule::Sum(parts))
}

/// Appends a gradient of `v`, of its shape, or a part of it.
fn derivative(graph: &mut Graph, v: Id, counts: Counts, symbol: String, rule: Rule) -> Id {
    let (place, shape, matrix) = {
        let node = &graph.nodes[v];
        (node.place, node.shape, node.matrix)
    };
    let role = match counts {
        Counts::All => Role::Gradient,
        _ => Role::Share,
    };
    let id = graph.push(symbol, role, place, shape, rule);
    graph.nodes[id].matrix = matrix;
    graph.nodes[id].derivative = Some(Derivative { of: v, counts });
    id
}

/// What each of several uses sends back, as values.
fn shares(
    graph: &mut Graph,
    (v, from): (Id, Origin),
    symbol: &str,
    all: Vec<(Id, Rule)>,
) -> Vec<Id> {
    let role = graph.nodes[v].role;
    let share = |(by, rule): (Id, Rule)| {
        let user = &graph.nodes[by];
        let (at, place) = match (role, user.place.step) {
            // A parameter is used once a step.
            (Role::Parameter, Some(t)) => (format!("t={t}"), Some(user.place)),
            _ => (format!("via {}", user.symbol), None),
        };
        let counts = Counts::Use(from, by);
        let id = derivative(graph, v, counts, format!("{symbol}[{at}]"), rule);
        if let Some(place) = place {
            graph.nodes[id].place = place;
        }
        id
    };
    all.into_iter().map(share).collect()
}

/// Appends every parameter after one step of gradient descent.
fn descend(graph: &mut Graph, grads: &[Option<Id>], lr: f64) {
    for (v, grad) in grads.iter().enumerate() {
        let node = &graph.nodes[v];
        if let (Role::Parameter, Some(g)) = (node.role, *grad) {
            let (symbol, place, shape) = (format!("{}′", node.symbol), node.place, node.shape);
            let (source, matrix) = (node.source.clone(), node.matrix);
            let id = graph.push(symbol, Role::Updated, place, shape, Rule::Step(v, g, lr));
            (graph.nodes[id].source, graph.nodes[id].matrix) = (source, matrix);
        }
    }
}
