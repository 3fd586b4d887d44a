//! From what was asked for to what is run: every default, and its reason.

use crate::calendar::Calendar;
use crate::options::{Cell, ForecastOptions, Gaps, Loss, Scaling, Strategy};
use crate::outcome::Choice;
use crate::series::Series;
use crate::time::TimeAxis;
use crate::windows::{Preparation, Prepared, Shape};
use crate::{Error, Result};
use elman::cell::CellKind;
use elman::layer::RecurrentConfig;
use elman::network::{NetworkConfig, Readout, SequenceConfig, Skip};
use elman::optim::{AdamW, Cosine, Optimizer, Schedule};
use elman::train::{TrainConfig, Unit};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Everything that decides a forecast, with no choice left. The same plan on
/// the same rows gives the same model, bit for bit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The forecast column.
    pub target: String,
    /// Steps to forecast.
    pub horizon: usize,
    /// Steps of one season, 1 for none.
    pub season: usize,
    /// How missing values are filled.
    pub gaps: Gaps,
    /// How several steps are forecast.
    pub strategy: Strategy,
    /// How examples are cut out of the series.
    pub shape: Shape,
    /// What the calendar tells.
    pub calendar: Calendar,
    /// The recurrent cell.
    pub cell: Cell,
    /// Units of a layer.
    pub hidden_size: usize,
    /// Recurrent layers.
    pub layers: usize,
    /// Share dropped in training: between layers, before the head, and of the
    /// vector beside the sequence.
    pub dropout: f64,
    /// What the training minimises.
    pub loss: Loss,
    /// Passes over the training windows, at most.
    pub epochs: usize,
    /// Windows of a batch.
    pub batch_size: usize,
    /// Learning rate at the start; it falls to 0 along a cosine.
    pub learning_rate: f64,
    /// Weight decay of AdamW.
    pub weight_decay: f64,
    /// Networks whose forecasts are averaged.
    pub members: usize,
    /// Epochs without a better validation loss before training stops.
    pub patience: Option<usize>,
    /// Rows of the test part.
    pub test_rows: usize,
    /// Seed of every random number.
    pub seed: u64,
}

impl Plan {
    /// Chooses what was left open, from the frequency and the length of the
    /// series, and says why.
    ///
    /// # Errors
    /// Where the series has too few rows for the horizon.
    pub fn resolve(options: &ForecastOptions, series: &Series) -> Result<(Self, Vec<Choice>)> {
        options.check()?;
        let first = series.values.iter().position(|v| !v.is_nan());
        let Some(first) = first else {
            return Err(Error::input(format!(
                "column {}: every value is missing; name another with --target",
                series.name
            )));
        };
        let rows = series.len() - first;
        let horizon = options.horizon;
        let frequency = series.axis.frequency();
        let mut choices = Choices(Vec::new());

        let season = choices.take("--season", options.season, || {
            let season = frequency.season();
            (season, format!("usual for {frequency} data"))
        });
        let gaps = choices.take("--gaps", options.gaps, || {
            (Gaps::Interpolate, "default".into())
        });
        let strategy = choices.take("--strategy", options.strategy, || {
            (Strategy::Direct, "default".into())
        });

        refuse_too_few(options, rows, first, &series.axis)?;
        let test_rows = choices.take("--test-rows", options.test_rows, || {
            test_rows(rows, &series.axis, horizon)
        });
        let before = rows - test_rows;
        let look_back = choices.take("--look-back", options.look_back, || {
            let (wanted, why) = wanted_look_back(season, horizon);
            let most = ((before - horizon) / 2).max(1);
            if wanted <= most {
                (wanted, why)
            } else {
                (
                    most,
                    format!(
                        "half of the {} rows before the test part that the horizon leaves",
                        before - horizon
                    ),
                )
            }
        });
        let windows = before + 1 - horizon - look_back;

        let cell = choices.take("--cell", options.cell, || (Cell::Gru, "default".into()));
        let hidden_size = choices.take("--hidden-size", options.hidden_size, || {
            (32, "default".into())
        });
        let layers = choices.take("--layers", options.layers, || (1, "default".into()));
        let dropout = choices.take("--dropout", options.dropout, || (0.3, "default".into()));
        let loss = choices.take("--loss", options.loss, || {
            (Loss::L1, "the error that the verdict compares".into())
        });
        let batch_size = choices.take("--batch-size", options.batch_size, || {
            let size = (windows / 16).clamp(4, 32);
            (size, format!("for {windows} training windows"))
        });
        let epochs = choices.take("--epochs", options.epochs, || {
            epochs(windows, batch_size, look_back + horizon)
        });
        let learning_rate = choices.take("--learning-rate", options.learning_rate, || {
            (3e-3, "default; falls to 0 along a cosine".into())
        });
        let members = choices.take("--members", options.members, || {
            (1, "one network; more are averaged".into())
        });
        let patience = options.patience;
        choices.0.push(Choice {
            flag: "--patience".into(),
            value: patience.map_or("off".into(), |p| p.to_string()),
            why: match patience {
                Some(_) => "given".into(),
                None => format!(
                    "all epochs are run; the last one within {:.0} % of the least loss is kept, and the final model trains as long",
                    100.0 * TOLERANCE
                ),
            },
        });

        let calendar = Calendar::of(&series.axis, season);
        let steps = strategy.steps(horizon);
        let scaling = choices.take("--scaling", options.scaling, || {
            scaling(series, gaps, season, test_rows, look_back, horizon)
        });
        choices.0.push(Choice {
            flag: "calendar inputs".into(),
            value: calendar.to_string(),
            why: "from the frequency and the length".into(),
        });
        let plan = Self {
            target: series.name.clone(),
            horizon,
            season,
            gaps,
            strategy,
            shape: Shape {
                look_back,
                steps,
                scaling,
            },
            calendar,
            cell,
            hidden_size,
            layers,
            dropout,
            loss,
            epochs,
            batch_size,
            learning_rate,
            weight_decay: WEIGHT_DECAY,
            members,
            patience,
            test_rows,
            seed: options.seed,
        };
        plan.check_size()?;
        Ok((plan, choices.0))
    }

    /// Refuses networks that would not fit the memory of a usual machine.
    fn check_size(&self) -> Result<()> {
        let (h, features) = (self.hidden_size, self.shape.features(&self.calendar));
        let gates = CellKind::from(self.cell).gates();
        let weights = gates * h * (features + h + 2 * h * (self.layers - 1));
        if weights.saturating_mul(self.members) > MOST_WEIGHTS {
            return Err(Error::input(format!(
                "--hidden-size {h}, --layers {}, --members {}: about {weights} weights a network; at most {MOST_WEIGHTS} in all are trained here, choose smaller ones",
                self.layers, self.members
            )));
        }
        Ok(())
    }

    /// Makes a series ready for windows; `offset` is the number of its first
    /// step in the series that the plan was made for.
    ///
    /// # Errors
    /// Where a gap is refused, or every value is missing.
    pub fn prepare(&self, values: &[f64], axis: &TimeAxis, offset: i64) -> Result<Prepared> {
        let by = Preparation {
            calendar: &self.calendar,
            horizon: self.horizon,
            gaps: self.gaps,
            season: self.season,
            offset,
        };
        Prepared::new(values, axis, by)
    }

    /// The network of every member.
    pub fn network(&self) -> NetworkConfig {
        let features = self.shape.features(&self.calendar);
        let mut recurrent = RecurrentConfig::new(self.cell.into(), features, self.hidden_size);
        recurrent.stack.num_layers = self.layers;
        if self.layers > 1 {
            recurrent.stack.dropout = self.dropout;
        }
        NetworkConfig::Sequence(SequenceConfig {
            recurrent,
            readout: Readout::LastSteps(self.shape.steps),
            outputs: 1,
            head_dropout: self.dropout,
            skip: Some(Skip {
                inputs: self.shape.beside(&self.calendar),
                dropout: self.dropout,
            }),
        })
    }

    /// How a member is trained on so many windows.
    pub fn training(&self, member: usize, windows: usize) -> TrainConfig {
        let steps = self.epochs * windows.div_ceil(self.batch_size);
        TrainConfig {
            epochs: self.epochs,
            batch_size: self.batch_size,
            shuffle: true,
            loss: match self.loss {
                Loss::Mse => elman::loss::Loss::Mse,
                Loss::L1 => elman::loss::Loss::L1,
                Loss::Huber => elman::loss::Loss::Huber { delta: 1.0 },
            },
            optimizer: Optimizer::AdamW(AdamW {
                weight_decay: self.weight_decay,
                ..AdamW::default()
            }),
            learning_rate: self.learning_rate,
            schedule: Schedule::Cosine(Cosine::new(steps.max(1) as u64)),
            schedule_unit: Unit::Step,
            clip_norm: Some(1.0),
            patience: self.patience,
            tolerance: TOLERANCE,
            seed: self.member_seed(member),
            truncate: None,
        }
    }

    /// The seed of a member; the first one's is the seed itself.
    pub fn member_seed(&self, member: usize) -> u64 {
        self.seed.wrapping_add(member as u64 * 0x9e37_79b9)
    }

    /// The model in one line.
    pub fn describe(&self) -> String {
        let plural = |n: usize, one: &str, many: &str| {
            if n == 1 {
                format!("1 {one}")
            } else {
                format!("{n} {many}")
            }
        };
        format!(
            "{}, {}, {}, look-back {}, {}, {}",
            self.cell.to_string().to_uppercase(),
            plural(self.hidden_size, "unit", "units"),
            plural(self.layers, "layer", "layers"),
            self.shape.look_back,
            self.strategy,
            plural(self.members, "network", "networks averaged"),
        )
    }
}

/// How the origins before the test part are divided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// Rows that training windows lie in.
    pub train: Range<usize>,
    /// Rows that decide when training stops; may be empty.
    pub stopping: Range<usize>,
    /// Rows that the intervals are calibrated on; may be empty.
    pub calibration: Range<usize>,
    /// Rows that nothing is trained on.
    pub test: Range<usize>,
}

impl Parts {
    /// Of the steps of a series from its first value on. A part too short to be
    /// of use is left out, and its rows go to the training. Where rows are
    /// short, a plan with patience keeps them for early stopping, another one
    /// for the intervals.
    pub fn of(plan: &Plan, prepared: &Prepared) -> Self {
        let (look_back, horizon) = (plan.shape.look_back, plan.horizon);
        let steps = prepared.first()..prepared.len();
        let before = steps.len() - plan.test_rows;
        // Three quarters of the windows at least stay for the training.
        let spare = before.saturating_sub(look_back + horizon) / 4;
        let for_stopping = before.div_ceil(20).max(horizon + 2);
        let test = steps.end - plan.test_rows;
        // A missing truth calibrates nothing: more rows make up for it.
        let mut counts = vec![0];
        for value in prepared.truth(0..test) {
            let last = counts.last().copied().unwrap_or(0);
            counts.push(last + usize::from(!value.is_nan()));
        }
        let known = |rows: usize| {
            let of_step = |k| counts[test + 1 - horizon + k] - counts[test - rows + k];
            (0..horizon).map(of_step).min().unwrap_or(0)
        };
        let wanted = before.div_ceil(20).max(horizon + NEEDED_AT_95);
        let for_calibration = (wanted..=spare)
            .find(|rows| known(*rows) > NEEDED_AT_95)
            .unwrap_or(wanted);
        let room = match plan.patience {
            Some(_) => spare.saturating_sub(for_stopping),
            None => spare,
        };
        let calibration = if for_calibration <= room {
            for_calibration
        } else if horizon + NEEDED_AT_80 <= room {
            room
        } else {
            0
        };
        let stopping = if for_stopping + calibration <= spare {
            for_stopping
        } else {
            0
        };
        let calibrate = test - calibration;
        let stop = calibrate - stopping;
        Self {
            train: steps.start..stop,
            stopping: stop..calibrate,
            calibration: calibrate..test,
            test: test..steps.end,
        }
    }

    /// The origins of training windows: window and steps lie in the part.
    pub fn windows(part: &Range<usize>, look_back: usize, steps: usize) -> Vec<usize> {
        Self::origins(&(part.start + look_back..part.end), steps)
    }

    /// The origins whose steps all lie in a part; their windows reach back
    /// before it.
    pub fn origins(part: &Range<usize>, steps: usize) -> Vec<usize> {
        (part.start..(part.end + 1).saturating_sub(steps)).collect()
    }
}

/// Weight decay of AdamW: strong, since the skip connection and the calendar
/// inputs give a small series many weights.
const WEIGHT_DECAY: f64 = 3.0;

/// The last epoch is kept where its validation loss is at most this much above
/// the least one: the least of a short part is mostly chance.
const TOLERANCE: f64 = 0.05;

/// Weights of all networks together: with gradients and the optimiser's
/// moments about 3 GB.
const MOST_WEIGHTS: usize = 100_000_000;

/// Rows below which nothing can be learnt, whatever the horizon.
const LEAST_ROWS: usize = 12;

/// Origins, less one, that intervals at 95 and at 80 % are calibrated on at
/// least.
const NEEDED_AT_95: usize = 18;
const NEEDED_AT_80: usize = 3;

/// Collects the choices as they are made.
struct Choices(Vec<Choice>);

impl Choices {
    fn take<T: ToString>(
        &mut self,
        flag: &str,
        given: Option<T>,
        default: impl FnOnce() -> (T, String),
    ) -> T {
        let (value, why) = match given {
            Some(value) => (value, "given".to_owned()),
            None => default(),
        };
        self.0.push(Choice {
            flag: flag.to_owned(),
            value: value.to_string(),
            why,
        });
        value
    }
}

/// Four seasons, but not so many steps that a network has to remember for too
/// long; where a season is longer still, the calendar inputs tell it.
fn wanted_look_back(season: usize, horizon: usize) -> (usize, String) {
    const MANY: usize = 168;
    const MOST: usize = 2 * MANY;
    let (steps, why) = match season {
        0 | 1 => (24, "usual where there is no season".to_owned()),
        _ if 4 * season <= MANY => (4 * season, "four seasons".to_owned()),
        _ if season <= MANY => (MANY, format!("enough for a season of {season}")),
        _ if season <= MOST => (season, "one season".to_owned()),
        _ => (MOST, format!("the most, for a season of {season}")),
    };
    if horizon <= steps {
        (steps, why)
    } else if horizon <= 4 * steps {
        (horizon, "the horizon".to_owned())
    } else {
        (4 * steps, format!("the horizon of {horizon} is longer"))
    }
}

/// The smaller of 26 weeks and a fifth of the rows, and the horizon at least.
fn test_rows(rows: usize, axis: &TimeAxis, horizon: usize) -> (usize, String) {
    let fifth = rows / 5;
    let weeks = axis.steps_in_weeks(26);
    let (wanted, why) = match weeks {
        Some(weeks) if weeks <= fifth => (weeks, "26 weeks".to_owned()),
        _ => (fifth, "a fifth of the rows".to_owned()),
    };
    if wanted >= horizon {
        (wanted, why)
    } else {
        (
            horizon,
            "the horizon: one forecast can be tested".to_owned(),
        )
    }
}

/// What is subtracted from a window: where the level of a window says what the
/// level of the next steps will be, its last value; else nothing.
fn scaling(
    series: &Series,
    gaps: Gaps,
    season: usize,
    test_rows: usize,
    look_back: usize,
    horizon: usize,
) -> (Scaling, String) {
    let end = series.len() - test_rows;
    let by = Preparation {
        calendar: &Calendar::none(),
        horizon: 0,
        gaps,
        season,
        offset: 0,
    };
    let prepared = Prepared::new(&series.values[..end], &series.axis, by);
    let persistence = prepared.map_or(1.0, |p| {
        let origins = Parts::windows(&(p.first()..end), look_back, horizon);
        p.persistence(&origins, look_back, horizon)
    });
    if persistence > 0.9 {
        (
            Scaling::Last,
            "the level wanders: the newest value says most".into(),
        )
    } else {
        (Scaling::None, "the level returns to its mean".into())
    }
}

/// Enough steps for a short series, and few enough passes over a long one that
/// a run takes about a minute on two cores.
fn epochs(windows: usize, batch_size: usize, steps: usize) -> (usize, String) {
    const WANTED: usize = 20;
    const LEAST_STEPS: usize = 400;
    const BUDGET: usize = 10_000_000;
    let batches = windows.div_ceil(batch_size).max(1);
    let affordable = (BUDGET / (windows * steps).max(1)).max(2);
    if affordable < WANTED {
        let why = format!("less than {WANTED}: there are {windows} windows of {steps} steps");
        return (affordable, why);
    }
    let needed = LEAST_STEPS.div_ceil(batches);
    if needed <= WANTED {
        (WANTED, "default".into())
    } else {
        (
            needed.min(affordable),
            format!("more than {WANTED}: there are {windows} windows only"),
        )
    }
}

/// Refuses a series without rows for one window of the test part, and for one
/// to train on before it; `blank` rows before the first value are not counted.
fn refuse_too_few(
    options: &ForecastOptions,
    rows: usize,
    blank: usize,
    axis: &TimeAxis,
) -> Result<()> {
    let horizon = options.horizon;
    let back = options.look_back.unwrap_or(1);
    let test = |horizon| {
        let default = || test_rows(rows, axis, horizon).0;
        options.test_rows.unwrap_or_else(default)
    };
    let needed = |horizon| test(horizon) + horizon + back;
    let fits = |horizon: &usize| *horizon <= test(*horizon) && needed(*horizon) <= rows;
    if fits(&horizon) && rows >= LEAST_ROWS {
        return Ok(());
    }
    let test_rows = test(horizon);
    if test_rows < horizon {
        return Err(Error::input(format!(
            "--test-rows {test_rows}: a forecast of {horizon} steps cannot be tested on {test_rows} rows; give {horizon} or more, or a shorter --horizon"
        )));
    }
    let not_counted = match blank {
        0 => String::new(),
        1 => " (without the blank one before the first value)".into(),
        n => format!(" (without the {n} blank ones before the first value)"),
    };
    if needed(horizon) <= LEAST_ROWS {
        return Err(Error::input(format!(
            "too few rows: {rows}{not_counted}, at least {LEAST_ROWS} are needed for any forecast"
        )));
    }
    let look_back = match options.look_back {
        None => "1 to look back on".to_owned(),
        Some(n) => format!("{n} to look back on (--look-back)"),
    };
    let shorter = || (1..horizon.min(rows)).rev().find(fits);
    let mend = if rows < LEAST_ROWS {
        String::new()
    } else if let Some(longest) = shorter() {
        format!("; with these rows --horizon {longest} is the longest")
    } else if options.look_back.is_some() && rows > test_rows + horizon {
        let most = rows - test_rows - horizon;
        format!("; with these rows --look-back {most} is the longest")
    } else if options.test_rows.is_some() && rows >= 2 * horizon + back {
        let most = rows - horizon - back;
        format!("; with these rows --test-rows {most} is the most")
    } else {
        String::new()
    };
    Err(Error::input(format!(
        "too few rows: {rows}{not_counted}, at least {} are needed: {test_rows} to test on, {horizon} to train on, {look_back}{mend}",
        needed(horizon).max(LEAST_ROWS)
    )))
}
