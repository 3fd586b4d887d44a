//! What the page's script reads: the trace, each thing said once and in few
//! bytes. Labels follow from symbols and shapes, and numbers are written by
//! [`packed`].

use crate::figures::{DERIVATIVE, Figure, Operand};
use crate::landscape::{Curve, Point};
use crate::norms::{Norms, Verdict};
use crate::overview::Heat;
use crate::trace::document::{Frame, Value};
use crate::trace::{Tensor, Trace};
use serde::Serialize;
use serde_json::{Value as Json, json};

/// The digits of [`packed`]: base64's, without what JSON or HTML would escape.
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-";
/// Added to the five digits of a number, so that none is negative.
const MIDDLE: i64 = 1 << 17;
/// Added to its power of ten.
const POWER: i64 = 1 << 10;
/// The power of what is no number.
const NONE: i64 = (1 << 12) - 1;

/// Heat maps, and norms over the steps, that a page has at most.
const MAPS: usize = 48;
/// Cells of all heat maps together, and of the map of connectivity.
const CELLS: [usize; 2] = [40_000, 20_000];
/// Steps of a heat map, the newest ones.
const STEPS: usize = 400;
/// Steps of all norms together.
const NORMS: usize = 10_000;

/// Numbers to the five digits that are shown, five characters each: of 30 bits
/// the lower 18 are the digits, plus 2^17, the upper 12 the power of ten, plus
/// 2^10. What is not finite is none.
pub fn packed(numbers: impl IntoIterator<Item = f64>) -> String {
    let mut text = String::new();
    for x in numbers {
        let (digits, power) = five_digits(x).unwrap_or((0, NONE - POWER));
        let bits = (power + POWER) << 18 | (digits + MIDDLE);
        for k in (0..5).rev() {
            text.push(char::from(DIGITS[(bits >> (6 * k) & 63) as usize]));
        }
    }
    text
}

/// `digits * 10^power`.
fn five_digits(x: f64) -> Option<(i64, i64)> {
    let text = x.is_finite().then(|| format!("{x:.4e}"))?;
    let (digits, power) = text.split_once('e')?;
    let digits = digits.replace('.', "").parse().ok()?;
    Some((digits, power.parse::<i64>().ok()? - 4))
}

/// The place of a text in a list of texts that are said once.
fn once(texts: &mut Vec<String>, text: &str) -> usize {
    texts.iter().position(|t| t == text).unwrap_or_else(|| {
        texts.push(text.to_owned());
        texts.len() - 1
    })
}

/// A word of the trace: `forward`, `gradient`, `from_next`.
fn word(of: impl Serialize) -> String {
    let json = serde_json::to_value(of).unwrap_or_default();
    json.as_str().unwrap_or_default().to_owned()
}

/// The page's data.
pub fn data(trace: &Trace) -> Json {
    let readable = trace.about.readable;
    let mut about = json!(trace.about);
    if let Some(about) = about.as_object_mut() {
        about.remove("prediction");
        if !readable {
            about.remove("input");
        }
        if !predicts(trace) {
            about.remove("target");
        }
    }
    let frames = trace.training.iter().map(|f| frame(trace, f));
    json!({
        "about": about,
        "check": trace.check,
        "values": values(&trace.values),
        "figures": figures(trace),
        "ends": trace.ends,
        "sketch": sketch(trace),
        "heat": heat(trace),
        "norms": norms(&trace.norms),
        "connectivity": {
            "outputs": trace.connectivity.outputs,
            "at": trace.connectivity.at,
            "largest": strongest(trace),
            "beside": trace.connectivity.beside.as_ref().map(|b| json!({
                "names": b.names, "largest": b.largest,
                "count": b.rows.first().map_or(0, |row| row.len().min(connected(trace))),
                "rows": packed(b.rows.iter().flat_map(|row| row.iter().copied().take(connected(trace)))),
            })),
            "first": trace.connectivity.rows.first().map_or(0, |r| first_of(r.len(), connected(trace))),
        },
        "training": frames.collect::<Vec<_>>(),
        "landscape": landscape(trace),
        "shapes": shapes(trace),
        "code": trace.code,
    })
}

/// The first of `there` steps, where the newest `shown` are.
fn first_of(there: usize, shown: usize) -> usize {
    there.saturating_sub(shown)
}

/// The values: `words`, and a row for each value: symbol; formula (1 where it
/// is the symbol, 0 where there is none); rows; columns; pass, role and template
/// as places in `words`; step; from where a share comes; what it is the gradient
/// of; for each number its operands, value and place in turn; places in PyTorch's
/// tensors; addends; finite differences; how far these are off;
/// 1 where its numbers have two indices.
fn values(values: &[Value]) -> Json {
    let mut words = Vec::new();
    let mut row = |v: &Value| {
        let formula = match &v.formula {
            f if f.is_empty() => json!(0),
            f if *f == v.symbol => json!(1),
            f => json!(f),
        };
        let flat = |all: &Vec<(usize, usize)>| -> Vec<usize> {
            all.iter().flat_map(|(v, i)| [*v, *i]).collect()
        };
        let operands: Vec<Vec<usize>> = v.operands.iter().map(flat).collect();
        let finite = v.finite.iter().map(|x| x.unwrap_or(f64::NAN));
        let row = [
            json!(v.symbol),
            formula,
            json!(v.shape[0]),
            json!(v.shape[1]),
            json!(once(&mut words, &word(v.pass))),
            json!(once(&mut words, &word(v.role))),
            json!(once(&mut words, &v.template)),
            json!(v.place.step),
            json!(v.from.map(|from| once(&mut words, &word(from)))),
            json!(v.of),
            json!(operands),
            json!(v.source.as_ref().map(|s| s.place.join(";"))),
            json!(
                v.parts
                    .iter()
                    .map(|p| packed(p.iter().copied()))
                    .collect::<Vec<_>>()
            ),
            json!(packed(finite)),
            json!(v.difference),
            json!(u8::from(v.matrix)),
        ];
        Json::from(row.to_vec())
    };
    let rows: Vec<Json> = values.iter().map(&mut row).collect();
    json!({"words": words, "rows": rows})
}

/// The figures: `words`, and a row for each: where its number stands; symbol;
/// template as a place in `words`; operands, each a value and a place in it, or a
/// figure alone; of what is not recorded at every training step the formula with
/// its numbers, and the number. Those of connectivity follow them, output after
/// output: their symbol, the number of each output, the numbers of each input.
fn figures(trace: &Trace) -> Json {
    let connected = trace.connectivity.rows.iter().map(Vec::len).sum();
    let rest = trace.figures.len().saturating_sub(connected);
    let (figures, connectivity) = trace.figures.split_at(rest);
    let steps = trace.connectivity.rows.first().map_or(1, Vec::len).max(1);
    let mut words = Vec::new();
    let operand = |o: &Operand| match o {
        Operand::Value((v, i)) => json!([v, i]),
        Operand::Figure(k) => json!([k]),
    };
    let mut row = |f: &Figure| {
        let mut row = vec![
            json!(f.at),
            json!(f.symbol),
            json!(once(&mut words, &f.template)),
            f.operands.iter().map(operand).collect(),
        ];
        if f.first {
            row.extend([json!(f.filled), json!(f.number)]);
        }
        Json::from(row)
    };
    let rows: Vec<Json> = figures.iter().map(&mut row).collect();
    let outputs = connectivity.iter().step_by(steps);
    let outputs = outputs.filter_map(|f| f.operands.first().map(operand));
    let inputs = connectivity.iter().take(steps);
    let inputs = inputs.map(|f| f.operands.iter().skip(1).map(operand).collect());
    json!({
        "words": words,
        "rows": rows,
        "derivative": DERIVATIVE,
        "outputs": outputs.collect::<Vec<Json>>(),
        "inputs": inputs.collect::<Vec<Json>>(),
    })
}

/// A recorded training step: loss; every number of every value; norms;
/// connectivity, output after output; prediction; of each heat map how many numbers
/// are saturated, and then of each how many in a hundred.
fn frame(trace: &Trace, frame: &Frame) -> Json {
    // A step that is too large to be read has these of the first pass only.
    let (norms, rows) = match frame.step {
        0 => (&trace.norms, &trace.connectivity.rows),
        _ => (&frame.norms, &frame.connectivity),
    };
    let norm = |n: &Norms| norm(n, first_of(n.steps.len(), measured(norms)));
    let rows = rows.iter().flat_map(|row| {
        let first = first_of(row.len(), connected(trace));
        row[first..].iter().copied()
    });
    let prediction = match predicts(trace) {
        true => frame.prediction.as_slice(),
        false => &[],
    };
    let none = f64::NAN;
    let outside = frame.outside.iter().take(MAPS);
    let outside = outside.map(|n| n.map_or(none, |n| n as f64));
    let percent = frame.percent.iter().take(MAPS).map(|p| p.unwrap_or(none));
    json!([
        frame.loss,
        packed(frame.numbers.iter().flatten().copied()),
        norms.iter().take(MAPS).map(norm).collect::<Vec<_>>(),
        packed(rows),
        packed(prediction.iter().copied()),
        packed(outside.chain(percent)),
    ])
}

/// The end of the colours of connectivity: its largest number at any recorded
/// training step.
fn strongest(trace: &Trace) -> f64 {
    let later = trace.training.iter().flat_map(|f| f.connectivity.iter());
    later
        .flatten()
        .copied()
        .fold(trace.connectivity.largest, f64::max)
}

/// Whether prediction and target are shown: in steps that are read number by
/// number, and of a forecaster.
fn predicts(trace: &Trace) -> bool {
    trace.about.readable || trace.about.forecast.is_some()
}

/// Steps of the map of connectivity at most.
fn connected(trace: &Trace) -> usize {
    CELLS[1] / trace.connectivity.outputs.len().max(1)
}

/// Steps of each of the norms at most.
fn measured(norms: &[Norms]) -> usize {
    NORMS / norms.len().clamp(1, MAPS)
}

/// What the norms are of: layer, direction, state, the first step shown (from
/// 0), the number of steps, from where gradient enters.
fn norms(all: &[Norms]) -> Json {
    let one = |n: &Norms| {
        let first = first_of(n.steps.len(), measured(all));
        let enters = word(n.enters);
        json!([n.layer, n.reverse, n.state, first, n.steps.len(), enters])
    };
    all.iter().take(MAPS).map(one).collect()
}

/// The numbers of one of them: the mean factor and after how many steps the
/// threshold is crossed, then four a step (norm, from the loss, from the next
/// step, factor); and the first letter of each verdict, the whole's before the
/// steps'.
fn norm(n: &Norms, first: usize) -> Json {
    let none = f64::NAN;
    let crossed = n.crossed_after.map_or(none, |steps| steps as f64);
    let steps = &n.steps[first..];
    let each = steps.iter().flat_map(|s| {
        let factor = s.factor.unwrap_or(none);
        [s.norm, s.from_loss, s.from_next, factor]
    });
    let letter = |v: Verdict| word(v).chars().next();
    let verdicts = [n.verdict]
        .into_iter()
        .chain(steps.iter().map(|s| s.verdict));
    json!([
        packed([n.factor.unwrap_or(none), crossed].into_iter().chain(each)),
        verdicts.filter_map(letter).collect::<String>(),
    ])
}

/// The drawing: nodes (value, left, top, width, middles of names); wires (from,
/// to, 0 or the direction, corners, middle of the label if there is one); joints.
fn sketch(trace: &Trace) -> Json {
    let s = &trace.sketch;
    let nodes = s
        .nodes
        .iter()
        .map(|n| json!([n.id, n.left, n.top, n.width, n.names]));
    let wires = s.wires.iter().map(|w| {
        let direction = w.reverse.map_or(0, |reverse| 1 + u8::from(reverse));
        json!([w.from, w.to, direction, w.points, w.at])
    });
    json!({
        "nodes": nodes.collect::<Vec<_>>(),
        "wires": wires.collect::<Vec<_>>(),
        "joints": s.joints,
        "width": s.width,
        "height": s.height,
        "tall": s.tall,
    })
}

/// Heat maps: those of values that are shown have these; the others bring the
/// newest steps and the first units, and say which.
fn heat(trace: &Trace) -> Json {
    let count = trace.heat.len().clamp(1, MAPS);
    let one = |h: &Heat| {
        let units = h.rows.first().map_or(0, Vec::len);
        let mut map = json!({
            "name": h.name, "layer": h.layer, "reverse": h.reverse, "span": h.span,
            "percent": h.percent, "steps": h.rows.len(), "units": units, "first": 0,
        });
        if trace.about.readable {
            map["ids"] = json!(h.ids);
            return map;
        }
        let budget = CELLS[0] / count;
        let steps = h.rows.len().min(STEPS).min(budget);
        let shown = units.min((budget / steps.max(1)).max(1));
        let first = first_of(h.rows.len(), steps);
        let cells = h.rows[first..].iter().flat_map(|row| &row[..shown]);
        map["first"] = json!(first);
        map["shown"] = json!(shown);
        map["cells"] = json!(packed(cells.copied()));
        map
    };
    trace.heat.iter().take(MAPS).map(one).collect()
}

/// The tensors.
fn shapes(trace: &Trace) -> Vec<Tensor> {
    let shown = |t: &Tensor| Tensor {
        symbols: t.shown(),
        ..t.clone()
    };
    trace.shapes.iter().map(shown).collect()
}

/// The loss along weights: points, balls and path as weight and loss in turn.
fn landscape(trace: &Trace) -> Json {
    let flat = |points: &[Point]| packed(points.iter().flat_map(|p| [p.w, p.loss]));
    let one = |c: &Curve| {
        json!({
            "name": c.name,
            "symbol": c.symbol,
            "points": flat(&c.points),
            "balls": c.balls.iter().map(|b| flat(b)).collect::<Vec<_>>(),
            "path": flat(&c.path),
            "turns": c.turns,
        })
    };
    trace.landscape.iter().map(one).collect()
}
