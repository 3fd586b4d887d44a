use super::{decay, expect, not_negative, power};
use crate::Result;
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// How the learning rate changes over time. Time t is what
/// [`Scheduler::step`] counts, batches or epochs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// It stays.
    Constant,
    /// It falls by a factor now and then (`StepLR`).
    StepLr(StepLr),
    /// It follows half a cosine down, after a linear warm-up if one is asked
    /// for (`CosineAnnealingLR`, `LinearLR`, `SequentialLR`).
    Cosine(Cosine),
    /// It falls when a metric stops improving (`ReduceLROnPlateau`).
    Plateau(Plateau),
}

/// Options of [`Schedule::StepLr`]: lr gamma^floor(t / `step_size`).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepLr {
    /// Time between two changes; at least 1.
    pub step_size: u64,
    /// The factor of a change; at least 0. PyTorch's default is 0.1.
    pub gamma: f64,
}

/// Options of [`Schedule::Cosine`].
///
/// ```text
/// t < warmup:  lr (s + (1 - s) t / warmup)                          s = start_factor
/// after it:    eta_min + (lr - eta_min) (1 + cos(pi u / t_max)) / 2  u = t - warmup
/// ```
///
/// As in PyTorch the rate rises again after u = `t_max`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cosine {
    /// Time from the highest to the lowest rate, without the warm-up; at
    /// least 1.
    pub t_max: u64,
    /// The lowest rate; at least 0.
    #[serde(default)]
    pub eta_min: f64,
    /// Time of the warm-up; 0 for none.
    #[serde(default)]
    pub warmup: u64,
    /// Where the warm-up starts, as a part of the rate: above 0, up to 1.
    #[serde(default = "Cosine::start_factor")]
    pub start_factor: f64,
}

impl Cosine {
    /// Without a warm-up, down to 0.
    pub fn new(t_max: u64) -> Self {
        Self {
            t_max,
            eta_min: 0.0,
            warmup: 0,
            start_factor: Self::start_factor(),
        }
    }

    /// PyTorch's `LinearLR`.
    fn start_factor() -> f64 {
        1.0 / 3.0
    }

    fn lr(&self, lr: f64, t: u64) -> f64 {
        if t < self.warmup {
            let done = t as f64 / self.warmup as f64;
            return lr * (self.start_factor + (1.0 - self.start_factor) * done);
        }
        let part = (t - self.warmup) as f64 / self.t_max as f64;
        self.eta_min + (lr - self.eta_min) * (1.0 + (PI * part).cos()) / 2.0
    }
}

/// Options of [`Schedule::Plateau`]: a metric to be made small, and what
/// happens when it does not become smaller.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Plateau {
    /// What the rate is multiplied with; at least 0 and below 1, 0.1 by
    /// default.
    pub factor: f64,
    /// How many observations in a row may fail to improve; 10 by default.
    pub patience: u64,
    /// The part of the best metric by which a better one must be smaller; at
    /// least 0, 1e-4 by default.
    pub threshold: f64,
    /// How many observations after a change count as good; 0 by default.
    pub cooldown: u64,
    /// The lowest rate; at least 0, 0 by default.
    pub min_lr: f64,
    /// Changes of the rate up to it are not made; at least 0, 1e-8 by
    /// default.
    pub eps: f64,
}

impl Default for Plateau {
    fn default() -> Self {
        Self {
            factor: 0.1,
            patience: 10,
            threshold: 1e-4,
            cooldown: 0,
            min_lr: 0.0,
            eps: 1e-8,
        }
    }
}

impl Schedule {
    /// The schedule at t = 0 with the learning rate `lr`.
    ///
    /// # Errors
    ///
    /// An option or the rate out of range.
    pub fn start(&self, lr: f64) -> Result<Scheduler> {
        self.validate()?;
        not_negative("lr", lr)?;
        Ok(Scheduler {
            schedule: self.clone(),
            base_lr: lr,
            position: Position {
                t: 0,
                plateau_lr: lr,
                best: None,
                num_bad: 0,
                cooldown: 0,
            },
        })
    }

    /// Refuses options outside their range; [`start`](Self::start) does so
    /// itself.
    pub fn validate(&self) -> Result<()> {
        match self {
            Self::Constant => Ok(()),
            Self::StepLr(StepLr { step_size, gamma }) => {
                expect(*step_size > 0, "step_size", "at least 1", step_size)?;
                not_negative("gamma", *gamma)
            }
            Self::Cosine(Cosine {
                t_max,
                eta_min,
                start_factor,
                ..
            }) => {
                expect(*t_max > 0, "t_max", "at least 1", t_max)?;
                not_negative("eta_min", *eta_min)?;
                expect(
                    *start_factor > 0.0 && *start_factor <= 1.0,
                    "start_factor",
                    "a number above 0 and up to 1",
                    start_factor,
                )
            }
            Self::Plateau(plateau) => {
                decay("factor", plateau.factor)?;
                not_negative("threshold", plateau.threshold)?;
                not_negative("min_lr", plateau.min_lr)?;
                not_negative("eps", plateau.eps)
            }
        }
    }
}

/// A schedule at a point in time.
#[derive(Debug, Clone, PartialEq)]
pub struct Scheduler {
    schedule: Schedule,
    base_lr: f64,
    position: Position,
}

/// Where a [`Scheduler`] stands, for a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    t: u64,
    /// The memory of [`Schedule::Plateau`].
    plateau_lr: f64,
    best: Option<f64>,
    num_bad: u64,
    cooldown: u64,
}

impl Scheduler {
    /// The learning rate now.
    pub fn lr(&self) -> f64 {
        let Position { t, plateau_lr, .. } = self.position;
        match &self.schedule {
            Schedule::Constant => self.base_lr,
            Schedule::StepLr(StepLr { step_size, gamma }) => {
                self.base_lr * power(*gamma, t / step_size)
            }
            Schedule::Cosine(cosine) => cosine.lr(self.base_lr, t),
            Schedule::Plateau(_) => plateau_lr,
        }
    }

    /// Time goes on by one. Call it after the optimiser's step, or after an
    /// epoch, in whatever unit the options count.
    pub fn step(&mut self) {
        self.position.t = self.position.t.saturating_add(1);
    }

    /// Tells [`Schedule::Plateau`] the metric, usually the validation loss
    /// after an epoch; the other schedules do not look at it. NaN counts as
    /// no improvement.
    pub fn observe(&mut self, metric: f64) {
        let Schedule::Plateau(plateau) = &self.schedule else {
            return;
        };
        let now = &mut self.position;
        let best = now.best.unwrap_or(f64::INFINITY);
        if metric < best * (1.0 - plateau.threshold) {
            now.best = Some(metric);
            now.num_bad = 0;
        } else {
            now.num_bad = now.num_bad.saturating_add(1);
        }
        if now.cooldown > 0 {
            now.cooldown -= 1;
            now.num_bad = 0;
        }
        if now.num_bad > plateau.patience {
            let lr = (now.plateau_lr * plateau.factor).max(plateau.min_lr);
            if now.plateau_lr - lr > plateau.eps {
                now.plateau_lr = lr;
            }
            now.cooldown = plateau.cooldown;
            now.num_bad = 0;
        }
    }

    /// Where the schedule stands.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Goes on from where [`position`](Self::position) was taken.
    pub fn restore(&mut self, position: Position) {
        self.position = position;
    }
}
