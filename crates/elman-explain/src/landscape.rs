//! The loss along one weight, two balls that roll into its valley, and the
//! recorded training steps.

use crate::progress::{Meter, Stage};
use crate::subject::{Passed, Subject};
use crate::trace::Step;
use crate::trace::graph::Role;
use elman::Result;
use elman::optim::{Optimizer, Sgd};
use elman::params::Params;
use serde::Serialize;
use std::collections::BTreeMap;

/// Training steps that are recorded after the first pass.
pub const RECORDED: usize = 60;
/// Weights whose loss is drawn, and where there are more blocks, at most.
const WEIGHTS: usize = 16;
const MOST: usize = 32;
/// Intervals of a curve.
const INTERVALS: usize = 60;
/// Steps of a ball.
const ROLLS: usize = 40;

/// A point on a curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Point {
    /// The weight.
    pub w: f64,
    /// The loss.
    pub loss: f64,
    /// dL/dw.
    pub slope: f64,
}

/// A place where the slope changes its sign.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Turn {
    /// The nearest point of the curve.
    pub w: f64,
    /// Its loss.
    pub loss: f64,
    /// A valley, not a hill.
    pub minimum: bool,
    /// Lowest (or highest) of the whole curve, ends included.
    pub global: bool,
}

/// The loss along one weight, all others as they are.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Curve {
    /// The parameter and the place in it, counted from 0: `rnn.weight_hh_l0[0,1]`.
    pub name: String,
    /// The same as formulas have it, counted from 1: `W_h[2,1]`.
    pub symbol: String,
    /// The curve, from left to right.
    pub points: Vec<Point>,
    /// Where it turns.
    pub turns: Vec<Turn>,
    /// Two balls: gradient descent of this weight alone, from either side.
    pub balls: [Vec<Point>; 2],
    /// The learning rate of the balls: the subject's.
    pub lr: f64,
    /// The weight and the loss at each recorded training step of all weights.
    pub path: Vec<Point>,
}

/// A training step on the same sequence.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Its loss.
    pub loss: f64,
    /// Its prediction.
    pub prediction: Vec<f64>,
    /// Parameters before its update.
    pub params: Params<f64>,
    /// Gradients.
    pub grads: Params<f64>,
}

/// Gradient descent on the one sequence: the pass that is shown and
/// [`RECORDED`] more, fewer where the loss leaves the finite numbers. Each is
/// given to `each`, with the subject before the update.
///
/// # Errors
/// Where not even the first pass can be run.
pub fn descend(subject: &Subject, mut each: impl FnMut(&Subject, &Passed)) -> Result<()> {
    let mut at = subject.clone();
    let mut sgd = Optimizer::Sgd(Sgd::default()).start(at.params.values().len())?;
    for step in 0..=RECORDED {
        let passed = match at.pass() {
            Err(e) if step == 0 => return Err(e),
            Err(_) => break,
            Ok(passed) => passed,
        };
        each(&at, &passed);
        sgd.step(at.params.values_mut(), passed.grads.values(), subject.lr)?;
    }
    Ok(())
}

/// Every step of it, to be drawn.
///
/// # Errors
/// As [`descend`].
pub(crate) fn train(subject: &Subject, meter: &mut Meter<'_>) -> Result<Vec<Recorded>> {
    let mut all = Vec::new();
    meter.begin(Stage::Training, RECORDED + 1);
    descend(subject, |at, passed| {
        meter.next();
        all.push(Recorded {
            loss: passed.loss,
            prediction: passed.prediction.clone(),
            params: at.params.clone(),
            grads: passed.grads.clone(),
        });
    })?;
    Ok(all)
}

/// The loss along the first weights of each block of the parameters.
///
/// # Errors
/// What the engine refuses.
pub(crate) fn curves(
    subject: &Subject,
    recorded: &[Recorded],
    step: &Step,
    meter: &mut Meter<'_>,
) -> Result<Vec<Curve>> {
    let graph = &step.forward.graph;
    let symbol = |name: &str, i: usize| {
        let nodes = graph.nodes.iter().enumerate();
        let mut parameters = nodes.filter(|(_, n)| n.role == Role::Parameter);
        let found = parameters.find_map(|(id, n)| {
            let source = n.source.as_ref().filter(|s| s.name == name)?;
            Some((id, source.index().position(|k| k == i)?))
        });
        found.map_or_else(String::new, |at| graph.symbol_at(at))
    };
    // The first of each block, gate by gate, then the second, and so on.
    let mut blocks: BTreeMap<String, usize> = BTreeMap::new();
    let mut all = Vec::new();
    for entry in subject.parameters() {
        for i in 0..entry.range.len() {
            let symbol = symbol(&entry.name, i);
            let block = symbol.split('[').next().unwrap_or_default().to_owned();
            let before = blocks.entry(block).or_default();
            all.push((*before, entry, i, symbol));
            *before += 1;
        }
    }
    let mut order: Vec<usize> = (0..all.len()).collect();
    order.sort_by_key(|at| all[*at].0);
    order.truncate(blocks.len().clamp(WEIGHTS, MOST));
    order.sort_unstable();
    meter.begin(Stage::Curves, order.len());
    let mut curves = Vec::with_capacity(order.len());
    for at in order {
        let (_, entry, i, symbol) = &all[at];
        let name = match entry.shape.as_slice() {
            [_, columns] => format!("{}[{},{}]", entry.name, i / columns, i % columns),
            _ => format!("{}[{i}]", entry.name),
        };
        let mut curve = curve(subject, recorded, name, entry.range.start + i)?;
        curve.symbol.clone_from(symbol);
        meter.next();
        curves.push(curve);
    }
    Ok(curves)
}

fn curve(subject: &Subject, recorded: &[Recorded], name: String, at: usize) -> Result<Curve> {
    let point = |subject: &Subject| -> Result<Point> {
        let passed = subject.pass()?;
        Ok(Point {
            w: subject.params.values()[at],
            loss: passed.loss,
            slope: passed.grads.values()[at],
        })
    };
    let path: Vec<Point> = recorded
        .iter()
        .map(|r| Point {
            w: r.params.values()[at],
            loss: r.loss,
            slope: r.grads.values()[at],
        })
        .collect();
    let here = subject.params.values()[at];
    let reach = path.iter().map(|p| (p.w - here).abs()).fold(1.0, f64::max);
    let span = 1.5 * reach;
    let mut moved = subject.clone();
    let mut points = Vec::with_capacity(INTERVALS + 1);
    for i in 0..=INTERVALS {
        let share = 2.0 * i as f64 / INTERVALS as f64 - 1.0;
        moved.params.values_mut()[at] = here + span * share;
        // Where the loss leaves the finite numbers there is nothing to draw.
        points.extend(point(&moved).ok());
    }
    let mut balls = [Vec::new(), Vec::new()];
    for (ball, side) in balls.iter_mut().zip([-0.9, 0.9]) {
        moved.params.values_mut()[at] = here + span * side;
        for _ in 0..=ROLLS {
            let Ok(p) = point(&moved) else { break };
            ball.push(p);
            let next = p.w - subject.lr * p.slope;
            if !next.is_finite() {
                break;
            }
            moved.params.values_mut()[at] = next;
        }
    }
    let lowest = points.iter().map(|p| p.loss).fold(f64::INFINITY, f64::min);
    let highest = points
        .iter()
        .map(|p| p.loss)
        .fold(f64::NEG_INFINITY, f64::max);
    Ok(Curve {
        turns: turns(&points, [lowest, highest]),
        name,
        symbol: String::new(),
        points,
        balls,
        lr: subject.lr,
        path,
    })
}

/// Slopes below this part of the steepest one are rounding.
const FLAT: f64 = 1e-10;

/// Where the slope changes its sign: of the points from the last one with the old
/// sign to the first one with the new, the lowest or the highest.
fn turns(points: &[Point], [lowest, highest]: [f64; 2]) -> Vec<Turn> {
    let steepest = points.iter().fold(0.0, |m: f64, p| m.max(p.slope.abs()));
    let sloping = points.iter().enumerate();
    let sloping = sloping.filter(|(_, p)| p.slope.abs() > FLAT * steepest);
    let sloping: Vec<usize> = sloping.map(|(i, _)| i).collect();
    let pairs = sloping.windows(2).filter_map(|pair| {
        let part = &points[pair[0]..=pair[1]];
        let minimum = part[0].slope < 0.0;
        if minimum == (part[part.len() - 1].slope < 0.0) {
            return None;
        }
        let loss = |a: &&Point, b: &&Point| a.loss.total_cmp(&b.loss);
        let (turn, global) = match minimum {
            true => (part.iter().min_by(loss)?, lowest),
            false => (part.iter().max_by(loss)?, highest),
        };
        Some(Turn {
            w: turn.w,
            loss: turn.loss,
            minimum,
            global: turn.loss == global,
        })
    });
    pairs.collect()
}
