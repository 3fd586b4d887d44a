//! The forward pass as a graph: each cell as its definition has it.

use super::graph::{CellState, Graph, Id, Part, Place, Role, Rule, Source};
use crate::subject::Subject;
use elman::cell::{Activation, Bias, CellKind, GatedCell, Gru, Lstm, Nonlinearity, Rnn, Side};
use elman::layer::RecurrentConfig;
use elman::network::{NetworkConfig, Readout};
use elman::{Error, Result};

/// The forward pass. Every value is a matrix or one row: B is 1, so that a step has
/// (1, I), a state (1, H), a prediction (1, O).
#[derive(Debug, Clone)]
pub struct Forward {
    /// The values.
    pub graph: Graph,
    /// The loss, (1, 1).
    pub loss: Id,
    /// The predictions, in order, (1, O) each.
    pub predictions: Vec<Id>,
    /// Every state and gate.
    pub named: Vec<Named>,
    /// The inputs of the steps, (1, I) each; the vector of a one-to-many network.
    pub inputs: Vec<Id>,
    /// The last layer's output at each step, its directions side by side, (1, D H).
    pub outputs: Vec<Id>,
    /// The states before the first step, by slot: `h` (1, H) or, projected, (1, R),
    /// and an LSTM's `c` (1, H).
    pub starts: Vec<Vec<Id>>,
}

impl Forward {
    /// The last recurrent layer.
    pub fn last_layer(&self) -> Option<usize> {
        self.named.iter().map(|n| n.layer).max()
    }
}

/// A state or a gate of a step.
#[derive(Debug, Clone, Copy)]
pub struct Named {
    /// The layer, counted from 0.
    pub layer: usize,
    /// The direction that goes from the end.
    pub reverse: bool,
    /// The step in time, counted from 1.
    pub step: usize,
    /// What it is.
    pub part: Part,
    /// The value.
    pub id: Id,
}

/// A gate's weights: (I, H) or (R, H), and a bias (1, H).
struct Gate {
    name: &'static str,
    weight: Id,
    bias: Option<Id>,
}

/// The weights of a cell: what reads the input, what reads the state; a projection
/// (H, R).
struct CellWeights {
    input: Vec<Gate>,
    hidden: Vec<Gate>,
    projection: Option<Id>,
}

/// What the gates of a step add up, by their names: terms of (1, H).
struct Sums {
    input: Vec<(&'static str, Vec<Id>)>,
    hidden: Vec<(&'static str, Vec<Id>)>,
    place: Place,
}

impl Sums {
    fn of(all: &[(&'static str, Vec<Id>)], name: &str) -> Vec<Id> {
        let found = all.iter().find(|(n, _)| *n == name);
        found.map(|(_, ids)| ids.clone()).unwrap_or_default()
    }

    /// From the input; nothing where the gate does not read it.
    fn of_input(&self, name: &str) -> Vec<Id> {
        Self::of(&self.input, name)
    }

    /// From the state.
    fn of_hidden(&self, name: &str) -> Vec<Id> {
        Self::of(&self.hidden, name)
    }
}

struct Builder<'a> {
    subject: &'a Subject,
    config: RecurrentConfig,
    out: Forward,
}

/// Gates of a side: names, and the block of rows of each, in the order of the
/// rows.
fn gates(saved: &'static [&'static str], side: Side) -> Vec<(&'static str, usize)> {
    let blocks = side.gates.iter().enumerate();
    let mut all: Vec<_> = blocks
        .map(|(k, block)| (saved[side.first + k], *block))
        .collect();
    all.sort_by_key(|(_, block)| *block);
    all
}

impl Builder<'_> {
    /// Rows of a parameter, transposed: `(I, H)` from block `block` of `(G*H,
    /// I)`, or a bias as a row.
    fn parameter(
        &mut self,
        symbol: String,
        name: &str,
        (rows, block): (usize, usize),
        place: Place,
    ) -> Result<Id> {
        let Some(entry) = self.subject.layout().find(name) else {
            return Err(Error::file(format!(
                "model: the parameter {name} is missing"
            )));
        };
        let columns = if entry.shape.len() == 2 {
            entry.shape[1]
        } else {
            1
        };
        let source = Source {
            name: name.to_owned(),
            columns,
            rows,
            first: block * rows,
        };
        let numbers = match self.out.graph.dry {
            true => Vec::new(),
            false => {
                let values = &self.subject.params.values()[entry.range.clone()];
                source.index().map(|i| values[i]).collect()
            }
        };
        let shape = (columns, rows);
        let graph = &mut self.out.graph;
        let id = graph.give(symbol, Role::Parameter, place, shape, numbers);
        graph.nodes[id].source = Some(source);
        graph.nodes[id].matrix = entry.shape.len() == 2;
        Ok(id)
    }

    /// The weight of a linear map, (inputs, outputs), and its bias, (1, outputs).
    fn linear(&mut self, name: &str, letter: &str, outputs: usize) -> Result<(Id, Id)> {
        let place = Place::default();
        let w = self.parameter(
            format!("W_{letter}"),
            &format!("{name}.weight"),
            (outputs, 0),
            place,
        )?;
        let b = self.parameter(
            format!("b_{letter}"),
            &format!("{name}.bias"),
            (outputs, 0),
            place,
        )?;
        Ok((w, b))
    }

    /// What a symbol of a layer and direction ends with.
    fn suffix(&self, layer: usize, reverse: bool) -> String {
        let stack = &self.config.stack;
        let layer = if stack.num_layers > 1 {
            format!("_l{layer}")
        } else {
            String::new()
        };
        let arrow = match (stack.bidirectional, reverse) {
            (false, _) => "",
            (true, false) => "→",
            (true, true) => "←",
        };
        format!("{layer}{arrow}")
    }

    fn weights(&mut self, layer: usize, reverse: bool) -> Result<CellWeights> {
        let (saved, input, hidden) = match self.config.cell {
            CellKind::Rnn => (Rnn::SAVED, Rnn::INPUT, Rnn::HIDDEN),
            CellKind::Gru => (Gru::SAVED, Gru::INPUT, Gru::HIDDEN),
            CellKind::Lstm => (Lstm::SAVED, Lstm::INPUT, Lstm::HIDDEN),
        };
        let h = Subject::hidden(&self.config, layer);
        let suffix = self.suffix(layer, reverse);
        let place = Place {
            layer: Some(layer),
            reverse,
            ..Place::default()
        };
        let both = self.config.bias == Bias::Both;
        let plain = self.config.cell == CellKind::Rnn;
        let biased = self.config.bias != Bias::None;
        let mut side = |side: Side, letter: &str, tail: &str, biased: bool| -> Result<Vec<Gate>> {
            let mut all = Vec::new();
            for (name, block) in gates(saved, side) {
                // The state's part of n is called hn, its weights W_hn.
                let gate = match name {
                    _ if plain => "",
                    "hn" => "n",
                    own => own,
                };
                let rows = (h, block);
                let symbol = format!("W_{letter}{gate}{suffix}");
                let weight = self.subject.name(&format!("weight_{tail}"), layer, reverse);
                let weight = self.parameter(symbol, &weight, rows, place)?;
                let bias = if biased {
                    let symbol = match (both, plain) {
                        (false, true) => format!("B{suffix}"),
                        (false, false) => format!("B_{gate}{suffix}"),
                        (true, _) => format!("b_{letter}{gate}{suffix}"),
                    };
                    let bias = self.subject.name(&format!("bias_{tail}"), layer, reverse);
                    Some(self.parameter(symbol, &bias, rows, place)?)
                } else {
                    None
                };
                all.push(Gate { name, weight, bias });
            }
            Ok(all)
        };
        let input = side(input, "x", "ih", biased)?;
        let hidden = side(hidden, "h", "hh", both)?;
        let projection = if self.config.proj_size > 0 {
            let name = self.subject.name("weight_hr", layer, reverse);
            let rows = (self.config.proj_size, 0);
            Some(self.parameter(format!("W_p{suffix}"), &name, rows, place)?)
        } else {
            None
        };
        Ok(CellWeights {
            input,
            hidden,
            projection,
        })
    }

    fn activations(&self) -> [Activation; 5] {
        use Activation::{Identity, Relu, Sigmoid, Tanh};
        let mut all = match self.config.cell {
            CellKind::Rnn if self.config.nonlinearity == Nonlinearity::Relu => {
                [Relu, Identity, Identity, Identity, Identity]
            }
            CellKind::Rnn => [Tanh, Identity, Identity, Identity, Identity],
            CellKind::Gru => [Sigmoid, Sigmoid, Tanh, Identity, Identity],
            CellKind::Lstm => [Sigmoid, Sigmoid, Tanh, Sigmoid, Tanh],
        };
        for (to, from) in all.iter_mut().zip(&self.config.options.activations) {
            *to = *from;
        }
        all
    }

    /// `x W`, (1, I) (I, H) -> (1, H), called by its factors.
    fn product(&mut self, v: Id, w: Id, place: Place) -> Id {
        let graph = &mut self.out.graph;
        let symbol = format!("{} {}", graph.nodes[v].symbol, graph.nodes[w].symbol);
        let shape = (1, graph.width(w));
        graph.push(symbol, Role::Product, place, shape, Rule::Product(v, w))
    }

    /// `a ∘ b`, (1, H).
    fn times(&mut self, a: Id, b: Id, place: Place) -> Id {
        let graph = &mut self.out.graph;
        let symbol = format!("{} ∘ {}", graph.nodes[a].symbol, graph.nodes[b].symbol);
        let shape = graph.nodes[a].shape;
        graph.push(symbol, Role::Product, place, shape, Rule::Times(a, b))
    }

    /// `a + b + ...`, (1, H).
    fn add(&mut self, symbol: String, role: Role, all: Vec<Id>, place: Place) -> Id {
        let shape = self.out.graph.nodes[all[0]].shape;
        self.out
            .graph
            .push(symbol, role, place, shape, Rule::Sum(all))
    }

    /// `f(x)`, (1, H).
    fn apply(&mut self, symbol: String, role: Role, f: Activation, x: Id, place: Place) -> Id {
        let shape = self.out.graph.nodes[x].shape;
        self.out
            .graph
            .push(symbol, role, place, shape, Rule::Apply(f, x))
    }

    /// One step of a cell: from `x` (1, I) and the states before it the states after
    /// it.
    fn step(&mut self, w: &CellWeights, x: Id, prev: &[Id], place: Place) -> Vec<Id> {
        if self.out.graph.dry {
            return self.outline(place);
        }
        let sums = Sums {
            input: self.products(&w.input, x, place),
            hidden: self.products(&w.hidden, prev[0], place),
            place,
        };
        match self.config.cell {
            CellKind::Rnn => vec![self.rnn(&sums)],
            CellKind::Gru => vec![self.gru(&sums, prev[0])],
            CellKind::Lstm => self.lstm(&sums, prev[1], w.projection),
        }
    }

    /// The states after a step, without what makes them.
    fn outline(&mut self, place: Place) -> Vec<Id> {
        let states = self.states(place.layer.unwrap_or(0)).into_iter();
        let one = |(state, width): (CellState, usize)| {
            let symbol = self.mark(state.letter(), place);
            let graph = &mut self.out.graph;
            let id = graph.push(symbol, Role::State, place, (1, width), Rule::Nothing);
            self.is_state(place, state, id);
            id
        };
        states.map(one).collect()
    }

    /// What each gate adds up: a product (1, H) and, where there is one, a bias.
    fn products(&mut self, gates: &[Gate], v: Id, place: Place) -> Vec<(&'static str, Vec<Id>)> {
        let terms = gates.iter().map(|g| {
            let mut all = vec![self.product(v, g.weight, place)];
            all.extend(g.bias);
            (g.name, all)
        });
        terms.collect()
    }

    /// The symbol of a step: `h_l0→^2`.
    fn mark(&self, letter: &str, place: Place) -> String {
        let (layer, t) = (place.layer.unwrap_or(0), place.step.unwrap_or(0));
        format!("{letter}{}^{t}", self.suffix(layer, place.reverse))
    }

    /// The sum of both sides of a gate, by the gate's name and its own.
    fn sum(&mut self, sums: &Sums, name: &str, letter: &str) -> Id {
        let all = [sums.of_input(name), sums.of_hidden(name)].concat();
        let symbol = self.mark(letter, sums.place);
        self.add(symbol, Role::Sum, all, sums.place)
    }

    /// A gate: a function of its sum.
    fn gate(&mut self, sums: &Sums, part: Part, f: Activation) -> Id {
        let name = part.letter();
        let a = self.sum(sums, name, &format!("a_{name}"));
        let symbol = self.mark(name, sums.place);
        let id = self.apply(symbol, Role::Gate, f, a, sums.place);
        self.name_it(sums.place, part, id);
        id
    }

    /// `h = f(a)`, (1, H).
    fn rnn(&mut self, sums: &Sums) -> Id {
        let place = sums.place;
        let a = self.sum(sums, "a", "a");
        let f = self.activations()[0];
        let h = self.apply(self.mark("h", place), Role::State, f, a, place);
        self.is_state(place, CellState::Hidden, h);
        h
    }

    /// `n = tanh(x W_xn + B + r ∘ q)`, `h = (1 − z) ∘ n + z ∘ h`, all (1, H).
    fn gru(&mut self, sums: &Sums, prev: Id) -> Id {
        let (place, f) = (sums.place, self.activations());
        let r = self.gate(sums, Part::Reset, f[0]);
        let z = self.gate(sums, Part::Update, f[1]);
        let q = self.mark("q", place);
        let q = self.add(q, Role::Sum, sums.of_hidden("hn"), place);
        self.name_it(place, Part::Recalled, q);
        let rq = self.times(r, q, place);
        let all = [sums.of_input("n"), vec![rq]].concat();
        let a_n = self.add(self.mark("a_n", place), Role::Sum, all, place);
        let n = self.apply(self.mark("n", place), Role::Gate, f[2], a_n, place);
        self.name_it(place, Part::New, n);
        let shape = self.out.graph.nodes[z].shape;
        let keep = format!("(1−{})", self.mark("z", place));
        let rule = Rule::OneMinus(z);
        let keep = self.out.graph.push(keep, Role::Product, place, shape, rule);
        let new = self.times(keep, n, place);
        let old = self.times(z, prev, place);
        let h = self.mark("h", place);
        let h = self.add(h, Role::State, vec![new, old], place);
        self.is_state(place, CellState::Hidden, h);
        h
    }

    /// `c = f ∘ c + i ∘ g`, `h = o ∘ tanh(c)`, all (1, H); `h` is (1, R) where there is
    /// a projection.
    fn lstm(&mut self, sums: &Sums, prev: Id, projection: Option<Id>) -> Vec<Id> {
        let (place, f) = (sums.place, self.activations());
        let i = self.gate(sums, Part::Input, f[0]);
        let forget = self.gate(sums, Part::Forget, f[1]);
        let g = self.gate(sums, Part::Candidate, f[2]);
        let o = self.gate(sums, Part::Output, f[3]);
        let old = self.times(forget, prev, place);
        let new = self.times(i, g, place);
        let mark = self.mark("c", place);
        let c = self.add(mark.clone(), Role::State, vec![old, new], place);
        let squashed = match f[4] {
            Activation::Identity => mark,
            other => format!("{}({mark})", other.name()),
        };
        let squashed = self.apply(squashed, Role::Product, f[4], c, place);
        let shape = self.out.graph.nodes[o].shape;
        let (letter, role) = match projection {
            Some(_) => ("m", Role::Gate),
            None => ("h", Role::State),
        };
        let symbol = self.mark(letter, place);
        let rule = Rule::Times(o, squashed);
        let mut h = self.out.graph.push(symbol, role, place, shape, rule);
        if let Some(p) = projection {
            self.name_it(place, Part::Projected, h);
            let shape = (1, self.out.graph.width(p));
            let (symbol, rule) = (self.mark("h", place), Rule::Product(h, p));
            h = self.out.graph.push(symbol, Role::State, place, shape, rule);
        }
        self.is_state(place, CellState::Cell, c);
        self.is_state(place, CellState::Hidden, h);
        vec![h, c]
    }

    fn is_state(&mut self, place: Place, state: CellState, id: Id) {
        self.out.graph.nodes[id].state = Some(state);
        self.name_it(place, Part::State(state), id);
    }

    fn name_it(&mut self, place: Place, part: Part, id: Id) {
        self.out.named.push(Named {
            layer: place.layer.unwrap_or(0),
            reverse: place.reverse,
            step: place.step.unwrap_or(0),
            part,
            id,
        });
    }

    /// The states of a cell, and how many numbers each has.
    fn states(&self, layer: usize) -> Vec<(CellState, usize)> {
        let hidden = Subject::hidden(&self.config, layer);
        let output = Subject::output(&self.config, layer);
        match self.config.cell {
            CellKind::Lstm => vec![(CellState::Hidden, output), (CellState::Cell, hidden)],
            _ => vec![(CellState::Hidden, output)],
        }
    }

    /// A state before the first step of a direction, (1, width): zeros, or what a
    /// rule makes.
    fn start(
        &mut self,
        place: Place,
        (state, width): (CellState, usize),
        rule: Option<Rule>,
    ) -> Id {
        let symbol = self.mark(state.letter(), place);
        let (graph, shape) = (&mut self.out.graph, (1, width));
        let id = match rule {
            Some(rule) => graph.push(symbol, Role::Start, place, shape, rule),
            None => graph.give(symbol, Role::Start, place, shape, vec![0.0; width]),
        };
        graph.nodes[id].state = Some(state);
        id
    }

    /// The directions of a layer.
    fn directions(&self) -> Vec<bool> {
        match (self.config.stack.bidirectional, self.config.stack.reverse) {
            (true, _) => vec![false, true],
            (false, reverse) => vec![reverse],
        }
    }

    /// A stack over a sequence of (1, I): the outputs of each step, (1, D H), and
    /// the last state of each direction, (1, H).
    fn stack(&mut self, xs: &[Id]) -> Result<(Vec<Id>, Vec<Id>)> {
        let steps = xs.len();
        let (mut xs, mut last) = (xs.to_vec(), Vec::new());
        for layer in 0..self.config.stack.num_layers {
            let mut outputs: Vec<Vec<Id>> = vec![Vec::new(); steps];
            last.clear();
            for reverse in self.directions() {
                let w = self.weights(layer, reverse)?;
                let before = Place {
                    step: Some(if reverse { steps + 1 } else { 0 }),
                    layer: Some(layer),
                    reverse,
                    join: false,
                };
                let states = self.states(layer).into_iter();
                let mut state: Vec<Id> = states.map(|s| self.start(before, s, None)).collect();
                self.out.starts.push(state.clone());
                for i in 0..steps {
                    let t = if reverse { steps - 1 - i } else { i };
                    let place = Place {
                        step: Some(t + 1),
                        layer: Some(layer),
                        reverse,
                        join: false,
                    };
                    state = self.step(&w, xs[t], &state, place);
                    outputs[t].push(state[0]);
                }
                last.push(state[0]);
            }
            for (t, both) in outputs.into_iter().enumerate() {
                xs[t] = match both.as_slice() {
                    [one] => *one,
                    _ => {
                        let place = Place {
                            step: Some(t + 1),
                            layer: Some(layer),
                            reverse: false,
                            join: true,
                        };
                        let width = both.iter().map(|v| self.out.graph.width(*v)).sum();
                        let layer = if self.config.stack.num_layers > 1 {
                            format!("_l{layer}")
                        } else {
                            String::new()
                        };
                        let symbol = format!("H{layer}^{}", t + 1);
                        self.out
                            .graph
                            .push(symbol, Role::Join, place, (1, width), Rule::Join(both))
                    }
                };
            }
        }
        Ok((xs, last))
    }

    /// `ŷ = v W_y + b_y`, (1, O), and what a skip connection adds.
    fn predict(&mut self, v: Id, (w, b): (Id, Id), step: Option<usize>, extra: Option<Id>) -> Id {
        let place = Place {
            step,
            ..Place::default()
        };
        let product = self.product(v, w, place);
        let mut all = vec![product, b];
        all.extend(extra);
        let y = self.add(predicted(step), Role::Prediction, all, place);
        self.out.predictions.push(y);
        y
    }

    /// The sequence, (1, I) a step.
    fn inputs(&mut self) -> Vec<Id> {
        let (steps, features) = self.subject.input.dim();
        for t in 0..steps {
            let place = Place {
                step: Some(t + 1),
                ..Place::default()
            };
            let numbers = self.subject.input.row(t).to_vec();
            let x = self.out.graph.give(
                format!("x^{}", t + 1),
                Role::Input,
                place,
                (1, features),
                numbers,
            );
            self.out.inputs.push(x);
        }
        self.out.inputs.clone()
    }

    /// A sequence in, predictions of (1, O) by what the head reads: `(1, H)` or all
    /// steps side by side, `(1, T H)`.
    fn sequence(&mut self, readout: Readout, outputs: usize, skips: bool) -> Result<()> {
        let xs = self.inputs();
        let (states, last) = self.stack(&xs)?;
        self.out.outputs.clone_from(&states);
        let none = Place::default();
        if self.subject.bare {
            let read = match readout {
                Readout::EveryStep => (1..).map(Some).zip(states).collect(),
                _ => vec![(None, self.last_state(last))],
            };
            for (step, v) in read {
                let place = Place {
                    step,
                    ..Place::default()
                };
                let y = self.add(predicted(step), Role::Prediction, vec![v], place);
                self.out.predictions.push(y);
            }
            return Ok(());
        }
        let head = self.linear("head", "y", outputs)?;
        let k = match readout {
            Readout::LastSteps(k) => k,
            _ => 1,
        };
        let mut extra = Vec::new();
        if let (true, Some(numbers)) = (skips, &self.subject.skip) {
            let shape = (1, numbers.len());
            let u = self
                .out
                .graph
                .give("u", Role::Input, none, shape, numbers.clone());
            self.out.graph.nodes[u].beside = true;
            let (w, b) = self.linear("skip", "u", outputs * k)?;
            let product = self.product(u, w, none);
            let s = self.add("s".into(), Role::Sum, vec![product, b], none);
            for i in 0..k {
                let symbol = if k == 1 {
                    "s′".to_owned()
                } else {
                    format!("s^{}", i + 1)
                };
                extra.push(self.out.graph.push(
                    symbol,
                    Role::Product,
                    none,
                    (1, outputs),
                    Rule::Slice(s, i * outputs),
                ));
            }
        }
        match readout {
            Readout::EveryStep => {
                for (t, v) in states.iter().enumerate() {
                    self.predict(*v, head, Some(t + 1), None);
                }
            }
            Readout::LastSteps(k) => {
                let first = states.len() - k;
                for (i, v) in states[first..].iter().enumerate() {
                    self.predict(*v, head, Some(first + i + 1), extra.get(i).copied());
                }
            }
            Readout::LastState => {
                let v = self.last_state(last);
                self.predict(v, head, None, extra.first().copied());
            }
            Readout::AllStates(_) => {
                let v = self.join("H", states);
                self.predict(v, head, None, extra.first().copied());
            }
        }
        Ok(())
    }

    /// Where each direction of the last layer ends, side by side: `(1, D H)`.
    fn last_state(&mut self, last: Vec<Id>) -> Id {
        match last.as_slice() {
            [one] => *one,
            _ => self.join("H", last),
        }
    }

    /// Rows side by side: `[a b ...]`.
    fn join(&mut self, symbol: &str, all: Vec<Id>) -> Id {
        let width = all.iter().map(|v| self.out.graph.width(*v)).sum();
        self.out.graph.push(
            symbol,
            Role::Join,
            Place::default(),
            (1, width),
            Rule::Join(all),
        )
    }

    /// One vector (1, I) in, a sequence of (1, O) out, each output read by the next
    /// step.
    fn one_to_many(&mut self, steps: usize, outputs: usize) -> Result<()> {
        let none = Place::default();
        let numbers = self.subject.input.row(0).to_vec();
        let shape = (1, numbers.len());
        let v = self.out.graph.give("v", Role::Input, none, shape, numbers);
        self.out.inputs.push(v);
        let layers = self.config.stack.num_layers;
        let widths = (0..layers).map(|l| Subject::output(&self.config, l));
        let widths: Vec<usize> = widths.collect();
        let (w, b) = self.linear("start", "s", widths.iter().sum())?;
        let product = self.product(v, w, none);
        let a = self.add("a_s".into(), Role::Sum, vec![product, b], none);
        let s = self.apply("s".into(), Role::State, Activation::Tanh, a, none);
        let (mut states, mut weights, mut from) = (Vec::new(), Vec::new(), 0);
        for (layer, width) in widths.iter().enumerate() {
            let before = Place {
                step: Some(0),
                layer: Some(layer),
                ..Place::default()
            };
            // The vector makes h; c begins at zeros.
            let made = |state| (state == CellState::Hidden).then_some(Rule::Slice(s, from));
            let all = self.states(layer).into_iter();
            let all = all.map(|own| self.start(before, own, made(own.0)));
            states.push(all.collect::<Vec<Id>>());
            from += width;
            weights.push(self.weights(layer, false)?);
        }
        let head = self.linear("head", "y", outputs)?;
        let zeros = vec![0.0; outputs];
        let mut x = self
            .out
            .graph
            .give("ŷ^0", Role::Start, none, (1, outputs), zeros);
        for t in 1..=steps {
            for layer in 0..layers {
                let place = Place {
                    step: Some(t),
                    layer: Some(layer),
                    ..Place::default()
                };
                let prev = states[layer].clone();
                states[layer] = self.step(&weights[layer], x, &prev, place);
                x = states[layer][0];
            }
            self.out.outputs.push(x);
            x = self.predict(x, head, Some(t), None);
        }
        Ok(())
    }

    /// Errors, (1, O) each, and the loss.
    fn loss(&mut self) {
        let (mut errors, mut at) = (Vec::new(), 0);
        for y in self.out.predictions.clone() {
            let (shape, place) = (self.out.graph.nodes[y].shape, self.out.graph.nodes[y].place);
            let mark = place.step.map_or(String::new(), |t| format!("^{t}"));
            let numbers = self.subject.target[at..at + shape.1].to_vec();
            at += shape.1;
            let target =
                self.out
                    .graph
                    .give(format!("y{mark}"), Role::Target, place, shape, numbers);
            errors.push(self.out.graph.push(
                format!("e{mark}"),
                Role::Error,
                place,
                shape,
                Rule::Difference(y, target),
            ));
        }
        let none = Place::default();
        self.out.loss =
            self.out
                .graph
                .push("L", Role::Loss, none, (1, 1), Rule::MeanSquare(errors));
    }
}

/// The forward pass of a subject that was [checked](Subject::check).
///
/// # Errors
/// Where a parameter is missing.
pub fn forward(subject: &Subject) -> Result<Forward> {
    built(subject, false)
}

/// Its values without numbers: parameters, and what steps read, hand on and
/// predict. The subject needs no parameters.
///
/// # Errors
/// The symbol of a prediction.
fn predicted(step: Option<usize>) -> String {
    step.map_or("ŷ".to_owned(), |t| format!("ŷ^{t}"))
}

/// As [`forward`].
pub fn outline(subject: &Subject) -> Result<Forward> {
    built(subject, true)
}

fn built(subject: &Subject, dry: bool) -> Result<Forward> {
    let mut builder = Builder {
        subject,
        config: subject.recurrent()?,
        out: Forward {
            graph: Graph {
                dry,
                ..Graph::default()
            },
            loss: 0,
            predictions: Vec::new(),
            named: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            starts: Vec::new(),
        },
    };
    match subject.network.config() {
        Some(NetworkConfig::Sequence(c)) => {
            builder.sequence(c.readout, c.outputs, c.skip.is_some())?;
        }
        Some(NetworkConfig::OneToMany(c)) => {
            builder.one_to_many(c.steps, c.recurrent.input_size)?;
        }
        _ => {
            subject.recurrent()?;
        }
    }
    builder.loss();
    Ok(builder.out)
}
