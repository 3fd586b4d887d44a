//! The network unrolled over time: what stands where, and what flows.
//!
//! A column for each step and in it a lane for each direction; a row for each
//! kind of value. What goes from layer to layer goes straight up in its lane,
//! what goes from step to step along its row, so that a wire passes no box but
//! its own and crosses another one at a right angle.

use crate::trace::Step;
use crate::trace::graph::{CellState, Graph, Id, Node, Role};
use serde::Serialize;
use std::collections::BTreeMap;

/// A value in the drawing; lengths are pixels, from the left and from above.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Spot {
    /// The value.
    pub id: Id,
    /// Its symbol.
    pub symbol: String,
    /// What it is.
    pub role: Role,
    /// Where its box begins, from the left.
    pub left: usize,
    /// From above.
    pub top: usize,
    /// The box's width; its height is the drawing's.
    pub width: usize,
    /// The middles of its symbol, which a wide box has several times.
    pub names: Vec<usize>,
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
    /// Whether it belongs to the reverse direction, where there are two.
    pub reverse: Option<bool>,
    /// Its corners, from end to end: from the left and from above in turn.
    pub points: Vec<[usize; 2]>,
    /// The middle of its label; none where a wire that begins as this one has it.
    pub at: Option<[usize; 2]>,
}

/// The drawing.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Sketch {
    /// Its values.
    pub nodes: Vec<Spot>,
    /// Its wires; those that only go up come first.
    pub wires: Vec<Wire>,
    /// Where wires from one value part.
    pub joints: Vec<[usize; 2]>,
    /// Its width.
    pub width: usize,
    /// Its height.
    pub height: usize,
    /// The height of a box.
    pub tall: usize,
}

/// The height of a box, and what is between two rows.
const TALL: usize = 34;
const BETWEEN: usize = 40;
/// The width of a box that nothing makes wider.
const WIDE: usize = 74;
/// Between the lanes of a column.
const LANES: usize = 10;
/// What an arrow needs before the box it points at.
const ARROW: usize = 14;
/// Around the drawing.
const MARGIN: usize = 12;
/// From a wire to the middle of its label.
const BESIDE: usize = 9;
/// A box that is wider has its symbol several times, so far apart.
const REPEAT: usize = 1000;

/// The rows from above: what a value's row is called, to be sorted.
fn band(node: &Node) -> Option<(usize, usize, usize)> {
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
        // A first prediction of a network that reads its own.
        Role::Start if node.place.step.is_none() => (1, 0, 0),
        // What makes the first states stands beside those of the first layer.
        Role::State => (3, usize::MAX, 1),
        Role::Input if node.beside => (1, 0, 0),
        Role::Input => (4, 0, 0),
        _ => return None,
    })
}

/// An LSTM's `c`.
fn is_cell(node: &Node) -> bool {
    node.state == Some(CellState::Cell)
}

/// A state of a layer.
fn is_state(node: &Node) -> bool {
    matches!(node.role, Role::State | Role::Start) && node.place.layer.is_some()
}

/// How wide a label is.
fn label_width(label: &str) -> usize {
    (label.chars().count() * 13).div_ceil(2)
}

/// How wide a box is that holds a symbol.
fn symbol_width(symbol: &str) -> usize {
    9 * symbol.chars().filter(|c| !"_^".contains(*c)).count() + 22
}

/// What flows, from and to; outputs of steps that nobody reads are left out.
fn flows(graph: &Graph, loss: Id) -> (Vec<Id>, Vec<(Id, Id)>) {
    let shown = |id: &Id| band(&graph.nodes[*id]).is_some();
    let mut shown: Vec<Id> = (0..=loss).filter(shown).collect();
    let mut all = Vec::new();
    for id in &shown {
        let (mut seen, mut open) = (Vec::new(), graph.reads(*id));
        while let Some(from) = open.pop() {
            if shown.binary_search(&from).is_err() {
                open.extend(graph.reads(from));
            } else if !seen.contains(&from) {
                seen.push(from);
            }
        }
        seen.sort_unstable();
        all.extend(seen.into_iter().map(|from| (from, *id)));
    }
    let read: Vec<Id> = all.iter().map(|(from, _)| *from).collect();
    shown.retain(|id| graph.nodes[*id].role != Role::Join || read.contains(id));
    all.retain(|(_, to)| shown.binary_search(to).is_ok());
    (shown, all)
}

/// A box: left, top, width.
#[derive(Debug, Clone, Copy)]
struct Place {
    left: usize,
    top: usize,
    width: usize,
}

impl Place {
    fn right(self) -> usize {
        self.left + self.width
    }

    fn middle(self) -> usize {
        self.left + self.width / 2
    }

    /// The middle of its height.
    fn level(self) -> usize {
        self.top + TALL / 2
    }

    fn bottom(self) -> usize {
        self.top + TALL
    }

    fn around(middle: usize, top: usize, width: usize) -> Self {
        let left = middle - width / 2;
        Self { left, top, width }
    }
}

/// Where things are.
struct Plan<'a> {
    graph: &'a Graph,
    lstm: bool,
    /// Both directions.
    both: bool,
    /// Steps.
    steps: usize,
    /// Widths: of a label, of an LSTM's `c`, of another state; of a lane, and of
    /// what a column has of boxes.
    label: usize,
    cell: usize,
    state: usize,
    lane: usize,
    column: usize,
    /// From the left of an LSTM's `h` to what comes from below `c`.
    past: usize,
    /// Left and width of each column.
    columns: BTreeMap<usize, (usize, usize)>,
    places: BTreeMap<Id, Place>,
    /// The lowest edge of the first layer.
    ground: usize,
}

impl<'a> Plan<'a> {
    fn new(graph: &'a Graph, steps: usize, shown: &[Id], flows: &[(Id, Id)]) -> Self {
        let nodes = || shown.iter().map(|id| &graph.nodes[*id]);
        let states = || nodes().filter(|n| is_state(n));
        let lstm = states().any(is_cell);
        let both = states().any(|n| n.place.reverse) && states().any(|n| !n.place.reverse);
        let sources = flows.iter().map(|(from, _)| *from);
        let sources = sources.filter(|id| band(&graph.nodes[*id]) != Some((2, 0, 0)));
        let label = sources.map(|id| label_width(&shape(graph, id))).max();
        let label = label.unwrap_or(0);
        let symbol = states().map(|n| symbol_width(&n.symbol)).max().unwrap_or(0);
        let cell = symbol.max(50).next_multiple_of(2);
        let past = (cell + 10).max(cell / 2 + label + 10);
        let state = match lstm {
            true => symbol.max(WIDE).max(past + 14),
            false => symbol.max(WIDE),
        };
        let state = state.next_multiple_of(2);
        let up = if lstm { past } else { state / 2 };
        let lane = state.max(up + 4 + label + 4);
        let column = if both { lane + LANES + state } else { state };
        let mut plan = Self {
            graph,
            lstm,
            both,
            steps,
            label,
            cell,
            state,
            lane,
            column,
            past,
            columns: BTreeMap::new(),
            places: BTreeMap::new(),
            ground: 0,
        };
        let back = nodes().any(|n| n.role == Role::Start && n.place.layer.is_none());
        let bus = back || nodes().any(|n| n.beside);
        let gap = 2 + label + 4 + 10 * usize::from(bus) + 10 * usize::from(lstm) + ARROW;
        let mut used: Vec<usize> = nodes().map(|n| plan.at_column(n)).collect();
        used.sort_unstable();
        used.dedup();
        let mut left = MARGIN;
        for column in used {
            let width = match column {
                0 => WIDE,
                c if (2..2 + steps).contains(&c) => plan.column,
                _ => plan.state,
            };
            plan.columns.insert(column, (left, width));
            left += width + if column == 0 { gap + 10 } else { gap };
        }
        plan.stand(shown, flows);
        plan
    }

    /// The column of a value: 0 and 1 are before the first step.
    fn at_column(&self, node: &Node) -> usize {
        match (node.role, node.place.step) {
            (_, Some(t)) => t + 1,
            (Role::Input, None) if node.beside => 1,
            (Role::Input, None) => 0,
            (Role::State, None) => 0,
            (Role::Start, None) => 1,
            (_, None) => 2,
        }
    }

    /// Gives each value its box; those that it reads have theirs.
    fn stand(&mut self, shown: &[Id], flows: &[(Id, Id)]) {
        let bands = shown.iter().filter_map(|id| band(&self.graph.nodes[*id]));
        let mut bands: Vec<_> = bands.collect();
        bands.sort_unstable();
        bands.dedup();
        for id in shown {
            let node = &self.graph.nodes[*id];
            let row = bands.iter().position(|b| Some(*b) == band(node));
            let top = MARGIN + row.unwrap_or(0) * (TALL + BETWEEN);
            let read = flows.iter().filter(|(_, to)| to == id);
            let read = read.filter_map(|(from, _)| self.places.get(from));
            // What stands beside is not what it stands upon.
            let read: Vec<Place> = read.filter(|p| p.top > top).copied().collect();
            let column = self.at_column(node);
            let (left, width) = self.columns[&column];
            let over = |all: &[Place]| {
                let from = all.iter().map(|p| p.left).min().unwrap_or(left);
                let to = all.iter().map(|p| p.right()).max().unwrap_or(left);
                let width = (to - from).max(WIDE);
                Place {
                    left: from,
                    top,
                    width,
                }
            };
            let place = match node.role {
                Role::Input | Role::Join if node.place.step.is_some() => Place { left, top, width },
                Role::State | Role::Start if node.place.layer.is_some() => {
                    let inside = (2..2 + self.steps).contains(&column);
                    let second = self.both && node.place.reverse && inside;
                    Place {
                        left: left + if second { self.lane + LANES } else { 0 },
                        top,
                        width: if is_cell(node) { self.cell } else { self.state },
                    }
                }
                Role::Join => over(&read),
                Role::Loss if read.len() > 1 => over(&read),
                Role::Loss => Place::around(over(&read).middle(), top, WIDE),
                Role::Prediction if node.place.step.is_none() => {
                    Place::around(over(&read).middle(), top, WIDE)
                }
                _ => Place::around(left + width / 2, top, WIDE),
            };
            if node.place.layer == Some(0) {
                self.ground = self.ground.max(place.bottom());
            }
            self.places.insert(*id, place);
        }
    }

    /// Where what a state reads from below arrives.
    fn port(&self, to: Id) -> usize {
        let (node, place) = (&self.graph.nodes[to], self.places[&to]);
        match self.lstm && !is_cell(node) {
            true => place.left + self.past,
            false => place.middle(),
        }
    }

    /// A wire: its corners, and the middle of its label.
    fn route(&self, from: Id, to: Id) -> (Vec<[usize; 2]>, Option<[usize; 2]>) {
        let [a, b] = [from, to].map(|id| &self.graph.nodes[id]);
        let [pa, pb] = [from, to].map(|id| self.places[&id]);
        let end = |node: &Node| {
            let (left, width) = self.columns[&self.at_column(node)];
            left + width
        };
        let half = self.label / 2;
        // The lane in the space after a column for what goes back down.
        let down = |node: &Node| end(node) + 2 + self.label + 9;
        let same = (a.place.layer, a.place.reverse) == (b.place.layer, b.place.reverse);
        if is_state(a) && is_state(b) && same && a.place.step != b.place.step {
            return self.along(from, to);
        }
        if is_state(b) && !is_state(a) && band(a).is_some_and(|band| band.0 == 1) {
            // A prediction that the next step reads.
            let (x, y) = (self.port(to), self.ground + 24);
            let lane = down(a);
            let first = !self.lstm || is_cell(b);
            return (
                vec![
                    [pa.right(), pa.level()],
                    [lane, pa.level()],
                    [lane, y],
                    [x, y],
                    [x, pb.bottom()],
                ],
                first.then(|| [end(a) + 2 + half, pa.level() - BESIDE]),
            );
        }
        if b.role == Role::Start {
            let lane = pa.right() + 10;
            let at = [pb.left - ARROW - 2 - half, pb.level() - BESIDE];
            let straight = vec![[pa.right(), pa.level()], [pb.left, pb.level()]];
            return match pa.level() == pb.level() {
                true => (straight, Some(at)),
                false => {
                    let corners = vec![
                        straight[0],
                        [lane, pa.level()],
                        [lane, pb.level()],
                        straight[1],
                    ];
                    (corners, Some(at))
                }
            };
        }
        if pa.top == pb.top {
            // A vector beside the sequence, to what it is added to.
            let (x, y, lane) = (pb.middle() - 20, pb.bottom() + 14, down(a));
            return (
                vec![
                    [pa.right(), pa.level()],
                    [lane, pa.level()],
                    [lane, y],
                    [x, y],
                    [x, pb.bottom()],
                ],
                Some([end(a) + 2 + half, pa.level() - BESIDE]),
            );
        }
        let x = match is_state(b) && !same {
            true => self.port(to),
            false => pa.middle(),
        };
        let label = label_width(&shape(self.graph, from));
        (
            vec![[x, pa.top], [x, pb.bottom()]],
            Some([x + 4 + label / 2, pa.top - 10]),
        )
    }

    /// From a state to one of the same direction, one step on.
    fn along(&self, from: Id, to: Id) -> (Vec<[usize; 2]>, Option<[usize; 2]>) {
        let [a, b] = [from, to].map(|id| &self.graph.nodes[id]);
        let [pa, pb] = [from, to].map(|id| self.places[&id]);
        let half = self.label / 2;
        // The space between the two columns.
        let (first, second) = match b.place.reverse {
            false => (self.at_column(a), self.at_column(b)),
            true => (self.at_column(b), self.at_column(a)),
        };
        let ((left, width), (until, _)) = (self.columns[&first], self.columns[&second]);
        let (begins, ends, middle, lane) = match b.place.reverse {
            false => (pa.right(), pb.left, left + width + 2 + half, until - ARROW),
            true => (pa.left, pb.right(), until - 2 - half, left + width + ARROW),
        };
        if is_cell(b) && !is_cell(a) {
            let (y, z) = (pa.level() + 8, pb.level() - 8);
            let corners = vec![[begins, y], [lane, y], [lane, z], [ends, z]];
            return (corners, Some([middle, y + BESIDE]));
        }
        let y = match self.lstm && !is_cell(a) {
            true => pa.level() - 6,
            false => pa.level(),
        };
        (vec![[begins, y], [ends, y]], Some([middle, y - BESIDE]))
    }

    /// The direction that a wire belongs to, where there are two.
    fn side(&self, from: Id, to: Id) -> Option<bool> {
        let [a, b] = [from, to].map(|id| &self.graph.nodes[id]);
        match (is_state(a), is_state(b)) {
            (_, true) => self.both.then_some(b.place.reverse),
            (true, false) => self.both.then_some(a.place.reverse),
            (false, false) => None,
        }
    }

    fn wire(&self, (from, to): (Id, Id)) -> Wire {
        let (points, at) = self.route(from, to);
        Wire {
            from,
            to,
            label: shape(self.graph, from),
            reverse: self.side(from, to),
            points,
            at,
        }
    }
}

/// `1 × 2`.
fn shape(graph: &Graph, id: Id) -> String {
    let (rows, columns) = graph.nodes[id].shape;
    format!("{rows} × {columns}")
}

/// Whether a point is on the way of a wire, between two corners.
fn passes(points: &[[usize; 2]], [x, y]: [usize; 2]) -> bool {
    points.windows(2).any(|ends| {
        let [[a, b], [c, d]] = [ends[0], ends[1]];
        let inside = |p: usize, q: usize, z: usize| p.min(q) < z && z < p.max(q);
        (a == c && a == x && inside(b, d, y)) || (b == d && b == y && inside(a, c, x))
    })
}

/// The drawing of a step.
pub fn sketch(step: &Step, steps: usize) -> Sketch {
    let graph = &step.forward.graph;
    let (shown, flows) = flows(graph, step.forward.loss);
    let plan = Plan::new(graph, steps, &shown, &flows);
    let spot = |id: &Id| {
        let (node, place) = (&graph.nodes[*id], plan.places[id]);
        let count = place.width / REPEAT + 1;
        let name = |k| place.left + place.width * (2 * k + 1) / (2 * count);
        Spot {
            id: *id,
            symbol: node.symbol.clone(),
            role: node.role,
            left: place.left,
            top: place.top,
            width: place.width,
            names: (0..count).map(name).collect(),
        }
    };
    let mut wires: Vec<Wire> = flows.iter().map(|ends| plan.wire(*ends)).collect();
    // Wires from one value that begin alike have one label.
    let mut labels: Vec<(Id, [usize; 2])> = Vec::new();
    for wire in &mut wires {
        let label = wire.at.map(|at| (wire.from, at));
        match label {
            Some(label) if labels.contains(&label) => wire.at = None,
            Some(label) => labels.push(label),
            None => {}
        }
    }
    let mut joints = Vec::new();
    for wire in &wires {
        let others = || wires.iter().filter(|w| w.from == wire.from);
        let inner = wire.points.iter().skip(1);
        let inner = inner.take(wire.points.len().saturating_sub(2));
        joints.extend(inner.filter(|p| others().any(|w| passes(&w.points, **p))));
    }
    joints.sort_unstable();
    joints.dedup();
    let upright = |w: &Wire| w.points.iter().all(|p| p[0] == w.points[0][0]);
    wires.sort_by_key(|w| !upright(w));
    let nodes: Vec<Spot> = shown.iter().map(spot).collect();
    let right = nodes.iter().map(|n| n.left + n.width).max();
    let below = nodes.iter().map(|n| n.top).max();
    // The last column's labels may stick out beyond its boxes.
    let labels = wires
        .iter()
        .filter_map(|w| Some(w.at?[0] + label_width(&w.label) / 2));
    let right = right.max(labels.max());
    Sketch {
        nodes,
        wires,
        joints,
        width: right.unwrap_or(0) + MARGIN,
        height: below.unwrap_or(0) + TALL + 2 * MARGIN,
        tall: TALL,
    }
}
