//! Training the networks of a plan, and forecasting with them.

use crate::options::Strategy;
use crate::outcome::LossCurve;
use crate::plan::Plan;
use crate::windows::{Prepared, Scale, Windows};
use crate::{Error, Result};
use elman::network::{AnyNetwork, Network};
use elman::params::Params;
use elman::train::{self, Control, Ended, Examples, Threads};

/// Where a forecast run stands, after each epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// What is being trained: `model for the backtest`, `final model`.
    pub stage: String,
    /// The network, counted from 0.
    pub member: usize,
    /// Networks of this stage.
    pub members: usize,
    /// The epoch that has ended, counted from 0.
    pub epoch: usize,
    /// Epochs of each network.
    pub epochs: usize,
    /// Mean training loss of the epoch.
    pub train_loss: f64,
    /// Loss of the validation part, where there is one.
    pub valid_loss: Option<f64>,
    /// The least loss so far.
    pub best: f64,
}

/// Called after each epoch; decides whether to go on.
pub type Watch<'a> = &'a mut dyn FnMut(&Progress) -> Control;

/// Trained networks: what forecasts from a window.
#[derive(Debug, Clone)]
pub struct Learned {
    network: AnyNetwork,
    members: Vec<Params<f32>>,
    scale: Scale,
    threads: Threads,
}

/// What a training brought beside the networks.
#[derive(Debug, Clone)]
pub struct Report {
    /// One curve a network.
    pub curves: Vec<LossCurve>,
    /// The watcher asked to stop.
    pub stopped: bool,
    /// What went wrong on the way, each a sentence.
    pub notes: Vec<String>,
}

/// One training: its name, and the origins it learns from and is stopped by.
#[derive(Debug)]
pub struct Lesson<'a> {
    /// What is trained, as [`Progress::stage`].
    pub stage: &'a str,
    /// Name of the loss curves.
    pub curve: &'a str,
    /// Origins of the training windows.
    pub train: Vec<usize>,
    /// Origins of the windows that decide which epoch is kept; may be empty.
    pub stopping: Vec<usize>,
    /// The end of the rows that the training may see.
    pub end: usize,
    /// Epochs of each network, where they are to be fewer than the plan's: what
    /// an earlier training with a stopping part has found.
    pub epochs: Vec<usize>,
}

impl Learned {
    /// Trains every member of a plan.
    ///
    /// # Errors
    /// Where the loss leaves the finite numbers before there is a good network.
    pub fn train(
        plan: &Plan,
        prepared: &Prepared,
        lesson: Lesson<'_>,
        threads: Threads,
        watch: Watch<'_>,
    ) -> Result<(Self, Report)> {
        let network = plan.network().build()?;
        let scale = Scale::of(prepared, plan.shape, &lesson.train, lesson.end);
        let windows = |origins| Windows::new(prepared, plan.shape, scale, origins);
        let config = |member| plan.training(member, lesson.train.len());
        let stopping = windows(lesson.stopping.clone());
        let train = windows(lesson.train.clone());
        let mut learned = Self {
            network,
            members: Vec::new(),
            scale,
            threads,
        };
        let mut report = Report {
            curves: Vec::new(),
            stopped: false,
            notes: Vec::new(),
        };
        for member in 0..plan.members {
            let params = learned.network.try_init(plan.member_seed(member))?;
            let epochs = lesson.epochs.get(member).map_or(plan.epochs, |n| *n);
            let mut each = |p: &train::Progress| {
                let control = watch(&Progress {
                    stage: lesson.stage.to_owned(),
                    member,
                    members: plan.members,
                    epoch: p.epoch,
                    epochs,
                    train_loss: p.train_loss,
                    valid_loss: p.valid_loss,
                    best: p.best_loss,
                });
                report.stopped = control == Control::Stop;
                if p.epoch + 1 < epochs {
                    control
                } else {
                    Control::Stop
                }
            };
            let valid: Option<&dyn Examples<f32>> = Some(&stopping);
            let config = config(member);
            let network = &learned.network;
            let trained = train::fit(network, params, &train, valid, &config, threads, &mut each)
                .map_err(|e| Error::from(e).at(lesson.stage))?;
            learned.members.push(trained.params);
            report.curves.push(LossCurve {
                name: if plan.members == 1 {
                    lesson.curve.to_owned()
                } else {
                    format!("{}, network {}", lesson.curve, member + 1)
                },
                train: trained.train_losses,
                valid: trained.valid_losses,
                best: trained.kept_epoch,
            });
            match trained.ended {
                Ended::NotFinite { step } => report.notes.push(format!(
                    "{}: the loss was no longer finite at step {step}; the last good network was kept",
                    lesson.stage
                )),
                Ended::Completed | Ended::Early | Ended::Asked => {}
            }
            if report.stopped {
                break;
            }
        }
        Ok((learned, report))
    }

    /// Networks that were trained before.
    pub fn restore(
        network: AnyNetwork,
        members: Vec<Params<f32>>,
        scale: Scale,
        threads: Threads,
    ) -> Self {
        Self {
            network,
            members,
            scale,
            threads,
        }
    }

    /// The parameters of every network.
    pub fn members(&self) -> &[Params<f32>] {
        &self.members
    }

    /// What numbers are scaled by.
    pub fn scale(&self) -> Scale {
        self.scale
    }

    /// The forecasts at these origins, each `horizon` values, in the units of
    /// the table.
    ///
    /// # Errors
    /// Where a forecast is not finite.
    pub fn forecast(
        &self,
        plan: &Plan,
        prepared: &Prepared,
        origins: &[usize],
    ) -> Result<Vec<Vec<f64>>> {
        let mut sum = vec![vec![0.0; plan.horizon]; origins.len()];
        for member in &self.members {
            let forecasts = match plan.strategy {
                Strategy::Direct => {
                    let origins = origins.to_vec();
                    let windows = Windows::new(prepared, plan.shape, self.scale, origins);
                    self.apply(member, &windows)?
                }
                Strategy::Recursive => self.feed_back(member, plan, prepared, origins)?,
            };
            for (sum, forecast) in sum.iter_mut().zip(forecasts) {
                for (s, f) in sum.iter_mut().zip(forecast) {
                    *s += f / self.members.len() as f64;
                }
            }
        }
        if sum.iter().flatten().any(|f| !f.is_finite()) {
            return Err(Error::failed(
                "a forecast is not finite; look for huge values in the data, or lower --learning-rate",
            ));
        }
        Ok(sum)
    }

    /// One step at a time, each forecast put into the window of the next.
    fn feed_back(
        &self,
        member: &Params<f32>,
        plan: &Plan,
        prepared: &Prepared,
        origins: &[usize],
    ) -> Result<Vec<Vec<f64>>> {
        let known = Windows::new(prepared, plan.shape, self.scale, origins.to_vec());
        let mut windows: Vec<_> = (0..origins.len()).map(|i| known.window(i)).collect();
        let mut forecasts = vec![Vec::with_capacity(plan.horizon); origins.len()];
        for step in 0..plan.horizon {
            let at = origins.iter().map(|o| o + step).collect();
            let own = Windows::with(prepared, plan.shape, self.scale, at, windows.clone());
            let next = self.apply(member, &own)?;
            for (i, next) in next.into_iter().enumerate() {
                forecasts[i].extend_from_slice(&next);
                windows[i].rotate_left(1);
                if let (Some(last), Some(next)) = (windows[i].last_mut(), next.first()) {
                    *last = *next;
                }
            }
        }
        Ok(forecasts)
    }

    fn apply(&self, member: &Params<f32>, windows: &Windows<'_>) -> Result<Vec<Vec<f64>>> {
        let mut forecasts = Vec::with_capacity(windows.len());
        train::predict(&self.network, member, windows, self.threads, |first, y| {
            for row in 0..y.dim().1 {
                let outputs = (0..y.dim().0).map(|k| f64::from(y[[k, row, 0]]));
                forecasts.push(windows.unscale(first + row, outputs));
            }
        })?;
        Ok(forecasts)
    }
}
