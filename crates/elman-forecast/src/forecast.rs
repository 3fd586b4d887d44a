//! The whole run: table in, forecast, verdict and model out.

use crate::backtest::{self, Linear, Method, Tested};
use crate::baseline::Baseline;
use crate::learner::{Learned, Lesson, Progress, Report};
use crate::model::ForecastModel;
use crate::options::ForecastOptions;
use crate::outcome::{Backtest, Choice, Observation, Outcome, Split};
use crate::plan::{Parts, Plan};
use crate::series::Series;
use crate::table::{ReadOptions, Table, lists};
use crate::time::TimeAxis;
use crate::verdict::verdict;
use crate::windows::Prepared;
use crate::{Error, Result};
use elman::train::{Control, Threads};
use std::ops::Range;
use std::path::Path;

/// Forecasts a column of a table, and says how good such forecasts were.
///
/// Trains a model on the rows before the test part, holds it against the simple
/// methods there, trains the final model on all rows, and forecasts with it.
/// `watch` is called after every epoch; where it asks to stop, the best network
/// so far is used for what remains.
///
/// ```
/// use elman_forecast::forecast;
/// use elman_forecast::options::ForecastOptions;
/// use elman::train::Control;
///
/// let folder = std::env::temp_dir().join(format!("elman-doc-{}", std::process::id()));
/// std::fs::create_dir_all(&folder).unwrap();
/// let path = folder.join("line.csv");
/// let rows: Vec<String> = (1..=60).map(|t| format!("{t},{t}\n")).collect();
/// std::fs::write(&path, format!("step,y\n{}", rows.concat())).unwrap();
///
/// let options = ForecastOptions {
///     target: Some("y".into()),
///     ..ForecastOptions::new(2)
/// };
/// let (outcome, _model) = forecast(&path, &options, &mut |_| Control::Continue)?;
/// assert_eq!(outcome.forecast[0].time, "61");
/// assert!((outcome.forecast[1].value - 62.0).abs() < 0.62);
/// # std::fs::remove_dir_all(&folder).unwrap();
/// # Ok::<(), elman_forecast::Error>(())
/// ```
///
/// # Errors
/// Where the table or an option is wrong, and where training fails.
pub fn forecast(
    path: &Path,
    options: &ForecastOptions,
    watch: &mut dyn FnMut(&Progress) -> Control,
) -> Result<(Outcome, ForecastModel)> {
    options.check()?;
    let table = Table::open(
        path,
        &ReadOptions {
            time: options.time.clone(),
            frequency: options.frequency.clone(),
            zone: options.zone.clone(),
            ..ReadOptions::default()
        },
    )?;
    let Some(target) = &options.target else {
        return Err(Error::input(format!(
            "{}: --target is missing; columns that can be forecast: {}",
            path.display(),
            lists(&table.numeric_columns())
        )));
    };
    let series = table.series(target)?;
    let (plan, choices) = Plan::resolve(options, &series).map_err(|e| e.at(path.display()))?;
    let run = Run::new(&plan, &series, options.threads).map_err(|e| e.at(path.display()))?;
    let done = run.all(watch)?;

    let splits = splits(&run.parts, &series.axis);
    let mut facts = table.facts();
    facts.extend(series.facts());
    let mut notes = table.notes();
    notes.extend(done.notes);
    let time_column = table.time_column();
    let model = ForecastModel::new(plan, done.learned, done.bands, time_column, &series.axis);
    let plan = model.plan();
    let outcome = Outcome {
        target: plan.target.clone(),
        frequency: series.axis.frequency().to_string(),
        horizon: plan.horizon,
        season: plan.season,
        model: plan.describe(),
        seed: plan.seed,
        facts,
        choices: choices.into_iter().chain(done.penalty).collect(),
        splits,
        ignored: table.ignored(&[target]),
        notes,
        history: history(&series),
        training: done.curves,
        verdict: verdict(&done.backtest.methods),
        backtest: done.backtest,
        forecast: done.forecast,
        interrupted: done.interrupted,
    };
    Ok((outcome, model))
}

/// One run over one series.
struct Run<'a> {
    plan: &'a Plan,
    axis: &'a TimeAxis,
    prepared: Prepared,
    parts: Parts,
    threads: Threads,
}

/// What a run brings.
struct Done {
    backtest: Backtest,
    curves: Vec<crate::outcome::LossCurve>,
    forecast: Vec<crate::outcome::ForecastRow>,
    learned: Learned,
    bands: crate::conformal::Bands,
    /// The penalty of ridge, as a setting.
    penalty: Option<Choice>,
    interrupted: bool,
    notes: Vec<String>,
}

impl<'a> Run<'a> {
    fn new(plan: &'a Plan, series: &'a Series, threads: Option<usize>) -> Result<Self> {
        let column = format!("column {}", plan.target);
        let prepared = plan
            .prepare(&series.values, &series.axis, 0)
            .map_err(|e| e.at(column))?;
        let parts = Parts::of(plan, &prepared);
        if let Some(patience) = plan.patience
            && parts.stopping.is_empty()
        {
            return Err(Error::input(format!(
                "--patience {patience}: the rows before the test part are too few to keep some for early stopping; leave it out, or give more rows"
            )));
        }
        let available = || std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            parts,
            plan,
            axis: &series.axis,
            prepared,
            threads: Threads(threads.unwrap_or_else(available)),
        })
    }

    fn all(&self, watch: &mut dyn FnMut(&Progress) -> Control) -> Result<Done> {
        let (plan, parts) = (self.plan, &self.parts);
        let (look_back, steps) = (plan.shape.look_back, plan.shape.steps);
        let lesson = Lesson {
            stage: "model for the backtest",
            curve: "backtest",
            train: Parts::windows(&parts.train, look_back, steps),
            stopping: Parts::origins(&parts.stopping, steps),
            end: parts.train.end,
            epochs: Vec::new(),
        };
        let (learned, report) = self.train(lesson, watch)?;
        let mut interrupted = report.stopped;
        let mut notes = report.notes;
        let mut curves = report.curves;

        let linear = Linear::fit(plan, &self.prepared, parts, learned.scale());
        let test =
            |method: &Method<'_>| backtest::test(method, plan, &self.prepared, parts, self.axis);
        let Tested {
            scores,
            bands,
            origins,
        } = test(&Method::Elman(&learned))?;
        let mut methods = vec![scores];
        for baseline in Baseline::ALL {
            methods.push(test(&Method::Naive(baseline))?.scores);
        }
        match &linear {
            Ok(linear) => methods.push(test(&Method::Ridge(linear))?.scores),
            Err(e) => notes.push(format!("ridge could not be fitted: {e}")),
        }
        notes.extend(bands.notes());

        let learned = if interrupted {
            notes.push(
                "training was interrupted: the best network so far, trained on the rows before the test part, makes the forecast".to_owned(),
            );
            learned
        } else {
            let all = parts.train.start..parts.test.end;
            let lesson = Lesson {
                stage: "final model",
                curve: "final",
                train: Parts::windows(&all, look_back, steps),
                stopping: Vec::new(),
                end: all.end,
                // As long as the network that was tested.
                epochs: curves.iter().map(|curve| curve.best + 1).collect(),
            };
            let (learned, report) = self.train(lesson, watch)?;
            interrupted = report.stopped;
            if interrupted {
                notes.push(
                    "training of the final model was interrupted: its newest network makes the forecast".to_owned(),
                );
            }
            notes.extend(report.notes);
            curves.extend(report.curves);
            learned
        };
        let origin = parts.test.end;
        let values = learned.forecast(plan, &self.prepared, &[origin])?.concat();
        let intervals = backtest::intervals(&bands, &values);
        Ok(Done {
            backtest: Backtest { methods, origins },
            curves,
            forecast: backtest::rows(self.axis, origin, &values, &intervals),
            learned,
            bands,
            penalty: linear.ok().map(|l| l.choice()),
            interrupted,
            notes,
        })
    }

    fn train(
        &self,
        lesson: Lesson<'_>,
        watch: &mut dyn FnMut(&Progress) -> Control,
    ) -> Result<(Learned, Report)> {
        Learned::train(self.plan, &self.prepared, lesson, self.threads, watch)
    }
}

fn splits(parts: &Parts, axis: &TimeAxis) -> Vec<Split> {
    let split = |name: &str, rows: &Range<usize>| Split {
        name: name.to_owned(),
        rows: rows.len(),
        from: axis.label(rows.start),
        to: axis.label(rows.end.saturating_sub(1)),
    };
    [
        ("train", &parts.train),
        ("early stopping", &parts.stopping),
        ("calibration", &parts.calibration),
        ("test", &parts.test),
    ]
    .into_iter()
    .filter(|(_, rows)| !rows.is_empty())
    .map(|(name, rows)| split(name, rows))
    .collect()
}

fn history(series: &Series) -> Vec<Observation> {
    let steps = series.values.iter().enumerate();
    steps
        .map(|(i, value)| Observation {
            time: series.axis.label(i),
            value: (!value.is_nan()).then_some(*value),
        })
        .collect()
}
