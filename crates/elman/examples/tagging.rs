//! One output a step, in both directions: mark the peaks of a sequence.
//!
//! Whether a step is higher than its neighbours cannot be known before the next
//! one is read: a network that goes forward only has to guess, one that also
//! goes backward need not.
//!
//!     x (T, B, 1) -> bidirectional GRU -> states (T, B, 2 * 12) -> score of "peak" (T, B, 1)
//!
//!     cargo run --release -p elman --example tagging

use elman::Result;
use elman::cell::CellKind;
use elman::layer::RecurrentConfig;
use elman::loss::Loss;
use elman::ndarray::{Array3, Axis};
use elman::network::{Network, NetworkConfig, Readout, SequenceConfig};
use elman::rng::{Key, Purpose};
use elman::train::{Batch, Control, Examples, Threads, TrainConfig, fit, predict};

const LONGEST: usize = 20;

/// Sequences side by side, padded to the longest.
struct Sequences {
    values: Array3<f32>, // (T, N, 1)
    lengths: Vec<usize>,
    peaks: Array3<f32>, // (T, N, 1), 1 at a peak
    valid: Array3<f32>, // (T, N, 1), 0 in the padding
}

impl Sequences {
    fn draw(count: usize, seed: u64) -> Self {
        let values = Array3::from_shape_fn((LONGEST, count, 1), |(t, n, _)| {
            Key::new(seed, Purpose::Sampling)
                .stream(n as u64, t as u64)
                .uniform()
        });
        let lengths: Vec<_> = (0..count).map(|n| 5 + n % (LONGEST - 4)).collect();
        let tag = |(t, n, _): (usize, usize, usize)| {
            let at = |t| values[[t, n, 0]];
            let inside = t > 0 && t + 1 < lengths[n];
            f32::from(u8::from(inside && at(t) > at(t - 1) && at(t) > at(t + 1)))
        };
        Self {
            peaks: Array3::from_shape_fn(values.dim(), tag),
            valid: Array3::from_shape_fn(values.dim(), |(t, n, _)| {
                f32::from(u8::from(t < lengths[n]))
            }),
            values,
            lengths,
        }
    }
}

impl Examples<f32> for Sequences {
    fn len(&self) -> usize {
        self.lengths.len()
    }

    fn gather(&self, numbers: &[usize], batch: &mut Batch<f32>) {
        batch.input = self.values.select(Axis(1), numbers);
        batch.lengths = Some(numbers.iter().map(|n| self.lengths[*n]).collect());
        batch.target = self.peaks.select(Axis(1), numbers);
        batch.weight = Some(self.valid.select(Axis(1), numbers)); // padding counts nothing
    }
}

/// What the example finds out.
pub struct Outcome {
    /// Share of the unseen steps tagged right: in both directions, and forward
    /// only.
    pub accuracy: [f64; 2],
    /// An unseen sequence: its values, and whether each is found to be a peak.
    pub sequence: Vec<(f32, bool)>,
}

/// Trains a network for each, and tags unseen sequences.
pub fn run() -> Result<Outcome> {
    let (sequences, unseen) = (Sequences::draw(400, 1), Sequences::draw(100, 2));
    let mut outcome = Outcome {
        accuracy: [0.0; 2],
        sequence: Vec::new(),
    };
    for (bidirectional, accuracy) in [true, false].into_iter().zip(&mut outcome.accuracy) {
        let mut recurrent = RecurrentConfig::new(CellKind::Gru, 1, 12);
        recurrent.stack.bidirectional = bidirectional;
        let network = NetworkConfig::Sequence(SequenceConfig {
            recurrent,
            readout: Readout::EveryStep,
            outputs: 1,
            head_dropout: 0.0,
            skip: None,
        })
        .build()?;
        let config = TrainConfig {
            epochs: 60,
            loss: Loss::BceWithLogits { pos_weight: None },
            learning_rate: 0.02,
            ..TrainConfig::default()
        };
        let go_on = &mut |_: &_| Control::Continue;
        let params = network.init(0);
        let trained = fit(
            &network,
            params,
            &sequences,
            None,
            &config,
            Threads(1),
            go_on,
        )?;

        let (mut right, mut steps) = (0.0, 0.0);
        predict(
            &network,
            &trained.params,
            &unseen,
            Threads(1),
            |first, scores| {
                for ((t, row, _), score) in scores.indexed_iter() {
                    let (n, peak) = (first + row, *score > 0.0);
                    if t < unseen.lengths[n] {
                        right += f64::from(u8::from(peak == (unseen.peaks[[t, n, 0]] == 1.0)));
                        steps += 1.0;
                        if bidirectional && n == 9 {
                            outcome.sequence.push((unseen.values[[t, n, 0]], peak));
                        }
                    }
                }
            },
        )?;
        *accuracy = right / steps;
    }
    Ok(outcome)
}

fn main() -> Result<()> {
    let outcome = run()?;
    println!("an unseen sequence:");
    for (value, peak) in &outcome.sequence {
        let bar = "#".repeat((40.0 * value) as usize);
        println!("  {bar}{}", if *peak { "  <- peak" } else { "" });
    }
    let [both, forward] = outcome.accuracy.map(|a| 100.0 * a);
    println!("{both:.1} % of unseen steps are right; {forward:.1} % reading forward only");
    Ok(())
}
