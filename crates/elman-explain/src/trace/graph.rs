//! A training step as a list of values, each computed from earlier ones by a
//! rule. The formula that is shown, the operands that light up and the number
//! itself all come from the same [`Element`].

use crate::text::rate;
use elman::cell::Activation;

/// Place of a value in its [`Graph`].
pub type Id = usize;

/// A number of a value: which value, and where in it.
pub type At = (Id, usize);

/// What a value is to the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The input of a step, or a vector beside the sequence.
    Input,
    /// What the prediction should be.
    Target,
    /// A parameter, or the rows of one gate of a parameter.
    Parameter,
    /// A state before the first step.
    Start,
    /// A product, before it is summed.
    Product,
    /// A sum before its activation.
    Sum,
    /// A gate.
    Gate,
    /// A state, `h` or `c`.
    State,
    /// States side by side.
    Join,
    /// A prediction.
    Prediction,
    /// Prediction minus target.
    Error,
    /// The loss.
    Loss,
    /// The derivative of the loss.
    Gradient,
    /// A part of such a derivative.
    Share,
    /// A parameter after the update.
    Updated,
}

/// Where a part of a gradient comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// From the loss at this step, through the head.
    Loss,
    /// From the layer above, at this step.
    Above,
    /// From the same cell, at this step.
    Inside,
    /// From the next step that the cell has taken.
    Next,
}

impl Origin {
    /// The word in a part's symbol.
    pub fn word(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Above => "above",
            Self::Inside => "here",
            Self::Next => "next",
        }
    }
}

/// One of the states that a cell hands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CellState {
    /// The hidden state `h`.
    Hidden,
    /// An LSTM's cell state `c`.
    Cell,
}

impl CellState {
    /// Its letter in symbols, and its name in the engine's trace.
    pub fn letter(self) -> &'static str {
        match self {
            Self::Hidden => "h",
            Self::Cell => "c",
        }
    }
}

/// What a cell computes at a step and the engine traces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A GRU's reset gate.
    Reset,
    /// A GRU's update gate.
    Update,
    /// A GRU's candidate.
    New,
    /// What the state gives to a GRU's candidate.
    Recalled,
    /// An LSTM's input gate.
    Input,
    /// An LSTM's forget gate.
    Forget,
    /// An LSTM's candidate.
    Candidate,
    /// An LSTM's output gate.
    Output,
    /// What an LSTM projects.
    Projected,
    /// A state.
    State(CellState),
}

impl Part {
    /// Its name in the engine's trace.
    pub fn traced(self) -> &'static str {
        match self {
            Self::Recalled => "hn",
            other => other.letter(),
        }
    }

    /// Its letter in formulas.
    pub fn letter(self) -> &'static str {
        match self {
            Self::Reset => "r",
            Self::Update => "z",
            Self::New => "n",
            Self::Recalled => "q",
            Self::Input => "i",
            Self::Forget => "f",
            Self::Candidate => "g",
            Self::Output => "o",
            Self::Projected => "m",
            Self::State(state) => state.letter(),
        }
    }
}

/// Which uses of a value a gradient counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Counts {
    /// All of them: the whole gradient.
    All,
    /// Those from one side.
    From(Origin, Vec<Id>),
    /// One of several from a side.
    Use(Origin, Id),
}

impl Counts {
    /// Where it comes from; none of the whole.
    pub fn origin(&self) -> Option<Origin> {
        match self {
            Self::All => None,
            Self::From(origin, _) | Self::Use(origin, _) => Some(*origin),
        }
    }

    /// The uses; none where it counts all of them.
    pub fn readers(&self) -> Option<&[Id]> {
        match self {
            Self::All => None,
            Self::From(_, uses) => Some(uses),
            Self::Use(_, by) => Some(std::slice::from_ref(by)),
        }
    }
}

/// What a gradient is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Derivative {
    /// The value.
    pub of: Id,
    /// Which of its uses are counted.
    pub counts: Counts,
}

/// Where the numbers of a shown parameter are in its tensor: the rows of one
/// gate, transposed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The parameter's name.
    pub name: String,
    /// Columns of the tensor; 1 of a bias.
    pub columns: usize,
    /// Rows that are shown.
    pub rows: usize,
    /// The first of them.
    pub first: usize,
}

impl Source {
    /// The place in the row-major tensor of each shown number, (columns, rows).
    pub fn index(&self) -> impl Iterator<Item = usize> + '_ {
        let column = move |i| (0..self.rows).map(move |j| (self.first + j) * self.columns + i);
        (0..self.columns).flat_map(column)
    }
}

/// Where in the network a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Place {
    /// The step in time, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<usize>,
    /// The recurrent layer, counted from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer: Option<usize>,
    /// The direction that goes from the end.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub reverse: bool,
    /// The outputs of a layer, both directions side by side.
    #[serde(skip)]
    pub join: bool,
}

/// How a value is computed; shapes are (rows, columns).
#[derive(Debug, Clone, PartialEq)]
pub enum Rule {
    /// It is given.
    Given,
    /// Nothing arrives: zeros.
    Nothing,
    /// A row times a matrix.
    Product(Id, Id),
    /// Element by element.
    Sum(Vec<Id>),
    /// Element by element.
    Times(Id, Id),
    /// Element by element.
    Apply(Activation, Id),
    /// `1 - x`.
    OneMinus(Id),
    /// Side by side in one row.
    Join(Vec<Id>),
    /// Columns of a row, from one on.
    Slice(Id, usize),
    /// `a - b`.
    Difference(Id, Id),
    /// The mean of the squares of all numbers of these.
    MeanSquare(Vec<Id>),
    /// The derivative of that mean by one of the numbers; how many there are.
    ErrorSlope(Id, usize),
    /// A row times a transposed matrix: `d W^T`.
    Back(Id, Id),
    /// `v^T d`.
    Outer(Id, Id),
    /// `d f'(x)`, where `y = f(x)`.
    Slope(Activation, Id, Id),
    /// `-d`.
    Negative(Id),
    /// What arrives at a row of which these are slices: each with its first
    /// column.
    Scatter(Vec<(Id, usize)>),
    /// `w - rate g`.
    Step(Id, Id, f64),
}

/// One number's formula.
#[derive(Debug, Clone, PartialEq)]
pub enum Element {
    /// Given.
    Given,
    /// Zero.
    Nothing,
    /// `a b + c d + ...`
    Products(Vec<(At, At)>),
    /// `a + b + ...`
    Sum(Vec<At>),
    /// `f(a)`
    Apply(Activation, At),
    /// `1 - a`
    OneMinus(At),
    /// `a - b`
    Difference(At, At),
    /// `(a^2 + ...) / n`
    MeanSquare(Vec<At>),
    /// `2 a / n`
    ErrorSlope(At, usize),
    /// `d f'(y)`
    Slope(Activation, At, At),
    /// `-a`
    Negative(At),
    /// `w - rate g`
    Step(At, At, f64),
}

impl Element {
    /// The numbers it is computed from, in the order of the formula.
    pub fn operands(&self) -> Vec<At> {
        match self {
            Self::Given | Self::Nothing => Vec::new(),
            Self::Products(pairs) => pairs.iter().flat_map(|(a, b)| [*a, *b]).collect(),
            Self::Sum(all) | Self::MeanSquare(all) => all.clone(),
            Self::Apply(_, a) | Self::OneMinus(a) | Self::ErrorSlope(a, _) | Self::Negative(a) => {
                vec![*a]
            }
            Self::Difference(a, b) | Self::Slope(_, a, b) | Self::Step(a, b, _) => vec![*a, *b],
        }
    }

    /// The formula, with `{k}` for the k-th operand.
    pub fn template(&self) -> String {
        let many = |n: usize, f: &dyn Fn(usize) -> String| -> String {
            (0..n).map(f).collect::<Vec<_>>().join(" + ")
        };
        match self {
            Self::Given => String::new(),
            Self::Nothing => "0".into(),
            Self::Products(pairs) => many(pairs.len(), &|k| {
                format!("{{{}}} · {{{}}}", 2 * k, 2 * k + 1)
            }),
            Self::Sum(all) => many(all.len(), &|k| format!("{{{k}}}")),
            Self::Apply(f, _) => match f {
                Activation::Identity => "{0}".into(),
                Activation::Sigmoid => "σ({0})".into(),
                Activation::Relu => "max({0}, 0)".into(),
                other => format!("{}({{0}})", other.name()),
            },
            Self::OneMinus(_) => "1 − {0}".into(),
            Self::Difference(..) => "{0} − {1}".into(),
            Self::MeanSquare(all) if all.len() == 1 => "{0}²".into(),
            Self::MeanSquare(all) => {
                let squares = many(all.len(), &|k| format!("{{{k}}}²"));
                format!("({squares}) / {}", all.len())
            }
            Self::ErrorSlope(_, 1) => "2 · {0}".into(),
            Self::ErrorSlope(_, n) => format!("2 · {{0}} / {n}"),
            Self::Slope(f, ..) => match f {
                Activation::Identity => "{0}".into(),
                Activation::Tanh => "{0} · (1 − {1}²)".into(),
                Activation::Sigmoid => "{0} · {1} · (1 − {1})".into(),
                Activation::Relu => "{0} · (1 if {1} > 0 else 0)".into(),
                other => format!("{{0}} · {}'({{1}})", other.name()),
            },
            Self::Negative(_) => "−{0}".into(),
            Self::Step(_, _, r) => format!("{{0}} − {} · {{1}}", rate(*r)),
        }
    }

    /// The addends of a sum of several products; of all else nothing.
    pub fn parts(&self, get: impl Fn(At) -> f64) -> Vec<f64> {
        match self {
            Self::Products(pairs) if pairs.len() > 1 => {
                pairs.iter().map(|(a, b)| get(*a) * get(*b)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The number; `given` where nothing computes it.
    pub fn number(&self, given: f64, get: impl Fn(At) -> f64) -> f64 {
        match self {
            Self::Given => given,
            Self::Nothing => 0.0,
            Self::Products(pairs) => pairs
                .iter()
                .fold(0.0, |sum, (a, b)| get(*a).mul_add(get(*b), sum)),
            Self::Sum(all) => all.iter().map(|a| get(*a)).sum(),
            Self::Apply(f, a) => f.value(get(*a)),
            Self::OneMinus(a) => 1.0 - get(*a),
            Self::Difference(a, b) => get(*a) - get(*b),
            Self::MeanSquare(all) => {
                all.iter().map(|a| get(*a) * get(*a)).sum::<f64>() / all.len() as f64
            }
            Self::ErrorSlope(a, n) => 2.0 * get(*a) / *n as f64,
            Self::Slope(f, d, y) => get(*d) * f.slope(get(*y)),
            Self::Negative(a) => -get(*a),
            Self::Step(w, g, rate) => get(*w) - rate * get(*g),
        }
    }
}

/// A value of a training step.
#[derive(Debug, Clone)]
pub struct Node {
    /// `h^2`, `W_x`, `dL/dh^2`.
    pub symbol: String,
    /// What it is.
    pub role: Role,
    /// Where it is.
    pub place: Place,
    /// Rows and columns.
    pub shape: (usize, usize),
    /// How it is computed.
    pub rule: Rule,
    /// The numbers, row-major.
    pub numbers: Vec<f64>,
    /// Of a state of a cell, or of what stands before its first step: which.
    pub state: Option<CellState>,
    /// Of a gradient: what it is of.
    pub derivative: Option<Derivative>,
    /// The parameter it shows.
    pub source: Option<Source>,
    /// An input that stands beside the sequence: what a skip connection reads.
    pub beside: bool,
    /// A weight matrix, or what has its shape: its numbers have two indices even
    /// where it has one row only.
    pub matrix: bool,
}

/// All values of a training step, each after those it is computed from.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    /// The values.
    pub nodes: Vec<Node>,
    /// Whether they have no numbers: an outline, for names and shapes alone.
    pub dry: bool,
}

impl Graph {
    /// Appends a value and computes it.
    pub fn push(
        &mut self,
        symbol: impl Into<String>,
        role: Role,
        place: Place,
        shape: (usize, usize),
        rule: Rule,
    ) -> Id {
        let id = self.nodes.len();
        self.nodes.push(Node {
            symbol: symbol.into(),
            role,
            place,
            shape,
            rule,
            numbers: Vec::new(),
            state: None,
            derivative: None,
            source: None,
            beside: false,
            matrix: false,
        });
        if self.dry {
            return id;
        }
        let get = |(v, i): At| self.nodes[v].numbers[i];
        let numbers = (0..shape.0 * shape.1).map(|i| self.element(id, i).number(0.0, get));
        self.nodes[id].numbers = numbers.collect();
        id
    }

    /// Appends a value that is given.
    pub fn give(
        &mut self,
        symbol: impl Into<String>,
        role: Role,
        place: Place,
        shape: (usize, usize),
        numbers: Vec<f64>,
    ) -> Id {
        let id = self.push(symbol, role, place, (0, 0), Rule::Given);
        self.nodes[id].shape = shape;
        self.nodes[id].numbers = numbers;
        id
    }

    /// Numbers of all values.
    pub fn numbers(&self) -> usize {
        self.nodes.iter().map(|n| n.numbers.len()).sum()
    }

    /// Columns of a value.
    pub fn width(&self, id: Id) -> usize {
        self.nodes[id].shape.1
    }

    /// How number `i` of a value is computed.
    pub fn element(&self, id: Id, i: usize) -> Element {
        let node = &self.nodes[id];
        let (row, column) = (i / node.shape.1, i % node.shape.1);
        match &node.rule {
            Rule::Given => Element::Given,
            Rule::Nothing => Element::Nothing,
            Rule::Product(v, w) => {
                let wide = self.width(*w);
                let pairs = (0..self.width(*v)).map(|k| ((*v, k), (*w, k * wide + column)));
                Element::Products(pairs.collect())
            }
            Rule::Back(d, w) => {
                let wide = self.width(*w);
                let pairs = (0..wide).map(|k| ((*d, k), (*w, column * wide + k)));
                Element::Products(pairs.collect())
            }
            Rule::Outer(v, d) => Element::Products(vec![((*v, row), (*d, column))]),
            Rule::Sum(all) => Element::Sum(all.iter().map(|v| (*v, i)).collect()),
            Rule::Times(a, b) => Element::Products(vec![((*a, i), (*b, i))]),
            Rule::Apply(f, x) => Element::Apply(*f, (*x, i)),
            Rule::OneMinus(x) => Element::OneMinus((*x, i)),
            Rule::Join(all) => {
                let mut start = 0;
                for v in all {
                    if i < start + self.width(*v) {
                        return Element::Sum(vec![(*v, i - start)]);
                    }
                    start += self.width(*v);
                }
                Element::Nothing
            }
            Rule::Slice(v, start) => Element::Sum(vec![(*v, start + i)]),
            Rule::Difference(a, b) => Element::Difference((*a, i), (*b, i)),
            Rule::MeanSquare(all) => {
                let places = all
                    .iter()
                    .flat_map(|v| (0..self.nodes[*v].numbers.len()).map(move |i| (*v, i)));
                Element::MeanSquare(places.collect())
            }
            Rule::ErrorSlope(e, n) => Element::ErrorSlope((*e, i), *n),
            Rule::Slope(f, d, y) => Element::Slope(*f, (*d, i), (*y, i)),
            Rule::Negative(d) => Element::Negative((*d, i)),
            Rule::Scatter(all) => {
                let there = all
                    .iter()
                    .filter(|(v, start)| (*start..start + self.width(*v)).contains(&i))
                    .map(|(v, start)| (*v, i - start));
                match there.collect::<Vec<_>>() {
                    none if none.is_empty() => Element::Nothing,
                    some => Element::Sum(some),
                }
            }
            Rule::Step(w, g, rate) => Element::Step((*w, i), (*g, i), *rate),
        }
    }

    /// The values that a rule reads.
    pub fn reads(&self, id: Id) -> Vec<Id> {
        match &self.nodes[id].rule {
            Rule::Given | Rule::Nothing => Vec::new(),
            Rule::Sum(all) | Rule::Join(all) | Rule::MeanSquare(all) => all.clone(),
            Rule::Scatter(all) => all.iter().map(|(v, _)| *v).collect(),
            Rule::Apply(_, a)
            | Rule::OneMinus(a)
            | Rule::Slice(a, _)
            | Rule::ErrorSlope(a, _)
            | Rule::Negative(a) => vec![*a],
            Rule::Product(a, b)
            | Rule::Times(a, b)
            | Rule::Difference(a, b)
            | Rule::Back(a, b)
            | Rule::Outer(a, b)
            | Rule::Slope(_, a, b)
            | Rule::Step(a, b, _) => vec![*a, *b],
        }
    }

    /// The formula of a whole value, in symbols.
    pub fn formula(&self, id: Id) -> String {
        let s = |v: &Id| self.symbol(*v);
        match &self.nodes[id].rule {
            Rule::Given => String::new(),
            Rule::Nothing => "0".into(),
            Rule::Product(v, w) => format!("{} {}", s(v), s(w)),
            Rule::Sum(all) => all.iter().map(s).collect::<Vec<_>>().join(" + "),
            Rule::Times(a, b) => format!("{} ∘ {}", s(a), s(b)),
            Rule::Apply(f, x) => match f {
                Activation::Identity => s(x),
                Activation::Sigmoid => format!("σ({})", s(x)),
                other => format!("{}({})", other.name(), s(x)),
            },
            Rule::OneMinus(x) => format!("1 − {}", s(x)),
            Rule::Join(all) => format!("[{}]", all.iter().map(s).collect::<Vec<_>>().join(" ")),
            Rule::Slice(v, start) => {
                format!("{}[{}..{}]", s(v), start + 1, start + self.width(id))
            }
            Rule::Difference(a, b) => format!("{} − {}", s(a), s(b)),
            Rule::MeanSquare(all) => match self.element(id, 0).operands().len() {
                1 => format!("({})²", s(&all[0])),
                n => {
                    let squares = all.iter().map(|v| format!("({})²", s(v)));
                    format!("({}) / {n}", squares.collect::<Vec<_>>().join(" + "))
                }
            },
            Rule::ErrorSlope(e, 1) => format!("2 ({})", s(e)),
            Rule::ErrorSlope(e, n) => format!("2 ({}) / {n}", s(e)),
            Rule::Back(d, w) => format!("{} {}ᵀ", s(d), s(w)),
            Rule::Outer(v, d) => format!("({})ᵀ {}", s(v), s(d)),
            Rule::Slope(f, d, y) => match f {
                Activation::Identity => s(d),
                Activation::Tanh => format!("{} ∘ (1 − ({})²)", s(d), s(y)),
                Activation::Sigmoid => format!("{} ∘ {} ∘ (1 − {})", s(d), s(y), s(y)),
                other => format!("{} ∘ {}'({})", s(d), other.name(), s(y)),
            },
            Rule::Negative(d) => format!("−{}", s(d)),
            Rule::Scatter(all) => {
                let all: Vec<_> = all.iter().map(|(v, _)| s(v)).collect();
                format!("[{}]", all.join(" "))
            }
            Rule::Step(w, g, r) => format!("{} − {} {}", s(w), rate(*r), s(g)),
        }
    }

    /// The symbol of a value; a product is called by its factors.
    pub fn symbol(&self, id: Id) -> String {
        self.nodes[id].symbol.clone()
    }

    /// The symbol of one number, counted from 1 as in formulas.
    pub fn symbol_at(&self, (id, i): At) -> String {
        let node = &self.nodes[id];
        let name = self.symbol(id);
        let name = match node.role {
            Role::Product => format!("({name})"),
            _ => name,
        };
        match node.shape {
            (1, 1) => name,
            (1, _) if !node.matrix => format!("{name}[{}]", i + 1),
            (_, n) => format!("{name}[{},{}]", i / n + 1, i % n + 1),
        }
    }

    /// The forward values that read each value, in order.
    pub fn uses(&self) -> Vec<Vec<Id>> {
        let mut uses = vec![Vec::new(); self.nodes.len()];
        for id in 0..self.nodes.len() {
            for v in self.reads(id) {
                if uses[v].last() != Some(&id) {
                    uses[v].push(id);
                }
            }
        }
        uses
    }

    /// The loss, recomputed with one number of a value changed, as only
    /// `readers` see it (`None`: all), and every number given to `given` read
    /// from there. Values up to `loss` are looked at.
    pub fn loss_with(&self, loss: Id, (v, i): At, by: f64, readers: Option<&[Id]>) -> f64 {
        let mut changed: Vec<Option<Vec<f64>>> = vec![None; loss + 1];
        for id in v + 1..=loss {
            let reads = self.reads(id);
            let sees = reads.contains(&v) && readers.is_none_or(|r| r.contains(&id));
            if !sees && !reads.iter().any(|r| changed[*r].is_some()) {
                continue;
            }
            let get = |(at, k): At| {
                if at == v {
                    let x = self.nodes[v].numbers[k];
                    return if sees && k == i { x + by } else { x };
                }
                changed[at].as_ref().unwrap_or(&self.nodes[at].numbers)[k]
            };
            let numbers = (0..self.nodes[id].numbers.len())
                .map(|k| self.element(id, k).number(self.nodes[id].numbers[k], get));
            changed[id] = Some(numbers.collect());
        }
        match &changed[loss] {
            Some(numbers) => numbers[0],
            None => self.nodes[loss].numbers[0],
        }
    }
}
