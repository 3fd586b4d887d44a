//! The network unrolled over time: what stands where, and what flows.

use crate::trace::Step;
use crate::trace::graph::{CellState, Graph, Id, Role};
use serde::Serialize;

/// A value in the drawing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Spot {
    /// The value.
    pub id: Id,
    /// Its symbol.
    pub symbol: String,
    /// What it is.
    pub role: Role,
    /// Column, from the left; the first step has 1.
    pub column: usize,
    /// Row, from above.
    pub row: usize,
}

/// What flows from one value to another.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Wire {
    /// From this value.
    pub from: Id,
    /// To this one.
    pub to: Id,
    /// The shape of what flows: `1 × 2`.
    pub label: String,
}

/// The drawing.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Sketch {
    /// Its values.
    pub nodes: Vec<Spot>,
    /// Its wires.
    pub wires: Vec<Wire>,
    /// Columns and rows.
    pub columns: usize,
    /// Rows.
    pub rows: usize,
}

/// The rows from above: what a value's row is called, to be sorted.
fn band(graph: &Graph, id: Id) -> Option<(usize, usize, usize)> {
    let node = &graph.nodes[id];
    let below = node.place.layer.map_or(0, |l| usize::MAX - l);
    let side = usize::from(node.place.reverse);
    Some(match node.role {
        Role::Loss => (0, 0, 0),
        Role::Prediction => (1, 0, 0),
        Role::Join if node.place.layer.is_none() => (2, 0, 0),
        Role::Join => (3, below, 0),
        Role::State | Role::Start if node.place.layer.is_some() => {
            let cell = usize::from(node.state == Some(CellState::Cell));
            (3, below, 1 + 2 * side + cell)
        }
        Role::Start if node.place.step.is_none() => (1, 0, 0),
        Role::State => (4, 0, 0),
        Role::Input => (5, 0, 0),
        _ => return None,
    })
}

/// The drawing of a step.
pub fn sketch(step: &Step, steps: usize) -> Sketch {
    let graph = &step.forward.graph;
    let shown: Vec<Id> = (0..=step.forward.loss)
        .filter(|id| band(graph, *id).is_some())
        .collect();
    let mut bands: Vec<_> = shown.iter().filter_map(|id| band(graph, *id)).collect();
    bands.sort_unstable();
    bands.dedup();
    let mut sketch = Sketch {
        columns: steps + 1,
        rows: bands.len(),
        ..Sketch::default()
    };
    for id in &shown {
        let node = &graph.nodes[*id];
        let at = band(graph, *id);
        let row = bands.iter().position(|b| Some(*b) == at).unwrap_or(0);
        let column = match (node.role, node.place.step) {
            (Role::Loss, _) => steps.div_ceil(2),
            (_, Some(t)) => t,
            (Role::Start, None) => 0,
            (_, None) => steps.div_ceil(2),
        };
        sketch.columns = sketch.columns.max(column + 1);
        sketch.nodes.push(Spot {
            id: *id,
            symbol: node.symbol.clone(),
            role: node.role,
            column,
            row,
        });
        let mut seen = Vec::new();
        let mut open = graph.reads(*id);
        while let Some(from) = open.pop() {
            if shown.contains(&from) {
                if !seen.contains(&from) {
                    seen.push(from);
                }
            } else {
                open.extend(graph.reads(from));
            }
        }
        seen.sort_unstable();
        for from in seen {
            let (rows, columns) = graph.nodes[from].shape;
            sketch.wires.push(Wire {
                from,
                to: *id,
                label: format!("{rows} × {columns}"),
            });
        }
    }
    sketch
}
