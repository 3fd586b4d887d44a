//! The plots of the report: what of an outcome is drawn, and how it is told
//! apart. Each is `None` where there is nothing to draw.

use super::number::{Digits, count, counted, round_step};
use super::plot::{Axis, Figure, Ink, Key, Labels, Mark, Plot, Point, plottable};
use crate::outcome::{ForecastRow, LossCurve, MethodScore, Origin, Outcome};

/// Opacity of the 80 % band, which lies over the 95 % band.
const INNER: f64 = 0.24;
const OUTER: f64 = 0.15;
/// A test part longer than this also gets a closer look at its end.
const CLOSE: usize = 400;
/// Baselines drawn beside elman.
const COMPANIONS: [Ink; 3] = [Ink::First, Ink::Second, Ink::Third];
/// Marks of missing values, at most.
const GAPS: usize = 600;
/// Loss curves drawn, at most.
pub const CURVES: usize = 12;

/// The time of every step, the forecast's after the history's: plots over time
/// place a step by its index.
pub fn times(outcome: &Outcome) -> Vec<&str> {
    let history = outcome.history.iter().map(|o| o.time.as_str());
    let forecast = outcome.forecast.iter().map(|row| row.time.as_str());
    history.chain(forecast).collect()
}

/// The end of the history and the forecast with its bands.
pub fn forecast<'a>(outcome: &'a Outcome, times: &'a [&'a str]) -> Option<Figure<'a>> {
    let (first, rows) = (outcome.history.len(), outcome.forecast.as_slice());
    let start = first.saturating_sub((4 * rows.len()).max(20));
    let observed = observed(outcome, start..first);
    // The line goes on from the newest value, where that is known.
    let mut line = vec![observed.last().copied().flatten()];
    line.extend(values(first, rows));
    let (bands, keys) = bands(first, rows);
    let mut marks = bands;
    if !observed.is_empty() {
        marks.push(Mark::Upright(first as f64 - 0.5));
    }
    marks.push(truth_line(observed.clone()));
    marks.push(elman_line(line));
    let mut legend = vec![
        Key::new("line", Ink::Truth, "observed"),
        Key::new("line", Ink::Elman, "forecast"),
    ];
    legend.extend(keys);
    let digits = Digits::of(rows.iter().map(|row| row.value));
    let (from, to) = (rows.first()?, rows.last()?);
    Some(Figure::wide(
        "",
        Plot {
            description: format!(
                "Line plot of {}: the last {} observed, then the forecast, \
                 from {} at {} to {} at {}.",
                outcome.target,
                counted(observed.len(), "step"),
                digits.show(from.value),
                from.time,
                digits.show(to.value),
                to.time,
            ),
            x: steps_axis(start, first + rows.len(), times),
            y: value_axis(outcome, &observed, [rows]),
            marks,
        },
        legend,
    ))
}

/// Truth, forecasts and bands over the test part; a long one also close up.
pub fn backtest<'a>(outcome: &'a Outcome, times: &'a [&'a str]) -> Vec<Figure<'a>> {
    let origins = apart(outcome);
    let (Some(first), Some(last)) = (origins.first(), origins.last()) else {
        return Vec::new();
    };
    let mut figures = vec![over_test(outcome, times, &origins, "")];
    let end = last.first + last.rows.len();
    if end - first.first > CLOSE {
        let near = outcome.horizon.saturating_mul(4).max(CLOSE / 2);
        let late = origins.partition_point(|o| o.first < end.saturating_sub(near));
        if let Some(late @ [_, ..]) = origins.get(late..).filter(|_| late > 0) {
            figures.push(over_test(outcome, times, late, "The end of it, closer"));
        }
    }
    figures
}

fn over_test<'a>(
    outcome: &'a Outcome,
    times: &'a [&'a str],
    origins: &[&Origin],
    title: &str,
) -> Figure<'a> {
    let pieces = pieces(origins);
    let first = pieces.first().map_or(0, |piece| piece.first);
    let end = pieces.iter().map(Piece::end).max().unwrap_or(first);
    let observed = observed(outcome, first..end);
    let mut keys = vec![
        Key::new("line", Ink::Truth, "truth"),
        Key::new("line", Ink::Elman, "forecast"),
    ];
    // All bands lie below all lines.
    let (mut below, mut above) = (Vec::new(), vec![truth_line(observed.clone())]);
    for (i, piece) in pieces.iter().enumerate() {
        let (bands, legend) = bands(piece.first, &piece.rows);
        below.extend(bands);
        above.push(elman_line(values(piece.first, &piece.rows)));
        if i == 0 {
            keys.extend(legend);
        }
    }
    below.extend(above);
    let time = |i: usize| times.get(i).copied().unwrap_or_default();
    Figure::wide(
        title,
        Plot {
            description: format!(
                "Line plot of {}: truth and forecast over {} of the test part, from {} to {}.",
                outcome.target,
                counted(end - first, "step"),
                time(first),
                time(end.saturating_sub(1)),
            ),
            x: steps_axis(first, end, times),
            y: value_axis(outcome, &observed, pieces.iter().map(|p| p.rows.as_slice())),
            marks: below,
        },
        keys,
    )
}

/// Mean absolute error of each step ahead, of elman and the best baselines.
pub fn error_by_step(outcome: &Outcome) -> Option<Figure<'_>> {
    let methods = &outcome.backtest.methods;
    let (elman, baselines): (Vec<_>, Vec<_>) = methods.iter().partition(|m| m.name == "elman");
    let mut baselines: Vec<(f64, &MethodScore)> = baselines
        .into_iter()
        .filter_map(|m| Some((m.scores.mae.and_then(plottable)?, m)))
        .collect();
    baselines.sort_by(|a, b| a.0.total_cmp(&b.0));
    let shown = elman.into_iter().map(|m| (Ink::Elman, m)).chain(
        COMPANIONS
            .into_iter()
            .zip(baselines.iter().map(|(_, m)| *m)),
    );
    let (mut marks, mut keys, mut errors) = (Vec::new(), Vec::new(), Vec::new());
    let mut steps = 0;
    for (ink, method) in shown {
        let points: Vec<Option<Point>> = method
            .mae_by_step
            .iter()
            .enumerate()
            .map(|(i, mae)| Some(((i + 1) as f64, plottable((*mae)?)?)))
            .collect();
        let known = points.iter().flatten();
        errors.extend(known.clone().map(|p| p.1));
        steps = steps.max(points.len());
        let width = if ink == Ink::Elman { 2.6 } else { 1.6 };
        if points.len() <= 31 {
            marks.push(Mark::Dots {
                ink,
                radius: width + 0.6,
                points: known.copied().collect(),
            });
        }
        marks.push(Mark::Line { ink, width, points });
        keys.push(Key::new("line", ink, spelled(&method.name)));
    }
    // elman above the others
    marks.reverse();
    if steps < 2 || errors.is_empty() {
        return None;
    }
    let names: Vec<&str> = keys.iter().map(|key| key.text.as_str()).collect();
    Some(Figure::wide(
        "",
        Plot {
            description: format!(
                "Line plot of the mean absolute error of each of {steps} steps ahead: {}.",
                names.join(", ")
            ),
            x: Axis::around([1.0, steps as f64], Labels::Whole, "steps ahead"),
            y: Axis::around(errors, Labels::Numbers, "mean absolute error").with_zero(),
            marks,
        },
        keys,
    ))
}

/// The histogram of all residuals, and those of the drawn forecasts over time.
pub fn residuals<'a>(outcome: &'a Outcome, times: &'a [&'a str]) -> Option<[Figure<'a>; 2]> {
    let of_origin = |origin: &Origin| -> Vec<Option<f64>> {
        let steps = origin.truth.iter().zip(&origin.rows);
        steps
            .map(|(truth, row)| plottable((*truth)? - row.value))
            .collect()
    };
    let origins = &outcome.backtest.origins;
    let all: Vec<f64> = origins.iter().flat_map(of_origin).flatten().collect();
    if all.is_empty() {
        return None;
    }
    let digits = Digits::of(all.iter().copied());
    let mean = all.iter().map(|r| r / all.len() as f64).sum::<f64>();

    let x = Axis::around(all.iter().copied(), Labels::Numbers, "truth minus forecast");
    let bars = bins(&all);
    let histogram = Figure::half(
        "How large",
        Plot {
            description: format!(
                "Histogram of {}, truth minus forecast: their mean is {}.",
                counted(all.len(), "residual"),
                digits.show(mean)
            ),
            y: Axis::around(bars.iter().map(|bar| bar.2), Labels::Whole, "how many").with_zero(),
            x,
            marks: vec![
                Mark::Bars {
                    ink: Ink::Elman,
                    bars,
                },
                Mark::Upright(0.0),
            ],
        },
        Vec::new(),
        &format!(
            "Every origin and step: {}, mean {}.",
            counted(all.len(), "residual"),
            digits.show(mean)
        ),
    );

    let apart = apart(outcome);
    let points: Vec<Point> = apart
        .iter()
        .flat_map(|origin| {
            let steps = of_origin(origin).into_iter().enumerate();
            steps.filter_map(|(k, r)| Some(((origin.first + k) as f64, r?)))
        })
        .collect();
    let first = apart.first().map_or(0, |origin| origin.first);
    let end = apart.last().map_or(first, |o| o.first + o.rows.len());
    let over_time = Figure::half(
        "Over time",
        Plot {
            description: format!(
                "Scatter plot of {} over the test part, truth minus forecast.",
                counted(points.len(), "residual")
            ),
            x: steps_axis(first, end, times),
            y: Axis::around(
                points.iter().map(|p| p.1).chain([0.0]),
                Labels::Numbers,
                "truth minus forecast",
            ),
            marks: vec![
                Mark::Level(0.0),
                Mark::Dots {
                    ink: Ink::Elman,
                    radius: 2.0,
                    points,
                },
            ],
        },
        Vec::new(),
        "The forecasts drawn in the backtest. A run above or below zero is a bias.",
    );
    Some([histogram, over_time])
}

/// The whole series, its gaps and its parts.
pub fn history<'a>(outcome: &'a Outcome, times: &'a [&'a str]) -> Option<Figure<'a>> {
    let len = outcome.history.len();
    let observed = observed(outcome, 0..len);
    let missing = observed.iter().filter(|value| value.is_none()).count();
    let mut keys = vec![Key::new("line", Ink::Truth, "observed")];
    let mut marks: Vec<Mark> = gaps(&observed)
        .into_iter()
        .map(|(from, to)| Mark::Shade {
            ink: Ink::Missing,
            opacity: 0.3,
            x: (from, to),
            height: (0.0, 1.0),
        })
        .collect();
    if missing > 0 {
        let text = format!("missing ({})", count(missing));
        keys.push(Key::new("wash", Ink::Missing, text));
    }
    let inks = [Ink::Label, Ink::Third, Ink::Second, Ink::First];
    for (split, ink) in outcome.splits.iter().zip(inks.into_iter().cycle()) {
        let index = |time: &str| outcome.history.iter().position(|o| o.time == time);
        if let (Some(from), Some(to)) = (index(&split.from), index(&split.to)) {
            marks.push(Mark::Shade {
                ink,
                opacity: 0.8,
                x: (from as f64 - 0.5, to as f64 + 0.5),
                height: (0.975, 1.0),
            });
            keys.push(Key::new("band", ink, split.name.clone()));
        }
    }
    let (from, to) = (outcome.history.first()?, outcome.history.last()?);
    let y = value_axis(outcome, &observed, []);
    marks.push(Mark::Line {
        ink: Ink::Truth,
        width: if len > 500 { 0.9 } else { 1.5 },
        points: observed,
    });
    Some(Figure::wide(
        "",
        Plot {
            description: format!(
                "Line plot of {} over {}, from {} to {}, {} of them missing.",
                outcome.target,
                counted(len, "step"),
                from.time,
                to.time,
                count(missing)
            ),
            x: steps_axis(0, len, times),
            y,
            marks,
        },
        keys,
    ))
}

/// Training and validation loss of a network by epoch.
pub fn losses(curve: &LossCurve) -> Option<Figure<'_>> {
    let line = |losses: &[f64]| -> Vec<Option<Point>> {
        let epochs = losses.iter().enumerate();
        epochs
            .map(|(epoch, &loss)| Some(((epoch + 1) as f64, plottable(loss)?)))
            .collect()
    };
    let (train, valid) = (line(&curve.train), line(&curve.valid));
    let all: Vec<f64> = train.iter().chain(&valid).flatten().map(|p| p.1).collect();
    if all.is_empty() {
        return None;
    }
    let epochs = train.len().max(valid.len());
    let kept = curve.best.saturating_add(1);
    let judged = if valid.is_empty() { &train } else { &valid };
    let best = judged.get(curve.best).copied().flatten();
    let mut marks = Vec::new();
    let mut keys = Vec::new();
    for (ink, name, points) in [
        (Ink::Elman, "training", train.clone()),
        (Ink::First, "validation", valid.clone()),
    ] {
        if !points.is_empty() {
            keys.push(Key::new("line", ink, name));
            let width = 1.8;
            marks.push(Mark::Line { ink, width, points });
        }
    }
    if let Some(best) = best {
        marks.insert(0, Mark::Upright(best.0));
        marks.push(Mark::Dots {
            ink: Ink::Truth,
            radius: 4.0,
            points: vec![best],
        });
        keys.push(Key::new(
            "dot",
            Ink::Truth,
            format!("kept: epoch {}", count(kept)),
        ));
    }
    Some(Figure::half(
        &curve.name,
        Plot {
            description: format!(
                "Line plot of the loss over {}; the network of epoch {} was kept.",
                counted(epochs, "epoch"),
                count(kept)
            ),
            x: Axis::around([1.0, epochs as f64], Labels::Whole, "epoch"),
            y: Axis::around(all, Labels::Numbers, "loss"),
            marks,
        },
        keys,
        "",
    ))
}

/// A method's name in words.
pub fn spelled(name: &str) -> String {
    name.replace('_', " ")
}

/// Forecasts that do not overlap, ready to draw.
struct Piece {
    first: usize,
    rows: Vec<ForecastRow>,
}

impl Piece {
    fn end(&self) -> usize {
        self.first + self.rows.len()
    }
}

/// Origins whose forecasts do not overlap, the newest among them.
fn apart(outcome: &Outcome) -> Vec<&Origin> {
    let mut chosen: Vec<&Origin> = Vec::new();
    for origin in outcome.backtest.origins.iter().rev() {
        let room = chosen
            .last()
            .map_or(outcome.history.len(), |next| next.first);
        let rows = origin.rows.len();
        if rows > 0 && rows <= room && origin.first <= room - rows {
            chosen.push(origin);
        }
    }
    chosen.reverse();
    chosen
}

/// What the backtest draws. Forecasts of one step are joined: alone, none of
/// them would be a line.
fn pieces(origins: &[&Origin]) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    for origin in origins {
        match pieces.last_mut() {
            Some(last) if origin.rows.len() == 1 && last.end() == origin.first => {
                last.rows.extend(origin.rows.iter().cloned());
            }
            _ => pieces.push(Piece {
                first: origin.first,
                rows: origin.rows.clone(),
            }),
        }
    }
    pieces
}

fn observed(outcome: &Outcome, steps: std::ops::Range<usize>) -> Vec<Option<Point>> {
    let start = steps.start;
    let seen = outcome
        .history
        .get(start..steps.end.min(outcome.history.len()));
    seen.unwrap_or_default()
        .iter()
        .enumerate()
        .map(|(i, o)| Some(((start + i) as f64, plottable(o.value?)?)))
        .collect()
}

fn values(first: usize, rows: &[ForecastRow]) -> Vec<Option<Point>> {
    let steps = rows.iter().enumerate();
    steps
        .map(|(i, row)| Some(((first + i) as f64, plottable(row.value)?)))
        .collect()
}

/// Both bands of a forecast, and their legend; nothing where no step has one.
fn bands(first: usize, rows: &[ForecastRow]) -> (Vec<Mark>, Vec<Key>) {
    let (mut marks, mut keys) = (Vec::new(), Vec::new());
    for (shape, opacity, text, bounds) in [
        (
            "wash",
            OUTER,
            "95\u{a0}% interval",
            outer as fn(&ForecastRow) -> _,
        ),
        ("band", INNER, "80\u{a0}% interval", inner),
    ] {
        let steps: Vec<Option<(f64, f64, f64)>> = rows
            .iter()
            .enumerate()
            .map(|(i, row)| bounds(row).map(|(lo, hi)| ((first + i) as f64, lo, hi)))
            .collect();
        if steps.iter().any(Option::is_some) {
            keys.insert(0, Key::new(shape, Ink::Elman, text));
            marks.push(Mark::Band {
                ink: Ink::Elman,
                opacity,
                steps,
            });
        }
    }
    (marks, keys)
}

fn inner(row: &ForecastRow) -> Option<(f64, f64)> {
    Some((plottable(row.lo_80?)?, plottable(row.hi_80?)?))
}

fn outer(row: &ForecastRow) -> Option<(f64, f64)> {
    Some((plottable(row.lo_95?)?, plottable(row.hi_95?)?))
}

fn truth_line(points: Vec<Option<Point>>) -> Mark {
    Mark::Line {
        ink: Ink::Truth,
        width: 1.5,
        points,
    }
}

fn elman_line(points: Vec<Option<Point>>) -> Mark {
    Mark::Line {
        ink: Ink::Elman,
        width: if points.len() > 60 { 1.4 } else { 2.2 },
        points,
    }
}

fn steps_axis<'a>(first: usize, end: usize, times: &'a [&'a str]) -> Axis<'a> {
    let ends = [first as f64, end.saturating_sub(1).max(first) as f64];
    Axis::around(ends, Labels::Times(times), "")
}

fn value_axis<'a, 'r>(
    outcome: &'a Outcome,
    observed: &[Option<Point>],
    forecasts: impl IntoIterator<Item = &'r [ForecastRow]>,
) -> Axis<'a> {
    let observed = observed.iter().flatten().map(|p| p.1);
    let forecast = forecasts.into_iter().flatten().flat_map(|row| {
        let ends = [inner(row), outer(row)].into_iter().flatten();
        ends.flat_map(|(lo, hi)| [lo, hi]).chain([row.value])
    });
    Axis::around(observed.chain(forecast), Labels::Numbers, &outcome.target)
}

/// Stretches without a value, as wide as can be seen; close ones are one.
fn gaps(observed: &[Option<Point>]) -> Vec<(f64, f64)> {
    let least = observed.len() as f64 / GAPS as f64;
    let mut gaps: Vec<(f64, f64)> = Vec::new();
    for (i, _) in observed.iter().enumerate().filter(|(_, v)| v.is_none()) {
        let (from, to) = (i as f64 - 0.5, i as f64 + 0.5);
        match gaps.last_mut() {
            Some(last) if from - last.1 < least / 2.0 => last.1 = to,
            _ => gaps.push((from, to)),
        }
    }
    for gap in &mut gaps {
        let short = (least - (gap.1 - gap.0)).max(0.0) / 2.0;
        *gap = (gap.0 - short, gap.1 + short);
    }
    gaps
}

/// Bars of a histogram whose edges are round numbers.
fn bins(values: &[f64]) -> Vec<(f64, f64, f64)> {
    let lo = values.iter().copied().fold(f64::INFINITY, f64::min);
    let hi = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let wanted = (values.len() as f64).sqrt().clamp(5.0, 30.0);
    let size = lo.abs().max(hi.abs());
    let step = if hi - lo > 1e-9 * size && hi - lo > 1e-290 {
        round_step(hi - lo, wanted as usize)
    } else if size > 1e-280 {
        0.05 * size
    } else {
        0.5
    };
    let first = (lo / step).floor();
    let slots = ((hi / step).floor() - first) as usize + 1;
    let mut heights = vec![0usize; slots.min(100)];
    for value in values {
        let slot = ((value / step).floor() - first) as usize;
        if let Some(height) = heights.get_mut(slot) {
            *height += 1;
        }
    }
    heights
        .into_iter()
        .enumerate()
        .map(|(i, height)| {
            let left = (first + i as f64) * step;
            (left, left + step, height as f64)
        })
        .collect()
}
