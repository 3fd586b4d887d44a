//! The tensors of a network as PyTorch has them: names, shapes, and the symbols
//! that formulas have for them.

use super::forward::Forward;
use super::graph::{CellState, Id, Node, Role};
use crate::subject::Subject;
use elman::Result;
use elman::cell::CellKind;
use elman::network::NetworkConfig;
use elman::params::Entry;
use serde::Serialize;

/// A tensor as PyTorch has it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tensor {
    /// PyTorch's name.
    pub name: String,
    /// The name in the file that the parameter comes from, where that is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored: Option<String>,
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

    /// One without rows.
    fn whole(name: &str, symbols: Vec<String>, shape: [usize; 3], letters: &str) -> Self {
        Self {
            name: name.to_owned(),
            stored: None,
            symbols,
            rows: Vec::new(),
            shape: shape.to_vec(),
            letters: letters.to_owned(),
        }
    }
}

/// What the recurrent layers read and give, then the parameters in the order of
/// files.
pub(crate) fn shapes(subject: &Subject, forward: &Forward) -> Result<Vec<Tensor>> {
    let mut all = layer(subject, forward)?;
    let parameters = subject.parameters();
    all.extend(parameters.map(|entry| Tensor {
        stored: subject.stored(&entry.name).map(str::to_owned),
        ..parameter(entry, forward)
    }));
    Ok(all)
}

/// Input, states and output of the recurrent layers.
fn layer(subject: &Subject, forward: &Forward) -> Result<Vec<Tensor>> {
    let recurrent = subject.recurrent()?;
    let stack = &recurrent.stack;
    let graph = &forward.graph;
    let named = |ids: &[Id]| ids.iter().map(|id| graph.symbol(*id)).collect::<Vec<_>>();
    let inputs = symbols(forward, |n| n.role == Role::Input && n.place.step.is_some());
    let (steps, features) = (subject.steps(), recurrent.input_size);
    let directions = if stack.bidirectional { 2 } else { 1 };
    let slots = stack.num_layers * directions;
    let last = stack.num_layers - 1;
    let (r, h) = (Subject::output(&recurrent, last), recurrent.hidden_size);
    let slot = "(L·D, B, H)";
    let before = |state| symbols(forward, |n| n.role == Role::Start && n.state == Some(state));
    // Of each layer and direction, the state where it ends.
    let end = |state: CellState| {
        let all = forward.named.iter().filter(|n| {
            let last = if n.reverse { 1 } else { steps };
            graph.nodes[n.id].state == Some(state) && n.step == last
        });
        all.map(|n| graph.symbol(n.id)).collect::<Vec<_>>()
    };
    let states = match recurrent.cell {
        CellKind::Lstm => vec![(CellState::Hidden, r), (CellState::Cell, h)],
        _ => vec![(CellState::Hidden, r)],
    };
    let of_states = |at: &str, symbols: &dyn Fn(CellState) -> Vec<String>| {
        let one = |(state, width): &(CellState, usize)| {
            let name = format!("{}_{at}", state.letter());
            Tensor::whole(&name, symbols(*state), [slots, 1, *width], slot)
        };
        states.iter().map(one).collect::<Vec<_>>()
    };
    let wide = [1, steps, directions * r];
    let outputs = named(&forward.outputs);
    let mut all = Vec::new();
    // What a one-to-many network begins from.
    if let Some(NetworkConfig::OneToMany(c)) = subject.network.config() {
        all.push(Tensor {
            shape: vec![c.inputs],
            ..Tensor::whole("v", named(&forward.inputs), [0; 3], "(V)")
        });
    }
    all.push(Tensor::whole(
        "input",
        inputs,
        [1, steps, features],
        "(B, T, I)",
    ));
    all.extend(of_states("0", &before));
    all.push(Tensor::whole("output", outputs, wide, "(B, T, D·H)"));
    all.extend(of_states("n", &end));
    Ok(all)
}

/// A parameter, with the rows of each of its gates.
fn parameter(entry: &Entry, forward: &Forward) -> Tensor {
    let parts = forward.graph.nodes.iter().filter(|n| is_of(n, &entry.name));
    let sources = parts.filter_map(|n| n.source.as_ref());
    let rows: Vec<_> = sources.map(|s| [s.first + 1, s.first + s.rows]).collect();
    Tensor {
        name: entry.name.clone(),
        stored: None,
        rows: if rows.len() > 1 { rows } else { Vec::new() },
        symbols: symbols(forward, |n| is_of(n, &entry.name)),
        shape: entry.shape.clone(),
        letters: String::new(),
    }
}

/// Whether a value shows a parameter, or some of its rows.
fn is_of(node: &Node, name: &str) -> bool {
    let source = node
        .source
        .as_ref()
        .filter(|_| node.role == Role::Parameter);
    source.is_some_and(|s| s.name == name)
}

fn symbols(forward: &Forward, wanted: impl Fn(&Node) -> bool) -> Vec<String> {
    let there = forward.graph.nodes.iter().filter(|n| wanted(n));
    there.map(|n| n.symbol.clone()).collect()
}
