//! Several layers, one on the other: two LSTM layers with dropout between them,
//! watched on validation examples, stopped when those get no better.
//!
//!     x (T, B, 1) -> LSTM -> dropout -> LSTM -> last state (1, B, 24) -> next value (1, B, 1)
//!
//!     cargo run --release -p elman --example stacked

use elman::Result;
use elman::cell::CellKind;
use elman::layer::RecurrentConfig;
use elman::ndarray::Array3;
use elman::network::{Network, NetworkConfig, Readout, SequenceConfig};
use elman::optim::{Cosine, Schedule};
use elman::rng::{Key, Purpose};
use elman::train::{Control, Ended, InMemory, Progress, Threads, TrainConfig, Unit, evaluate, fit};

const STEPS: usize = 20;

/// Two waves whose periods do not fit together, and a little chance.
fn series(len: usize) -> Vec<f32> {
    let mut random = Key::new(3, Purpose::Sampling).stream(0, 0);
    let wave = |t: usize| (t as f32 / 5.0).sin() + 0.5 * (t as f32 / 1.7).sin();
    (0..len)
        .map(|t| wave(t) + 0.1 * (random.uniform::<f32>() - 0.5))
        .collect()
}

/// Windows of 20 values, (20, N, 1), and the value after each, (1, N, 1).
fn windows(series: &[f32]) -> Result<InMemory<f32>> {
    let n = series.len() - STEPS;
    let x = Array3::from_shape_fn((STEPS, n, 1), |(t, n, _)| series[n + t]);
    let y = Array3::from_shape_fn((1, n, 1), |(_, n, _)| series[n + STEPS]);
    InMemory::new(x, y)
}

/// What the example finds out.
pub struct Outcome {
    /// What looked like a mistake in the options of a stack of one layer, and
    /// of two.
    pub warnings: [Vec<String>; 2],
    /// Validation loss of each epoch.
    pub losses: Vec<f64>,
    /// Why training ended, and the epoch whose parameters were kept.
    pub ended: (Ended, usize),
    /// Loss over the last values, which were used for nothing else.
    pub test_loss: f64,
}

/// Trains; `watch` sees every epoch and may stop.
pub fn run(watch: &mut dyn FnMut(&Progress) -> Control) -> Result<Outcome> {
    let mut recurrent = RecurrentConfig::new(CellKind::Lstm, 1, 24);
    recurrent.stack.dropout = 0.1;
    // Dropout acts between layers: with one layer it does nothing.
    let one = recurrent.warnings();
    recurrent.stack.num_layers = 2;
    let two = recurrent.warnings();
    let network = NetworkConfig::Sequence(SequenceConfig {
        recurrent,
        readout: Readout::LastState,
        outputs: 1,
        head_dropout: 0.0,
        skip: None,
    })
    .build()?;

    let series = series(800);
    let (train, valid) = (windows(&series[..500])?, windows(&series[500..650])?);
    let test = windows(&series[650..])?;
    let config = TrainConfig {
        epochs: 200,
        learning_rate: 0.01,
        schedule: Schedule::Cosine(Cosine::new(200)),
        schedule_unit: Unit::Epoch,
        clip_norm: Some(1.0),
        patience: Some(15),
        ..TrainConfig::default()
    };
    let params = network.init(0);
    let trained = fit(
        &network,
        params,
        &train,
        Some(&valid),
        &config,
        Threads(1),
        watch,
    )?;
    Ok(Outcome {
        warnings: [one, two],
        test_loss: evaluate(&network, &trained.params, &test, &config.loss, Threads(1))?,
        ended: (trained.ended, trained.kept_epoch),
        losses: trained.valid_losses,
    })
}

fn main() -> Result<()> {
    let outcome = run(&mut |progress| {
        if let (0, Some(loss)) = (progress.epoch % 5, progress.valid_loss) {
            let (epoch, best) = (progress.epoch, progress.best_loss);
            println!("epoch {epoch:3}: validation loss {loss:.5}, best {best:.5}");
        }
        Control::Continue
    })?;
    println!("with one layer: {}", outcome.warnings[0].join("; "));
    let (ended, best) = outcome.ended;
    let epochs = outcome.losses.len();
    println!("ended after {epochs} epochs ({ended:?}), kept epoch {best}");
    println!("loss over unseen values {:.5}", outcome.test_loss);
    Ok(())
}
