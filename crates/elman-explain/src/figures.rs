//! Numbers that are shown and that no single value stands behind: norms, what a
//! step back multiplies by, means, shares, finite differences. Each has its
//! formula and its operands, and says where in the document its number stands.

use crate::check::Check;
use crate::norms::{EXPLODING, Norms};
use crate::overview::{Connectivity, Heat};
use crate::text::{bracketed, fill, long, short};
use crate::trace::Step;
use crate::trace::graph::{At, Graph};
use serde::Serialize;

/// Factors of a product that are written one by one.
const WRITTEN: usize = 6;

/// The symbol of a number of connectivity: of a prediction, by an input.
pub const DERIVATIVE: &str = "‖d{0} / d{1}‖";

/// A number as it stands before a root.
fn raised(n: usize) -> String {
    let digit = |c: char| {
        "⁰¹²³⁴⁵⁶⁷⁸⁹"
            .chars()
            .nth(c.to_digit(10).unwrap_or(0) as usize)
    };
    n.to_string().chars().filter_map(digit).collect()
}

/// What a figure is computed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Operand {
    /// A number of a value: which value, and where in it.
    Value(At),
    /// Another figure, by its place in the list of figures.
    Figure(usize),
}

/// A number with its formula.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// Where its number stands in the document, as a JSON pointer. A recorded
    /// training step has its own at the same place below `/training/k`, but for
    /// `/connectivity/rows`, which is `connectivity` there, and `/heat/k/percent`,
    /// which is `percent/k`.
    pub at: String,
    /// `‖dL/dh^2‖`.
    pub symbol: String,
    /// The formula, `{k}` for its k-th operand; empty where that is told in words.
    pub template: String,
    /// What it is computed from.
    pub operands: Vec<Operand>,
    /// The formula in symbols.
    pub symbols: String,
    /// The same with the numbers.
    pub filled: String,
    /// The number; none where there is none, as of a factor where the gradient it
    /// multiplies is zero.
    pub number: Option<f64>,
    /// Whether it is of the first pass alone, and not recorded at later training
    /// steps; `filled` has then all digits.
    pub first: bool,
}

/// The figures so far.
struct Made<'a> {
    graph: &'a Graph,
    all: Vec<Figure>,
}

impl Made<'_> {
    fn symbol(&self, operand: Operand) -> String {
        match operand {
            Operand::Value(at) => self.graph.symbol_at(at),
            Operand::Figure(k) => self.all[k].symbol.clone(),
        }
    }

    fn number(&self, operand: Operand) -> Option<f64> {
        match operand {
            Operand::Value((v, i)) => Some(self.graph.nodes[v].numbers[i]),
            Operand::Figure(k) => self.all[k].number,
        }
    }

    fn add(
        &mut self,
        at: String,
        symbol: String,
        template: String,
        operands: Vec<Operand>,
        number: Option<f64>,
    ) -> Operand {
        self.push(at, symbol, template, operands, number, false)
    }

    /// A figure of the first pass alone.
    fn once(
        &mut self,
        at: &str,
        symbol: String,
        template: String,
        operands: Vec<Operand>,
        number: Option<f64>,
    ) -> Operand {
        self.push(at.to_owned(), symbol, template, operands, number, true)
    }

    fn push(
        &mut self,
        at: String,
        symbol: String,
        template: String,
        operands: Vec<Operand>,
        number: Option<f64>,
        first: bool,
    ) -> Operand {
        let symbols = operands.iter().map(|o| self.symbol(*o)).enumerate();
        let write = |(k, o): (usize, &Operand)| {
            let alone = ["({k})", "|{k}|"].map(|around| around.replace('k', &k.to_string()));
            let bare = alone.iter().any(|around| template.contains(around));
            let text = match self.number(*o) {
                None => "–".to_owned(),
                Some(x) if first && (bare || x >= 0.0) => long(x),
                Some(x) if first => format!("({})", long(x)),
                Some(x) if bare => short(x),
                Some(x) => bracketed(x),
            };
            (k, text)
        };
        let numbers = operands.iter().enumerate().map(write);
        let figure = Figure {
            symbols: fill(&template, symbols),
            filled: fill(&template, numbers),
            at,
            symbol,
            template,
            operands,
            number,
            first,
        };
        self.all.push(figure);
        Operand::Figure(self.all.len() - 1)
    }

    /// The numbers of a value.
    fn each(&self, id: usize) -> impl Iterator<Item = Operand> + use<> {
        (0..self.graph.nodes[id].numbers.len()).map(move |i| Operand::Value((id, i)))
    }

    /// Norms, the factors between them, their mean, and how far that reaches.
    fn norms(&mut self, k: usize, n: &Norms) {
        let mut lengths: Vec<[Operand; 3]> = Vec::new();
        for (t, step) in n.steps.iter().enumerate() {
            let numbers = [
                ("norm", step.norm),
                ("from_loss", step.from_loss),
                ("from_next", step.from_next),
            ];
            let mut here = [Operand::Figure(0); 3];
            for (i, (field, number)) in numbers.into_iter().enumerate() {
                let length = &step.lengths[i];
                let ids = length.of.iter().copied();
                let operands: Vec<_> = ids.flat_map(|id| self.each(id)).collect();
                let squares: Vec<_> = (0..operands.len()).map(|k| format!("{{{k}}}²")).collect();
                let template = match squares.is_empty() {
                    true => String::new(),
                    false => format!("√({})", squares.join(" + ")),
                };
                let at = format!("/norms/{k}/steps/{t}/{field}");
                here[i] = self.add(at, length.symbol.clone(), template, operands, Some(number));
            }
            lengths.push(here);
        }
        let mut factors = Vec::new();
        for (t, step) in n.steps.iter().enumerate() {
            let later = if n.reverse {
                t.checked_sub(1)
            } else {
                Some(t + 1)
            };
            let Some(later) = later.and_then(|t| lengths.get(t)) else {
                continue;
            };
            let operands = vec![lengths[t][2], later[0]];
            let at = format!("/norms/{k}/steps/{t}/factor");
            let (symbol, template) = (format!("φ^{}", step.step), "{0} / {1}".to_owned());
            let factor = self.add(at, symbol, template, operands, step.factor);
            factors.extend(step.factor.map(|_| factor));
        }
        let count = factors.len();
        if count == 0 {
            return;
        }
        let written: Vec<_> = match count {
            ..=WRITTEN => (0..count).map(|k| format!("{{{k}}}")).collect(),
            _ => vec![
                "{0}".into(),
                "{1}".into(),
                "…".into(),
                format!("{{{}}}", count - 1),
            ],
        };
        let template = match count {
            1 => "{0}".to_owned(),
            2 => format!("√({})", written.join(" · ")),
            _ => format!("{}√({})", raised(count), written.join(" · ")),
        };
        let at = format!("/norms/{k}/factor");
        let mean = self.add(at, "φ".into(), template, factors, n.factor);
        // One threshold is the other's inverse. A factor of 0 crosses it at once, and
        // has no logarithm.
        let template = match n.factor {
            Some(0.0) => String::new(),
            _ => format!("⌈ln({EXPLODING}) / |ln({{0}})|⌉"),
        };
        let crossed = n.crossed_after.map(|steps| steps as f64);
        let at = format!("/norms/{k}/crossed_after");
        self.add(at, "n".into(), template, vec![mean], crossed);
    }

    /// The share of a map that is saturated.
    fn saturated(&mut self, k: usize, h: &Heat) {
        let (Some([low, high]), Some(outside)) = (h.bounds, h.outside) else {
            return;
        };
        let all: Vec<_> = h.ids.iter().flat_map(|id| self.each(*id)).collect();
        let name = h.ids.first().map(|id| self.graph.symbol(*id));
        let name = name
            .as_deref()
            .and_then(|s| s.split('^').next())
            .unwrap_or(h.name);
        let symbol = format!("#({name} ∉ [{}, {}])", short(low), short(high));
        let template = format!("100 · {{0}} / {}", all.len());
        let at = format!("/heat/{k}/outside");
        let count = self.add(at, symbol.clone(), String::new(), all, Some(outside as f64));
        let at = format!("/heat/{k}/percent");
        self.add(at, format!("% {symbol}"), template, vec![count], h.percent);
    }

    /// The gradient of each prediction by each input.
    fn connectivity(&mut self, step: &Step, c: &Connectivity) {
        let predictions = step.forward.predictions.iter();
        let predictions: Vec<_> = predictions.flat_map(|id| self.each(*id)).collect();
        for (k, (row, y)) in c.rows.iter().zip(predictions).enumerate() {
            for (t, (x, input)) in row.iter().zip(&step.forward.inputs).enumerate() {
                let of = [c.outputs[k].clone(), self.graph.symbol(*input)];
                let symbol = fill(DERIVATIVE, of.into_iter().enumerate());
                let operands = [y].into_iter().chain(self.each(*input)).collect();
                let at = format!("/connectivity/rows/{k}/{t}");
                self.add(at, symbol, String::new(), operands, Some(*x));
            }
        }
    }

    /// The gradient that is farthest from its finite difference.
    fn check(&mut self, check: &Check) {
        let f = &check.farthest;
        let Some(derivative) = &self.graph.nodes[f.id].derivative else {
            return;
        };
        let (w, gradient) = (
            Operand::Value((derivative.of, f.place)),
            Operand::Value((f.id, f.place)),
        );
        let name = self.symbol(w);
        let moved = |made: &mut Self, sign: &str, field: &str, loss: f64| {
            let (at, symbol) = (
                format!("/check/farthest/{field}"),
                format!("L({name} {sign} e)"),
            );
            made.once(&at, symbol, String::new(), vec![w], Some(loss))
        };
        let ends = vec![
            moved(self, "+", "up", f.up),
            moved(self, "−", "down", f.down),
        ];
        let symbol = format!("ΔL/Δ{name}");
        let template = format!("({{0}} − {{1}}) / (2 · {})", long(f.by));
        let finite = self.once(
            "/check/farthest/finite",
            symbol,
            template,
            ends,
            Some(f.finite),
        );
        let (template, largest) = match f.largest {
            Some(i) => (
                "|{0} − {1}| / |{2}|".to_owned(),
                vec![Operand::Value((f.id, i))],
            ),
            None => (
                format!("|{{0}} − {{1}}| / {}", long(check.smallest)),
                Vec::new(),
            ),
        };
        let operands = [vec![gradient, finite], largest].concat();
        self.once(
            "/check/largest",
            "δ".into(),
            template,
            operands,
            Some(check.largest),
        );
    }
}

/// The figures of a step whose values are shown; those of connectivity, output
/// after output, come last.
pub fn figures(
    step: &Step,
    norms: &[Norms],
    heat: &[Heat],
    connectivity: &Connectivity,
    check: &Check,
) -> Vec<Figure> {
    let graph = &step.forward.graph;
    let mut made = Made {
        graph,
        all: Vec::new(),
    };
    for (k, n) in norms.iter().enumerate() {
        made.norms(k, n);
    }
    for (k, h) in heat.iter().enumerate() {
        made.saturated(k, h);
    }
    made.check(check);
    made.connectivity(step, connectivity);
    made.all
}
