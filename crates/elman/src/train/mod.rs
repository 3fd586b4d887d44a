//! The training loop: batches -> forward -> loss -> backward -> clip -> step, and
//! the next batch gathered meanwhile.
//!
//! A run is a function of its data, its [`TrainConfig`] and the initial
//! parameters: the same bytes on any number of threads.

mod blocks;
mod examples;

pub use examples::{Batch, Examples, InMemory};

use crate::layer::parts;
use crate::loss::Loss;
use crate::network::Network;
use crate::optim::{Optimizer, Schedule, clip_scale};
use crate::params::Params;
use crate::rng::{Key, Purpose};
use crate::{Error, Float, Result};
use blocks::{Blocks, Gradients};
use serde::{Deserialize, Serialize};

/// How a network is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Passes over the training examples, at least 1.
    pub epochs: usize,
    /// Examples in a batch, at least 1.
    pub batch_size: usize,
    /// A new order of the examples in every epoch.
    pub shuffle: bool,
    /// What is minimised.
    pub loss: Loss,
    /// The optimiser.
    pub optimizer: Optimizer,
    /// Its learning rate, which the schedule changes.
    pub learning_rate: f64,
    /// How the learning rate changes.
    pub schedule: Schedule,
    /// What the schedule counts.
    pub schedule_unit: Unit,
    /// Gradients are scaled down to this norm.
    pub clip_norm: Option<f64>,
    /// Epochs without a better validation loss after which training stops;
    /// counted where there are validation examples, and 0 is as 1.
    pub patience: Option<usize>,
    /// The parameters of the last epoch are kept whose validation loss is at
    /// most this share above the least one so far; 0 keeps those of the least.
    /// The least loss of a short validation part is mostly chance, and late
    /// epochs of a falling learning rate are the steadier ones.
    pub tolerance: f64,
    /// Seed of the shuffles and the dropout masks.
    pub seed: u64,
    /// Truncated back-propagation through time (Williams and Peng 1990): the
    /// sequences of a batch are cut into parts of so many steps. The state is
    /// carried from each part to the next, no gradient is (PyTorch's idiom
    /// `state.detach()`), and every part is a step of the optimiser on its own
    /// mean loss. A part in which no target has weight carries the state only.
    /// What the layers keep goes with the part and not with the sequence.
    ///
    /// For networks that [can be cut](Network::carries_state); at least 1.
    ///
    /// ```
    /// use elman::cell::CellKind;
    /// use elman::layer::RecurrentConfig;
    /// use elman::ndarray::Array2;
    /// use elman::network::{Network, NetworkConfig, Readout, SequenceConfig};
    /// use elman::train::{Control, InMemory, Threads, TrainConfig, fit};
    ///
    /// let network = NetworkConfig::Sequence(SequenceConfig {
    ///     recurrent: RecurrentConfig::new(CellKind::Lstm, 1, 8),
    ///     readout: Readout::EveryStep,
    ///     outputs: 1,
    ///     head_dropout: 0.0,
    ///     skip: None,
    /// })
    /// .build()?;
    /// // One series, and the value after each.
    /// let wave = |t: usize| (t as f32 / 7.0).sin();
    /// let x = Array2::from_shape_fn((2000, 1), |(t, _)| wave(t));
    /// let y = Array2::from_shape_fn((2000, 1), |(t, _)| wave(t + 1));
    /// let train = InMemory::batchify(x.view(), y.view(), 4)?; // 4 rows of 500 steps
    /// let config = TrainConfig {
    ///     epochs: 20,
    ///     learning_rate: 0.01,
    ///     truncate: Some(50), // 10 steps of the optimiser an epoch
    ///     ..TrainConfig::default()
    /// };
    /// let go_on = &mut |_: &_| Control::Continue;
    /// let trained = fit(&network, network.init(0), &train, None, &config, Threads(1), go_on)?;
    /// assert!(trained.train_losses[19] < 0.02 * trained.train_losses[0]);
    /// # Ok::<(), elman::Error>(())
    /// ```
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncate: Option<usize>,
}

impl Default for TrainConfig {
    /// 10 epochs of AdamW with learning rate 1e-3 on batches of 32 shuffled
    /// examples, mean squared error.
    fn default() -> Self {
        Self {
            epochs: 10,
            batch_size: 32,
            shuffle: true,
            loss: Loss::Mse,
            optimizer: Optimizer::AdamW(Default::default()),
            learning_rate: 1e-3,
            schedule: Schedule::Constant,
            schedule_unit: Unit::Epoch,
            clip_norm: None,
            patience: None,
            tolerance: 0.0,
            seed: 0,
            truncate: None,
        }
    }
}

/// What a schedule counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Steps of the optimiser.
    Step,
    /// Passes over the training examples.
    #[default]
    Epoch,
}

/// Where training stands, after each epoch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// The epoch that has ended, counted from 0.
    pub epoch: usize,
    /// Epochs asked for.
    pub epochs: usize,
    /// Mean loss over the epoch's batches.
    pub train_loss: f64,
    /// Loss of the validation examples, where there are any.
    pub valid_loss: Option<f64>,
    /// The least validation loss so far, or training loss without validation.
    pub best_loss: f64,
    /// The epoch it belongs to.
    pub best_epoch: usize,
}

/// What the caller wants after an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// Go on.
    Continue,
    /// Stop, and keep the best network so far.
    Stop,
}

/// Why training ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// All epochs are done.
    Completed,
    /// The validation loss got no better for `patience` epochs.
    Early,
    /// The caller asked for it.
    Asked,
    /// A loss, a gradient or a parameter was no longer finite at this step of
    /// the optimiser, counted from 0; the parameters kept are finite.
    NotFinite {
        /// The step.
        step: u64,
    },
}

/// A trained network.
#[derive(Debug, Clone)]
pub struct Trained<F> {
    /// The parameters kept: by the validation loss and
    /// [`tolerance`](TrainConfig::tolerance), or the last ones where there are
    /// no validation examples.
    pub params: Params<F>,
    /// The epoch they come from, counted from 0; with a tolerance it may be a
    /// later one than [`Progress::best_epoch`].
    pub kept_epoch: usize,
    /// Mean training loss of every epoch.
    pub train_losses: Vec<f64>,
    /// Validation loss of every epoch; empty without validation examples.
    pub valid_losses: Vec<f64>,
    /// Why training ended.
    pub ended: Ended,
}

/// How many threads a run has, the calling one among them; 0 is as 1.
///
/// Batches are divided into blocks of rows whose size does not depend on the
/// number of threads, and the blocks' gradients are added in order; a batch of
/// one block is divided inside of its layers. Threads divide the step of the
/// optimiser, too, and gather the next batch meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Threads(pub usize);

/// Trains a network.
///
/// With `valid` examples the parameters of the last epoch within
/// [`tolerance`](TrainConfig::tolerance) of the least validation loss are kept,
/// and [`patience`](TrainConfig::patience) may end the run early. `watch` is
/// called after every epoch and decides whether to go on.
///
/// # Errors
/// Where an option is out of its range, there are no examples, a shape does not
/// fit, or the numbers are no longer finite before the end of the first epoch,
/// when there is no good network to keep: the error names the step.
pub fn fit<F: Float, N: Network<F>>(
    network: &N,
    params: Params<F>,
    train: &dyn Examples<F>,
    valid: Option<&dyn Examples<F>>,
    config: &TrainConfig,
    threads: Threads,
    watch: &mut dyn FnMut(&Progress) -> Control,
) -> Result<Trained<F>> {
    if !(config.tolerance >= 0.0 && config.tolerance.is_finite()) {
        return Err(Error::option(format!(
            "tolerance: expected a finite number of at least 0, got {}",
            config.tolerance
        )));
    }
    for (name, n) in [("epochs", config.epochs), ("batch_size", config.batch_size)] {
        if n == 0 {
            return Err(Error::option(format!("{name} must be greater than zero")));
        }
    }
    if let Some(steps) = config.truncate {
        if steps == 0 {
            return Err(Error::option("truncate must be greater than zero"));
        }
        network.carries_state().map_err(|e| e.at("truncate"))?;
    }
    config.loss.validate()?;
    if train.is_empty() {
        return Err(Error::shape("no training examples"));
    }
    let valid = valid.filter(|v| !v.is_empty());
    let mut blocks = Blocks::new(network, threads)?;
    let mut optimizer = config.optimizer.start(params.values().len())?;
    let mut schedule = config.schedule.start(config.learning_rate)?;
    let shuffles = Key::new(config.seed, Purpose::Shuffle);
    let masks = Key::new(config.seed, Purpose::Dropout);

    let mut params = params;
    let mut trained = Trained {
        params: params.clone(),
        kept_epoch: 0,
        train_losses: Vec::new(),
        valid_losses: Vec::new(),
        ended: Ended::Completed,
    };
    let mut good = false;
    let (mut best_loss, mut least_epoch) = (f64::INFINITY, 0);
    let mut order: Vec<usize> = (0..train.len()).collect();
    'epochs: for epoch in 0..config.epochs {
        if config.shuffle {
            order.sort_unstable();
            let key = shuffles.step(epoch as u64);
            key.stream(0, 0).shuffle(&mut order);
        }
        let (mut sum, mut count) = (0.0, 0.0);
        let mut batches = order.chunks(config.batch_size).peekable();
        while let Some(batch) = batches.next() {
            let next = batches.peek().map(|numbers| (train, *numbers));
            let steps = blocks.begin(train, batch)?;
            let size = config.truncate.unwrap_or(usize::MAX);
            // One key for all parts: the masks are those of the uncut batch.
            let key = Some(masks.step(optimizer.steps()));
            for part in parts(steps, size) {
                let step = optimizer.steps();
                let clip = config.clip_norm;
                let Gradients {
                    loss,
                    divisor,
                    finite,
                    norm,
                } = blocks.gradients(&params, &part, &config.loss, key, clip.is_some())?;
                if size < steps && divisor == 0.0 {
                    continue;
                }
                let mut scale = None;
                if let (Some(norm), Some(max_norm)) = (norm, clip) {
                    scale = clip_scale(norm, max_norm)?;
                }
                if !(loss.is_finite() && finite && norm.is_none_or(f64::is_finite)) {
                    trained.ended = Ended::NotFinite { step };
                    break 'epochs;
                }
                let next = next.filter(|_| part.end >= steps);
                blocks.step(&mut optimizer, &mut params, (schedule.lr(), scale), next)?;
                if config.schedule_unit == Unit::Step {
                    schedule.step();
                }
                sum += loss * divisor;
                count += divisor;
            }
        }
        let train_loss = if count > 0.0 { sum / count } else { 0.0 };
        let valid_loss = match valid {
            Some(valid) => Some(blocks.loss(&params, valid, &config.loss)?),
            None => None,
        };
        // Without validation examples a first batch tells whether the newest
        // parameters are good.
        let check = match valid_loss {
            Some(loss) => loss,
            None => {
                let first = &order[..config.batch_size.min(order.len())];
                blocks.loss_of(&params, train, first, &config.loss)?
            }
        };
        if !(check.is_finite() && all_finite(&params)) {
            let step = optimizer.steps();
            trained.ended = Ended::NotFinite { step };
            break;
        }
        trained.train_losses.push(train_loss);
        trained.valid_losses.extend(valid_loss);
        let loss = valid_loss.unwrap_or(train_loss);
        if loss < best_loss || !good {
            (best_loss, least_epoch) = (loss, epoch);
        }
        let keep = best_loss + config.tolerance * best_loss.abs();
        if loss <= keep || valid.is_none() {
            trained.params.clone_from(&params);
            trained.kept_epoch = epoch;
            good = true;
        }
        schedule.observe(valid_loss.unwrap_or(train_loss));
        if config.schedule_unit == Unit::Epoch {
            schedule.step();
        }
        let progress = Progress {
            epoch,
            epochs: config.epochs,
            train_loss,
            valid_loss,
            best_loss,
            best_epoch: least_epoch,
        };
        if watch(&progress) == Control::Stop {
            trained.ended = Ended::Asked;
            break;
        }
        let waited = epoch - least_epoch;
        if valid.is_some() && config.patience.is_some_and(|p| waited >= p.max(1)) {
            trained.ended = Ended::Early;
            break;
        }
    }
    match trained.ended {
        Ended::NotFinite { step } if !good => Err(Error::numeric(format!(
            "training left the finite numbers at step {step}, before an epoch gave a network to keep; look for missing or huge values in the examples, or lower the learning rate ({})",
            config.learning_rate
        ))),
        _ => Ok(trained),
    }
}

fn all_finite<F: Float>(params: &Params<F>) -> bool {
    params.values().iter().all(|w| w.is_finite())
}

/// The mean loss of a network over examples, without dropout.
///
/// # Errors
/// Where a shape does not fit.
pub fn evaluate<F: Float, N: Network<F>>(
    network: &N,
    params: &Params<F>,
    examples: &dyn Examples<F>,
    loss: &Loss,
    threads: Threads,
) -> Result<f64> {
    Blocks::new(network, threads)?.loss(params, examples, loss)
}

/// The predictions of a network for examples, in order, without dropout:
/// `each(first example, batch of predictions (K, B, O))`.
///
/// # Errors
/// Where a shape does not fit.
pub fn predict<F: Float, N: Network<F>>(
    network: &N,
    params: &Params<F>,
    examples: &dyn Examples<F>,
    threads: Threads,
    mut each: impl FnMut(usize, ndarray::ArrayView3<'_, F>),
) -> Result<()> {
    Blocks::new(network, threads)?.predictions(params, examples, &mut each)
}
