//! A trace for a terminal of 80 columns.

use crate::norms::{Judged, Norms, Verdict};
use crate::overview::Heat;
use crate::text::{bracketed, count, given, power, short, tiny};
use crate::trace::document::{About, Pass, Value};
use crate::trace::graph::Origin;
use crate::trace::{Tensor, Trace};
use elman::{Error, Result};
use std::fmt::Write;

/// What is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Only {
    /// All of it.
    #[default]
    All,
    /// The shapes.
    Shapes,
    /// The forward pass.
    Forward,
    /// The backward pass.
    Backward,
}

/// How it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// Colours.
    pub colour: bool,
    /// Columns.
    pub width: usize,
    /// One step, counted from 1.
    pub step: Option<usize>,
    /// Every number with its formula.
    pub full: bool,
    /// A part of it.
    pub only: Only,
    /// The finite differences of every gradient, and nothing else.
    pub check: bool,
}

impl Default for View {
    fn default() -> Self {
        Self {
            colour: false,
            width: 80,
            step: None,
            full: false,
            only: Only::All,
            check: false,
        }
    }
}

impl View {
    /// Refuses what a trace does not have.
    ///
    /// # Errors
    /// A step that is not there; every number, or the check, of a step too
    /// large for it.
    pub fn check(&self, trace: &Trace) -> Result<()> {
        let steps = trace.about.steps;
        if let Some(t) = self.step.filter(|t| *t == 0 || *t > steps) {
            return Err(Error::option(format!(
                "--step: expected 1 to {steps}, counted from 1, got {t}"
            )));
        }
        let about = &trace.about;
        let flags = [
            ("--full", self.full),
            ("--check", self.check),
            ("--step", self.step.is_some()),
        ];
        for (flag, asked) in flags {
            if asked && !about.readable {
                return Err(Error::option(format!(
                    "{flag}: this training step has {} numbers, more than the {} that can be read one by one; leave it out to see heat maps of states and gates, gradient norms and connectivity instead, or {}",
                    about.numbers,
                    about.most,
                    smaller(about)
                )));
            }
        }
        Ok(())
    }
}

/// What makes a step small enough to be read.
fn smaller(about: &About) -> &'static str {
    match about.seed {
        Some(_) => "make the model or the input smaller, like --hidden 1",
        None => {
            "give the model of the file less input, or explain a small one of the same cell, like --hidden 1 without a file"
        }
    }
}

struct Text {
    out: String,
    view: View,
}

impl Text {
    fn paint(&self, code: &str, text: &str) -> String {
        if self.view.colour {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }

    fn heading(&mut self, text: &str) {
        if !self.out.is_empty() {
            self.out.push('\n');
        }
        let text = self.paint("1;36", text);
        let _ = writeln!(self.out, "{text}");
    }

    /// Words in lines of the width, each begun by spaces.
    fn words(&mut self, indent: usize, text: &str) {
        let mut line = " ".repeat(indent);
        let start = line.chars().count();
        for word in text.split(' ') {
            let length = line.chars().count();
            if length > start && length + 1 + word.chars().count() > self.view.width {
                let _ = writeln!(self.out, "{}", line.replace('\u{a0}', " "));
                line = " ".repeat(indent + 2);
            } else if length > start {
                line.push(' ');
            }
            line.push_str(word);
        }
        let _ = writeln!(self.out, "{}", line.replace('\u{a0}', " "));
    }

    /// A value: symbol, formula, shape, numbers.
    fn value(&mut self, v: &Value) {
        let shape = format!("({} × {})", v.shape[0], v.shape[1]);
        let mut head = match v.formula.is_empty() {
            true => v.symbol.clone(),
            // A product is called by its formula.
            false if v.formula == v.symbol => v.symbol.clone(),
            false => format!("{} = {}", v.symbol, v.formula),
        };
        // What single uses send from the next step stands above their sum, which says so.
        let single = |from: &Origin| v.via.is_some() && *from == Origin::Next;
        if let Some(from) = v.from.filter(|from| !single(from)) {
            let from = match from {
                Origin::Loss => "the loss here",
                Origin::Above => "the layer above",
                Origin::Inside => "the same step",
                Origin::Next => "the next step",
            };
            let _ = write!(head, "   from {from}");
        }
        let left = self.view.width.saturating_sub(3 + shape.chars().count());
        let symbol = v.symbol.clone();
        if head.chars().count() <= left {
            let gap = " ".repeat(left - head.chars().count());
            let head = head.replacen(&symbol, &self.paint("1", &symbol), 1);
            let _ = writeln!(self.out, "  {head}{gap} {}", self.paint("2", &shape));
        } else {
            self.words(2, &head);
        }
        self.numbers(v);
        if !v.finite.is_empty() {
            let apart = v.difference.map_or("–".into(), tiny);
            let finite = v.finite.iter().map(|f| f.map_or("kink".into(), short));
            let line = format!(
                "≈ {}   apart\u{a0}{apart}",
                finite.collect::<Vec<_>>().join("  ")
            );
            self.words(6, &line);
        }
        if self.view.full {
            self.elements(v);
        }
    }

    fn numbers(&mut self, v: &Value) {
        let cells: Vec<String> = v.numbers.iter().map(|x| short(*x)).collect();
        let widest = cells.iter().map(|c| c.chars().count()).max().unwrap_or(0);
        for row in cells.chunks(v.shape[1].max(1)) {
            let row: Vec<String> = row
                .iter()
                .map(|c| format!("{}{c}", " ".repeat(widest - c.chars().count())))
                .collect();
            self.words(6, &format!("[{}]", row.join("  ")).replace("[ ", "["));
        }
    }

    /// Every number: formula in symbols, in numbers, addends, result.
    fn elements(&mut self, v: &Value) {
        for (i, operands) in v.operands.iter().enumerate() {
            if operands.is_empty() {
                continue;
            }
            let mut line = format!("{} = {} = {}", v.labels[i], v.symbols[i], v.filled[i]);
            if let Some(parts) = v.parts.get(i).filter(|p| !p.is_empty()) {
                let parts: Vec<String> = parts.iter().map(|x| bracketed(*x)).collect();
                let _ = write!(line, " = {}", parts.join(" + "));
            }
            let number = short(v.numbers[i]);
            if v.filled[i] != number {
                let _ = write!(line, " = {number}");
            }
            self.words(6, &line);
        }
    }

    fn pass(&mut self, trace: &Trace, pass: Pass) {
        let mut place = None;
        let chosen: Vec<&Value> = trace
            .of(pass)
            .filter(|v| self.view.step.is_none_or(|t| v.place.step == Some(t)))
            .collect();
        for v in chosen {
            let here = v.place.step;
            if pass != Pass::Update && place != Some(here) {
                place = Some(here);
                let title = match here {
                    Some(0) => "before the first step".to_owned(),
                    Some(t) if t > trace.about.steps => {
                        "before the first step (from the end)".to_owned()
                    }
                    Some(t) => format!("step {t}"),
                    None => "whole sequence".to_owned(),
                };
                let title = self.paint("36", &title);
                let _ = writeln!(self.out, " {title}");
            }
            self.value(v);
        }
    }
}

/// The trace as text.
///
/// # Errors
/// As [`View::check`].
pub fn render(trace: &Trace, view: View) -> Result<String> {
    view.check(trace)?;
    let mut t = Text {
        out: String::new(),
        view,
    };
    if view.check {
        checked(&mut t, trace);
        return Ok(t.out);
    }
    if view.only == Only::All {
        about(&mut t, trace);
    }
    if matches!(view.only, Only::All | Only::Shapes) {
        shapes(&mut t, &trace.shapes);
    }
    if view.only == Only::Shapes {
        return Ok(t.out);
    }
    if trace.about.readable {
        if view.only == Only::All && view.step.is_none() {
            t.heading("Given");
            for v in trace.of(Pass::Given) {
                t.value(v);
            }
        }
        if view.only != Only::Backward {
            t.heading("Forward");
            t.pass(trace, Pass::Forward);
        }
        if view.only != Only::Forward {
            t.heading("Backward: the chain rule, from the loss to every parameter");
            t.words(2, "Below each gradient: ≈ its finite differences.");
            t.pass(trace, Pass::Backward);
        }
        if view.only == Only::All && view.step.is_none() {
            t.heading("Update: w ← w − learning rate · dL/dw");
            t.pass(trace, Pass::Update);
        }
    }
    if view.only != Only::Forward && view.step.is_none() {
        norms(&mut t, trace);
    }
    if view.only != Only::Backward && !trace.about.readable {
        heat(&mut t, trace);
        connectivity(&mut t, trace);
    }
    if view.only == Only::All && view.step.is_none() {
        training(&mut t, trace);
    }
    Ok(t.out)
}

fn about(t: &mut Text, trace: &Trace) {
    let a = &trace.about;
    t.heading(&format!("{}, {}", a.network, a.configuration));
    // What a forecaster reads has been scaled in single precision.
    let one = |x: &f64| match a.forecast {
        Some(_) => short(*x),
        None => given(*x),
    };
    let steps = a
        .input
        .iter()
        .map(|r| r.iter().map(one).collect::<Vec<_>>().join(" "));
    let steps: Vec<String> = steps.collect();
    let several = a.input.iter().any(|r| r.len() > 1);
    let input = steps.join(if several { ", " } else { " " });
    let target: Vec<String> = a.target.iter().map(one).collect();
    let prediction: Vec<String> = a.prediction.iter().map(|x| short(*x)).collect();
    if a.readable {
        t.words(
            2,
            &format!(
                "[{input}] → [{}], predicted [{}]",
                target.join(" "),
                prediction.join(" ")
            ),
        );
    } else {
        t.words(
            2,
            &format!(
                "{} of input, {} predicted",
                count(a.input.len(), "step"),
                count(a.target.len(), "number")
            ),
        );
    }
    let seed = a.seed.map_or(String::new(), |s| {
        format!(", parameters as PyTorch draws them with seed {s}")
    });
    let scale = given(a.scale);
    t.words(
        2,
        &format!(
            "divided by {scale} before they enter; learning rate {}{seed}",
            short(a.lr)
        ),
    );
    t.words(
        2,
        &format!(
            "loss {}, after one update {}",
            short(a.loss),
            a.loss_after.map_or("no finite number".into(), short)
        ),
    );
    for note in &a.notes {
        t.words(2, &note.text);
    }
    if !a.readable {
        t.words(2, &format!(
            "{} numbers are more than the {} that can be read one by one: heat maps and norms in their place; --json has every state, gate and norm; to see every number with its formula, {}",
            a.numbers, a.most, smaller(a)
        ));
    }
}

/// The tensors alone.
pub fn tensors(all: &[Tensor], view: View) -> String {
    let mut t = Text {
        out: String::new(),
        view,
    };
    shapes(&mut t, all);
    t.out
}

fn shapes(t: &mut Text, all: &[Tensor]) {
    t.heading("Shapes, in PyTorch with batch_first=True");
    for s in all {
        let dims: Vec<String> = s.shape.iter().map(ToString::to_string).collect();
        let symbols = match s.rows.as_slice() {
            [] => s.shown().join(" "),
            rows => {
                let both = s.symbols.iter().zip(rows);
                let parts = both.map(|(s, [first, last])| format!("{first}–{last} {s}"));
                format!("rows {}", parts.collect::<Vec<_>>().join(", "))
            }
        };
        let line = format!(
            "{:24} {:12} {:14} {symbols}",
            s.name,
            dims.join(" × "),
            s.letters
        );
        if line.chars().count() + 2 <= t.view.width {
            let _ = writeln!(t.out, "  {}", line.trim_end());
        } else {
            let bare = line.trim_end().trim_end_matches(&symbols);
            let _ = writeln!(t.out, "  {}", bare.trim_end());
            t.words(6, &symbols);
        }
        if let Some(own) = &s.stored {
            t.words(6, &format!("in the file {own}"));
        }
    }
    t.words(2, "h_0 and h_n stay (L·D, B, H) whatever batch_first says. Weights are shown transposed: rows for what is read, columns for units.");
}

/// A norm's place in the network.
fn whose(n: &Norms, trace: &Trace) -> String {
    let layer = if trace.about.layers > 1 {
        format!(" of layer {}", n.layer)
    } else {
        String::new()
    };
    let reverse = if n.reverse { ", from the end" } else { "" };
    format!("dL/d{}{layer}{reverse}", n.state.symbol())
}

fn word(v: Verdict) -> &'static str {
    match v {
        Verdict::NoGradient => "no gradient",
        Verdict::Vanishing => "vanishing",
        Verdict::Healthy => "healthy",
        Verdict::Exploding => "exploding",
    }
}

/// Steps of a table of norms at most.
const ROWS: usize = 24;

fn norms(t: &mut Text, trace: &Trace) {
    t.heading("How large the gradient is at every step");
    for n in &trace.norms {
        let title = whose(n, trace);
        let mark = match n.verdict {
            Verdict::Healthy => "32",
            _ => "31",
        };
        let verdict = t.paint(mark, word(n.verdict));
        let _ = writeln!(t.out, "  {title}: {verdict}");
        let _ = writeln!(
            t.out,
            "    step        norm   this step   next step   a step back   verdict"
        );
        // Every step, or as many at equal distances as can be read.
        let every = match t.view.full {
            true => 1,
            false => n.steps.len().div_ceil(ROWS),
        };
        for s in n.steps.iter().rev().step_by(every).rev() {
            let factor = s
                .factor
                .map_or("–".to_owned(), |f| format!("× {}", short(f)));
            let _ = writeln!(
                t.out,
                "    {:>4}  {:>10}  {:>10}  {:>10}  {:>12}   {}",
                s.step,
                short(s.norm),
                short(s.from_loss),
                short(s.from_next),
                factor,
                word(s.verdict)
            );
        }
        if every > 1 {
            let all = if trace.about.readable {
                "--full shows"
            } else {
                "--json has"
            };
            let line = format!(
                "One of {every} steps is shown; {all} all {}.",
                n.steps.len()
            );
            t.words(4, &line);
        }
        let [low, high] = n.thresholds.map(power);
        let why = match (n.factor, n.crossed_after) {
            (Some(f), Some(steps)) => {
                let (than, bound) = if f < 1.0 {
                    ("less", &low)
                } else {
                    ("more", &high)
                };
                let (along, enters) = match n.enters {
                    Origin::Inside => (" along c", "dL/dc at a step through h"),
                    Origin::Above => ("", "from the layer above at a step"),
                    _ => ("", "from the loss at a step"),
                };
                format!(
                    "A step back{along} multiplies by {} on average: what enters {enters} is {than} than {bound} of itself {} earlier.",
                    short(f),
                    count(steps, "step")
                )
            }
            (Some(f), None) => format!(
                "A step back multiplies by {} on average, so nothing is lost.",
                short(f)
            ),
            _ if n.steps.len() > 1 => {
                "The gradient is zero, so there is nothing to judge by.".to_owned()
            }
            _ => "There is no step back to judge by.".to_owned(),
        };
        t.words(4, &format!("Vanishing: the factors up to a step multiply to less than {low}; exploding: to more than {high}. {why}"));
        if trace.about.configuration == "one-to-many" && n.enters == Origin::Loss {
            t.words(4, "What comes back through the prediction, which the next step reads, counts as of this step.");
        }
        if n.reverse {
            t.words(4, "This direction goes from the end: its next step is the one before in time, its last one step 1.");
        }
        if n.state == Judged::Both {
            t.words(4, "d(h, c) is what a step hands on: dL/dh, and of dL/dc what comes from the next step, as the rest comes through h.");
        }
        if n.steps.iter().any(|s| s.verdict == Verdict::NoGradient) {
            t.words(
                4,
                "No gradient: it is exactly zero, as nothing arrives that could vanish.",
            );
        }
    }
}

fn heat(t: &mut Text, trace: &Trace) {
    t.heading("States and gates over time: a line each unit, steps to the right");
    for h in &trace.heat {
        let layer = format!(
            "{} of layer {}{}",
            h.name,
            h.layer,
            if h.reverse { ", from the end" } else { "" }
        );
        let saturated = h
            .percent
            .map_or(String::new(), |s| format!(", {} % saturated", short(s)));
        let [low, high] = h.span;
        let _ = writeln!(
            t.out,
            "  {layer}, {} to {}{saturated}",
            short(low),
            short(high)
        );
        for line in lines(t, h) {
            let _ = writeln!(t.out, "    {line}");
        }
    }
    let [above, below] = [ABOVE, BELOW].map(|ramp| ramp.iter().collect::<String>());
    let [above, below] = [t.paint(UP, &above), t.paint(DOWN, &below)];
    t.words(2, &format!(
        "Positive {above}, negative {below}, zero blank: a shade for each quarter of the range beside the name."
    ));
    let steps = trace.heat.iter().map(|h| h.levels.len()).max();
    cut(t, steps.unwrap_or(0), t.view.width - 4);
}

/// Says that a map is wider than the terminal, where it is.
fn cut(t: &mut Text, steps: usize, width: usize) {
    if steps > width {
        t.words(
            2,
            &format!("Shown are the last {width} of {steps}; --json has all."),
        );
    }
}

/// The last of a row that fit.
fn newest<T>(row: &[T], width: usize) -> &[T] {
    &row[row.len().saturating_sub(width)..]
}

/// The first units of a heat map, in the shades that a terminal has.
fn lines(t: &Text, h: &Heat) -> Vec<String> {
    const UNITS: usize = 12;
    let units = h.levels.first().map_or(0, Vec::len);
    let rows = newest(&h.levels, t.view.width - 4);
    let line = |u: usize| -> String {
        // What has the same sign is painted at once.
        let runs = rows.chunk_by(|a, b| a[u].signum() == b[u].signum());
        let each = runs.map(|run| {
            let shades: String = run.iter().map(|row| shade(row[u])).collect();
            match run[0][u] {
                0 => shades,
                level => t.paint(if level > 0 { UP } else { DOWN }, &shades),
            }
        });
        each.collect()
    };
    let mut lines: Vec<String> = (0..units.min(UNITS)).map(line).collect();
    if units > UNITS {
        lines.push(format!("… {} units in all", units));
    }
    lines
}

fn connectivity(t: &mut Text, trace: &Trace) {
    t.heading("Which input a prediction listens to: |dŷ/dx^t|, steps to the right");
    shaded(t, &trace.connectivity.outputs, &trace.connectivity.levels);
    t.words(
        2,
        &format!(
            "░▒▓█ are quarters of the largest, {}.",
            short(trace.connectivity.largest)
        ),
    );
    let Some(beside) = &trace.connectivity.beside else {
        return;
    };
    t.heading("The same through the skip connection: its weights, the numbers to the right");
    shaded(t, &trace.connectivity.outputs, &beside.levels);
    t.words(
        2,
        &format!(
            "░▒▓█ are quarters of the largest, {}.",
            short(beside.largest)
        ),
    );
}

/// A line of shades for each output.
fn shaded(t: &mut Text, outputs: &[String], levels: &[Vec<u8>]) {
    let width = t.view.width - 12;
    for (name, levels) in outputs.iter().zip(levels) {
        let shades = newest(levels, width).iter().map(|l| shade(*l as i8));
        let shades: String = shades.collect();
        let _ = writeln!(t.out, "  {name:6} {shades}");
    }
    cut(t, levels.first().map_or(0, Vec::len), width);
}

/// The shades above zero, from light to dark.
const ABOVE: [char; 4] = ['░', '▒', '▓', '█'];
/// Those below: without colours the sign is to be seen, too.
const BELOW: [char; 4] = ['.', ':', '=', '#'];
/// The colours of both.
const UP: &str = "31";
/// Of those below zero.
const DOWN: &str = "34";

/// A shade that a terminal has.
fn shade(level: i8) -> char {
    let ramp = if level < 0 { BELOW } else { ABOVE };
    match usize::from(level.unsigned_abs()) {
        0 => ' ',
        size => ramp[size.min(ramp.len()) - 1],
    }
}

fn training(t: &mut Text, trace: &Trace) {
    t.heading("Gradient descent goes on, on the same sequence");
    let last = trace.training.len().saturating_sub(1);
    let chosen = |step| t.view.full || [0, 1, 2, 5, 10, 20, 40, last].contains(&step);
    let frames: Vec<_> = trace.training.iter().filter(|f| chosen(f.step)).collect();
    for frame in frames {
        let _ = writeln!(
            t.out,
            "  after {:3} {:6} loss {}",
            frame.step,
            if frame.step == 1 { "step:" } else { "steps:" },
            short(frame.loss)
        );
    }
}

fn checked(t: &mut Text, trace: &Trace) {
    let Some(check) = &trace.check else { return };
    t.heading("Every gradient beside its central finite difference");
    for v in trace.of(Pass::Backward).filter(|v| !v.finite.is_empty()) {
        let apart = v.difference.map_or("kinks".into(), tiny);
        let width = t.view.width.saturating_sub(14);
        let _ = writeln!(t.out, "  {:width$} {apart}", v.symbol);
    }
    let kinks = match check.skipped {
        0 => String::new(),
        n => format!(", {n} at a kink left out"),
    };
    t.words(2, &format!(
        "{} gradients{kinks}; step {} · max(1, |w|); max|a − b| / max|b| over a tensor, whose largest counts as {} at least",
        check.numbers, power(check.step), power(check.smallest)
    ));
    // For programs, too: as they write a number.
    let _ = writeln!(t.out, "largest relative difference: {:.1e}", check.largest);
}
