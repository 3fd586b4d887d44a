//! Finite differences beside every gradient.

use crate::progress::{Meter, Stage};
use crate::subject::Subject;
use crate::trace::Step;
use crate::trace::graph::{Counts, Derivative, Id, Rule};
use elman::Result;
use elman::cell::Activation;
use serde::Serialize;

/// The step of a central difference, times `max(1, |w|)`.
pub const STEP: f64 = 1e-5;

/// Gradients below it are compared as if they were this large: a difference of
/// two losses has no more digits. The larger the loss, the fewer are left.
pub const SMALLEST: f64 = 1e-3;
/// The same as a part of the loss, rounded up to a power of ten.
const OF_LOSS: f64 = 1e-4;

/// What the finite differences say.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Check {
    /// The step of a difference, times `max(1, |w|)`.
    pub step: f64,
    /// What a tensor's largest gradient is taken for at least.
    pub smallest: f64,
    /// Gradients that were compared, one for each number.
    pub numbers: usize,
    /// Gradients at a kink, which have no finite difference.
    pub skipped: usize,
    /// max|a - b| / max|b| over a tensor, the largest of all.
    pub largest: f64,
    /// The symbol of that tensor.
    pub at: String,
    /// The number of it that is so far off.
    pub farthest: Farthest,
}

/// A gradient, and the finite difference it is compared with.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Farthest {
    /// The gradient, as a place in the values.
    pub id: Id,
    /// The number of it.
    pub place: usize,
    /// The step `e` by which what it is of was moved, up and down.
    pub by: f64,
    /// The loss after the step up.
    pub up: f64,
    /// The loss after the step down.
    pub down: f64,
    /// `(up - down) / 2 e`.
    pub finite: f64,
    /// The number of the gradient that is the largest; none where
    /// [`Check::smallest`] is taken in its place.
    pub largest: Option<usize>,
}

/// The finite differences of one value.
#[derive(Debug, Clone, PartialEq)]
pub struct Finite {
    /// One for each number; `None` at a kink.
    pub numbers: Vec<Option<f64>>,
    /// max|a - b| / max|b|; none where every number is at a kink.
    pub difference: Option<f64>,
}

/// The losses on both sides, up and down, and their difference over the way between
/// them; none where the slopes of the two sides differ as only a kink makes them.
fn central(
    kinks: bool,
    here: f64,
    by: f64,
    loss: impl Fn(f64) -> Result<f64>,
) -> Result<Option<[f64; 3]>> {
    let (up, down) = (loss(by)?, loss(-by)?);
    let (right, left) = ((up - here) / by, (here - down) / by);
    let far = (right - left).abs() > 1e-2 * right.abs().max(left.abs()) + 1e-6;
    Ok((!kinks || !far).then(|| [up, down, (up - down) / (2.0 * by)]))
}

/// Every gradient by finite differences: of parameters through the engine's
/// own forward pass, of what is inside by the recorded formulas.
///
/// # Errors
/// What the engine refuses.
pub fn check(subject: &Subject, step: &Step) -> Result<(Check, Vec<Option<Finite>>)> {
    metered(subject, step, &mut Meter::new(&mut |_| {}))
}

/// The same, telling how far it is.
pub(crate) fn metered(
    subject: &Subject,
    step: &Step,
    meter: &mut Meter<'_>,
) -> Result<(Check, Vec<Option<Finite>>)> {
    let graph = &step.forward.graph;
    let loss = step.forward.loss;
    let here = graph.nodes[loss].numbers[0];
    let kinks = graph
        .nodes
        .iter()
        .any(|n| matches!(n.rule, Rule::Apply(Activation::Relu, _)));
    let mut check = Check {
        step: STEP,
        smallest: SMALLEST.max(10_f64.powi((OF_LOSS * here.abs()).log10().ceil() as i32)),
        numbers: 0,
        skipped: 0,
        largest: 0.0,
        at: String::new(),
        farthest: Farthest::default(),
    };
    let mut all = Vec::with_capacity(graph.nodes.len());
    meter.begin(Stage::Check, graph.nodes.len());
    for (id, node) in graph.nodes.iter().enumerate() {
        meter.next();
        let Some(Derivative { of: v, counts }) = &node.derivative else {
            all.push(None);
            continue;
        };
        let mut sides = Vec::with_capacity(node.numbers.len());
        let source = graph.nodes[*v].source.as_ref();
        let parameter = source.filter(|_| *counts == Counts::All);
        let parameter = parameter.map(|s| (&s.name, s.index().collect::<Vec<usize>>()));
        for i in 0..node.numbers.len() {
            let by = STEP * graph.nodes[*v].numbers[i].abs().max(1.0);
            sides.push(match &parameter {
                Some((name, places)) => {
                    central(kinks, here, by, |by| moved(subject, name, places[i], by))?
                }
                None => central(kinks, here, by, |by| {
                    Ok(graph.loss_with(loss, (*v, i), by, counts.readers()))
                })?,
            });
        }
        let numbers: Vec<Option<f64>> = sides.iter().map(|s| s.map(|[.., f]| f)).collect();
        let (mut largest, mut of) = (check.smallest, None);
        for (i, g) in node.numbers.iter().enumerate() {
            if g.abs() > largest {
                (largest, of) = (g.abs(), Some(i));
            }
        }
        let apart = |i: usize| numbers[i].map(|f| (f - node.numbers[i]).abs());
        let apart = (0..numbers.len()).filter_map(|i| Some((apart(i)?, i)));
        let farthest = apart.max_by(|a, b| a.0.total_cmp(&b.0));
        let difference = farthest.map(|(apart, _)| apart / largest);
        check.numbers += numbers.iter().flatten().count();
        check.skipped += numbers.iter().filter(|n| n.is_none()).count();
        if let (Some(difference), Some((_, place))) = (difference, farthest)
            && difference >= check.largest
        {
            (check.largest, check.at) = (difference, node.symbol.clone());
            if let Some([up, down, finite]) = sides[place] {
                check.farthest = Farthest {
                    id,
                    place,
                    by: STEP * graph.nodes[*v].numbers[place].abs().max(1.0),
                    up,
                    down,
                    finite,
                    largest: of,
                };
            }
        }
        all.push(Some(Finite {
            numbers,
            difference,
        }));
    }
    Ok((check, all))
}

/// The loss with one number of a parameter changed.
fn moved(subject: &Subject, name: &str, at: usize, by: f64) -> Result<f64> {
    let mut params = subject.params.clone();
    let start = params.layout().find(name).map_or(0, |e| e.range.start);
    params.values_mut()[start + at] += by;
    subject.loss(&params)
}
