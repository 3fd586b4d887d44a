//! Many to many: the energy use of the next 12 months from the last 24.
//!
//! An encoder reads the past; its state starts a decoder, which reads its own
//! last value and what is known of each month to come: the calendar. In
//! training it reads the true last value instead (teacher forcing); at the end
//! it runs free.
//!
//!     past (24, B, 3) -> GRU -> state (1, B, 32)
//!     [last value | calendar] (B, 1 + 2) -> GRU -> head -> next value, 12 times: (12, B, 1)
//!
//!     cargo run --release -p elman --example many_to_many

use elman::Result;
use elman::cell::CellKind;
use elman::layer::RecurrentConfig;
use elman::ndarray::{Array2, Array3};
use elman::network::{EncoderDecoderConfig, Network, NetworkConfig};
use elman::rng::{Key, Purpose};
use elman::train::{Batch, Control, Examples, Threads, TrainConfig, fit, predict};
use std::f64::consts::TAU;
use std::ops::Range;

const PAST: usize = 24;
const AHEAD: usize = 12;
const MONTHS: usize = 360;

/// Energy use of a household, month by month: a yearly wave, a sudden drop each
/// August and a rise each December, a slow drift, and chance.
fn energy() -> Vec<f64> {
    let mut random = Key::new(5, Purpose::Sampling).stream(0, 0);
    let mut drift = 0.0;
    (0..MONTHS)
        .map(|month| {
            drift = 0.9 * drift + 12.0 * (random.uniform::<f64>() - 0.5);
            let wave = 100.0 * (TAU * month as f64 / 12.0).cos();
            let sudden = match month % 12 {
                7 => -60.0,
                11 => 80.0,
                _ => 0.0,
            };
            300.0 + wave + sudden + drift + 20.0 * (random.uniform::<f64>() - 0.5)
        })
        .collect()
}

/// The month of the year as a place on a circle.
fn calendar(month: usize) -> [f32; 2] {
    let angle = TAU * (month % 12) as f64 / 12.0;
    [angle.sin() as f32, angle.cos() as f32]
}

/// Windows of the series, each 24 months and the 12 after them.
struct Windows<'a> {
    series: &'a [f64],
    /// First months.
    starts: Range<usize>,
}

/// Normalised: the numbers are around 300, and mostly within 120 of it.
fn scale(x: f64) -> f32 {
    ((x - 300.0) / 120.0) as f32
}

impl Examples<f32> for Windows<'_> {
    fn len(&self) -> usize {
        self.starts.len()
    }

    fn gather(&self, numbers: &[usize], batch: &mut Batch<f32>) {
        let n = numbers.len();
        let month = |t: usize, row: usize| self.starts.start + numbers[row] + t;
        let value = |t: usize, row: usize| scale(self.series[month(t, row)]);
        batch.input = Array3::from_shape_fn((PAST, n, 3), |(t, row, i)| match i {
            0 => value(t, row),
            _ => calendar(month(t, row))[i - 1],
        });
        let known = |(k, row, i): (usize, usize, usize)| calendar(month(PAST + k, row))[i];
        batch.known = Some(Array3::from_shape_fn((AHEAD, n, 2), known));
        batch.start = Some(Array2::from_shape_fn((n, 1), |(row, _)| {
            value(PAST - 1, row)
        }));
        batch.target = Array3::from_shape_fn((AHEAD, n, 1), |(k, row, _)| value(PAST + k, row));
        batch.teacher_forcing = true;
    }
}

/// What the example finds out.
pub struct Outcome {
    /// The training loss of each epoch.
    pub losses: Vec<f64>,
    /// Mean absolute error over the windows of the last ten years, which were
    /// not seen: of the network, and of repeating the same month a year ago.
    pub errors: [f64; 2],
    /// The last 12 months: predicted, and true.
    pub last: Vec<(f64, f64)>,
}

/// Trains on twenty years, and predicts the ten after them.
pub fn run() -> Result<Outcome> {
    let series = energy();
    let split = MONTHS - 120;
    let windows = |months: Range<usize>| Windows {
        series: &series,
        starts: months.start..months.end - PAST - AHEAD + 1,
    };
    let (train, test) = (windows(0..split), windows(split..MONTHS));
    let network = NetworkConfig::EncoderDecoder(EncoderDecoderConfig {
        recurrent: RecurrentConfig::new(CellKind::Gru, 3, 32),
        known: 2,
        outputs: 1,
        steps: AHEAD,
    })
    .build()?;
    let config = TrainConfig {
        epochs: 60,
        learning_rate: 0.005,
        clip_norm: Some(1.0),
        ..TrainConfig::default()
    };
    let go_on = &mut |_: &_| Control::Continue;
    let trained = fit(
        &network,
        network.init(0),
        &train,
        None,
        &config,
        Threads(1),
        go_on,
    )?;

    let (mut errors, mut last) = ([0.0; 2], Vec::new());
    predict(&network, &trained.params, &test, Threads(1), |first, y| {
        for ((k, row, _), y) in y.indexed_iter() {
            let month = split + first + row + PAST + k;
            let (predicted, truth) = (300.0 + 120.0 * f64::from(*y), series[month]);
            let guesses = [predicted, series[month - 12]];
            for (error, guess) in errors.iter_mut().zip(guesses) {
                *error += (guess - truth).abs() / (test.len() * AHEAD) as f64;
            }
            if first + row + 1 == test.len() {
                last.push((predicted, truth));
            }
        }
    })?;
    Ok(Outcome {
        losses: trained.train_losses,
        errors,
        last,
    })
}

fn main() -> Result<()> {
    let outcome = run()?;
    for (epoch, loss) in outcome.losses.iter().enumerate().step_by(10) {
        println!("epoch {epoch:2}: loss {loss:.5}");
    }
    println!("the last 12 months:");
    for (month, (predicted, truth)) in outcome.last.iter().enumerate() {
        println!(
            "  month {:2}: predicted {predicted:5.1}, was {truth:5.1}",
            month + 1
        );
    }
    let [network, naive] = outcome.errors;
    println!("mean error {network:.1}; of repeating the last year {naive:.1}");
    Ok(())
}
