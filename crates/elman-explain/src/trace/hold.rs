//! Every trace is held against the engine before anybody sees it.

use super::Step;
use super::graph::{Id, Role};
use crate::subject::Subject;
use elman::optim::{Optimizer, Sgd};
use elman::{Error, Result};

/// How far a number may be from the engine's, relative to the largest of its
/// tensor: rounding, in another order of the same sums. No wrong formula comes so
/// near.
const BAR: f64 = 1e-9;
/// The same for a gradient, relative to the largest of all: the slope of a
/// saturated unit, 1 - h^2, is what is left of two numbers that are nearly the
/// same, and has their rounding.
const OF_ALL: f64 = 1e-11;
/// What that largest number is taken for at least: gradients that are nearly
/// zero are differences of numbers that are not.
const LEAST: f64 = 1e-2;

/// Compares predictions, loss, every state and gate, every gradient of the input
/// and of the first states and, where they are there, of a parameter, and the
/// parameters after the update with the engine's.
///
/// # Errors
/// Where a number differs.
pub fn hold(subject: &Subject, step: &Step) -> Result<()> {
    let passed = subject.pass()?;
    let graph = &step.forward.graph;
    let numbers = |id: Id| graph.nodes[id].numbers.as_slice();
    let joined =
        |ids: &[Id]| -> Vec<f64> { ids.iter().flat_map(|id| numbers(*id)).copied().collect() };
    same(
        "prediction",
        &joined(&step.forward.predictions),
        &passed.prediction,
    )?;
    same("loss", numbers(step.forward.loss), &[passed.loss])?;
    for traced in &passed.traces {
        for named in &step.forward.named {
            let own = (named.layer, named.reverse, named.part.traced());
            if own == (traced.layer, traced.reverse, traced.name) {
                let row = traced.numbers.row(named.step - 1).to_vec();
                same(&graph.symbol(named.id), numbers(named.id), &row)?;
            }
        }
    }
    let all = step.grads.iter().flatten();
    let all = all.flat_map(|g| numbers(*g));
    let bar = OF_ALL * all.fold(0.0, |m: f64, g| m.max(g.abs()));
    let gradient = |id: Id| -> Vec<f64> {
        let zeros = vec![0.0; numbers(id).len()];
        step.grads[id].map_or(zeros, |g| numbers(g).to_vec())
    };
    for (t, x) in step.forward.inputs.iter().enumerate() {
        let row = passed.d_input.row(t).to_vec();
        near(
            &format!("dL/d{}", graph.symbol(*x)),
            &gradient(*x),
            &row,
            bar,
        )?;
    }
    if subject.readout().is_some() {
        for (slot, ids) in step.forward.starts.iter().enumerate() {
            let ours: Vec<f64> = ids.iter().flat_map(|id| gradient(*id)).collect();
            near(
                "gradient of the first states",
                &ours,
                &passed.d_start[slot],
                bar,
            )?;
        }
    }
    if step.left_out > 0 {
        return Ok(());
    }
    let (mut grads, mut updated) = (subject.params.clone(), subject.params.clone());
    grads.clear();
    for (id, node) in graph.nodes.iter().enumerate() {
        let Some(source) = &node.source else {
            continue;
        };
        let (to, values) = match node.role {
            Role::Updated => (&mut updated, node.numbers.clone()),
            _ => (&mut grads, gradient(id)),
        };
        let entry = subject.params.layout().find(&source.name);
        let range = entry.map(|e| e.range.clone());
        let places = &mut to.values_mut()[range.unwrap_or(0..0)];
        for (i, x) in source.index().zip(values) {
            places[i] = x;
        }
    }
    let mut expected = subject.params.clone();
    let mut sgd = Optimizer::Sgd(Sgd::default()).start(expected.values().len())?;
    sgd.step(expected.values_mut(), passed.grads.values(), subject.lr)?;
    for entry in subject.params.layout().entries() {
        let at = entry.range.clone();
        let name = &entry.name;
        near(
            &format!("gradient of {name}"),
            &grads.values()[at.clone()],
            &passed.grads.values()[at.clone()],
            bar,
        )?;
        near(
            &format!("{name} after the update"),
            &updated.values()[at.clone()],
            &expected.values()[at],
            bar * subject.lr,
        )?;
    }
    Ok(())
}

fn same(name: &str, ours: &[f64], engine: &[f64]) -> Result<()> {
    near(name, ours, engine, 0.0)
}

/// The same numbers, but for rounding, which may be as large as a bar.
fn near(name: &str, ours: &[f64], engine: &[f64], bar: f64) -> Result<()> {
    let largest = engine.iter().fold(f64::MIN_POSITIVE, |m, x| m.max(x.abs()));
    let bar = bar.max(BAR * largest.max(LEAST));
    let same_length = ours.len() == engine.len();
    if same_length && ours.iter().zip(engine).all(|(a, b)| (a - b).abs() <= bar) {
        return Ok(());
    }
    Err(Error::numeric(format!(
        "{name}: the trace has {ours:?}, the engine {engine:?}; the numbers are too large or too small to be traced, use smaller inputs or weights"
    )))
}
