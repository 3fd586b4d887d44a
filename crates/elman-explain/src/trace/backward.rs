//! The backward pass: the chain rule from the loss to every value, each part
//! of a gradient a value of its own.

use super::forward::Forward;
use super::graph::{From, Graph, Id, Place, Role, Rule};
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
fn origin(v: Place, role: Role, by: Place, last_layer: Option<usize>) -> From {
    match (v.layer, by.layer) {
        _ if by.join => {
            if by.layer == last_layer {
                From::Loss
            } else {
                From::Above
            }
        }
        (None, Some(_)) if role == Role::Prediction => From::Next,
        (Some(a), Some(b)) if a == b && v.reverse == by.reverse && !v.join => {
            if v.step == by.step {
                From::Inside
            } else {
                From::Next
            }
        }
        (_, Some(_)) => From::Above,
        (_, None) => From::Loss,
    }
}

/// Appends the backward pass and the update of a forward pass; of a `lean` one
/// the gradients of inputs, states and gates alone.
pub fn backward(mut forward: Forward, lr: f64, lean: bool) -> Step {
    let uses = forward.graph.uses();
    let (loss, last_layer) = {
        let layers = forward.graph.nodes.iter().filter_map(|n| n.place.layer);
        (forward.loss, layers.max())
    };
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
        // Every use, by where what it sends comes from.
        let mut groups: BTreeMap<From, Vec<(Id, Rule)>> = BTreeMap::new();
        let mut slices = Vec::new();
        for by in &uses[v] {
            for sent in sent(graph, &grads, v, *by) {
                match sent {
                    Sent::Slice(d, start) => slices.push((d, start)),
                    Sent::Rule(rule) => {
                        let from = origin(place, role, graph.nodes[*by].place, last_layer);
                        groups.entry(from).or_default().push((*by, rule));
                    }
                }
            }
        }
        let arrivals: usize = groups.values().map(Vec::len).sum();
        if !slices.is_empty() {
            let rule = Rule::Scatter(slices);
            groups.entry(From::Inside).or_default().push((v, rule));
        } else if arrivals == 0 {
            continue;
        }
        // What is only added passes its gradient on as it is.
        if let (Role::Product | Role::Prediction, 1) = (role, arrivals)
            && let Some((_, rule)) = groups.values().flatten().next()
            && let Rule::Sum(one) = rule
        {
            grads[v] = Some(one[0]);
            continue;
        }
        let symbol = match role {
            Role::Error => {
                let mark = place.step.map_or(String::new(), |t| format!("^{t}"));
                // The gradient of a prediction that only the loss reads.
                let once = matches!(graph.nodes[v].rule,
                    Rule::Difference(y, _) if uses[y].len() == 1);
                if once {
                    format!("dL/dŷ{mark}")
                } else {
                    format!("dL/de{mark}")
                }
            }
            Role::Product => format!("dL/d({})", graph.symbol(v)),
            _ => format!("dL/d{}", graph.symbol(v)),
        };
        // A state's gradient always has its parts.
        if role == Role::State && place.step.is_some() {
            let is_h = !graph.symbol(v).starts_with('c');
            let other = match (is_h, place.layer == last_layer) {
                (false, _) => From::Inside,
                (true, true) => From::Loss,
                (true, false) => From::Above,
            };
            groups.entry(other).or_default();
            groups.entry(From::Next).or_default();
        }
        let mut parts = Vec::new();
        let several = groups.len() > 1;
        for (from, all) in groups {
            let mut push = |symbol: String, rule: Rule, readers: Vec<Id>, role: Role| {
                let id = graph.push(symbol, role, place, shape, rule);
                let of = if role == Role::Gradient {
                    None
                } else {
                    Some(readers)
                };
                graph.nodes[id].of = Some((v, of));
                graph.nodes[id].from = Some(from);
                id
            };
            let readers: Vec<Id> = all.iter().map(|(by, _)| *by).collect();
            if several {
                let word = from.word();
                let rule = match all.len() {
                    0 => Rule::Nothing,
                    1 => all[0].1.clone(),
                    _ => Rule::Sum(shares(graph, (v, from), &symbol, all)),
                };
                let mut push = |symbol: String, rule: Rule| {
                    let id = graph.push(symbol, Role::Share, place, shape, rule);
                    graph.nodes[id].of = Some((v, Some(readers.clone())));
                    graph.nodes[id].from = Some(from);
                    id
                };
                parts.push(push(format!("{symbol}[{word}]"), rule));
            } else if all.len() == 1 {
                parts.push(push(
                    symbol.clone(),
                    all[0].1.clone(),
                    readers,
                    Role::Gradient,
                ));
            } else {
                parts = shares(graph, (v, from), &symbol, all);
            }
        }
        let gradient = match parts.as_slice() {
            [one] => *one,
            _ => {
                let id = graph.push(symbol, Role::Gradient, place, shape, Rule::Sum(parts));
                graph.nodes[id].of = Some((v, None));
                id
            }
        };
        grads[v] = Some(gradient);
    }
    let update = graph.nodes.len();
    for (v, grad) in grads.iter().enumerate() {
        let node = &graph.nodes[v];
        if let (Role::Parameter, Some(g)) = (node.role, *grad) {
            let (symbol, place, shape) = (node.symbol.clone(), node.place, node.shape);
            let source = node.source.clone();
            let rule = Rule::Step(v, g, lr);
            let id = graph.push(format!("{symbol}′"), Role::Updated, place, shape, rule);
            graph.nodes[id].source = source;
        }
    }
    Step {
        forward,
        grads,
        begins: (begins, update),
        left_out,
    }
}

/// What each of several uses sends back, as values.
fn shares(graph: &mut Graph, (v, from): (Id, From), symbol: &str, all: Vec<(Id, Rule)>) -> Vec<Id> {
    let (place, shape, role) = (
        graph.nodes[v].place,
        graph.nodes[v].shape,
        graph.nodes[v].role,
    );
    let share = |(by, rule): (Id, Rule)| {
        let user = &graph.nodes[by];
        let (at, place) = match (role, user.place.step) {
            // A parameter is used once a step.
            (Role::Parameter, Some(t)) => (format!("t={t}"), user.place),
            _ => (format!("via {}", user.symbol), place),
        };
        let id = graph.push(format!("{symbol}[{at}]"), Role::Share, place, shape, rule);
        graph.nodes[id].of = Some((v, Some(vec![by])));
        graph.nodes[id].from = Some(from);
        id
    };
    all.into_iter().map(share).collect()
}
