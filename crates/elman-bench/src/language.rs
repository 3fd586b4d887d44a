//! A language model in training, by the engine's training loop.

use crate::case::Case;
use elman::Result;
use elman::layer::RecurrentConfig;
use elman::loss::{CrossEntropy, Loss};
use elman::ndarray::{Array2, Array3};
use elman::network::{Chain, ChainConfig, ChainLayer, NamedLayer, Network};
use elman::optim::{Adam, Optimizer};
use elman::rng::{Key, Purpose};
use elman::train::{Batch, Control, Examples, Threads, TrainConfig, fit};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Letters of the text.
pub const SYMBOLS: usize = 65;

/// Letters in memory; longer texts begin again.
const LETTERS: usize = 1 << 16;

/// A model and a text.
pub struct Runner {
    network: Chain,
    config: TrainConfig,
    threads: Threads,
    text: Vec<u8>,
    seq_len: usize,
}

/// Pieces of the text, one after the other, and the letter after each. Notes
/// when the first one of every batch is asked for.
struct Pieces<'a> {
    text: &'a [u8],
    seq_len: usize,
    batch: usize,
    batches: usize,
    begun: Mutex<Vec<Instant>>,
}

impl Pieces<'_> {
    fn letter(&self, piece: usize, t: usize) -> u8 {
        self.text[(piece * self.seq_len + t) % self.text.len()]
    }
}

impl Examples<f32> for Pieces<'_> {
    fn len(&self) -> usize {
        self.batches * self.batch
    }

    fn gather(&self, numbers: &[usize], batch: &mut Batch<f32>) {
        let now = Instant::now();
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        if numbers.first() == Some(&(begun.len() * self.batch)) {
            begun.push(now);
        }
        drop(begun);
        let dim = (self.seq_len, numbers.len());
        let indices = match &mut batch.indices {
            Some(indices) if indices.dim() == dim => indices,
            indices => indices.insert(Array2::zeros(dim)),
        };
        if batch.target.dim() != (dim.0, dim.1, 1) {
            batch.target = Array3::zeros((dim.0, dim.1, 1));
        }
        for ((t, row), index) in indices.indexed_iter_mut() {
            *index = i64::from(self.letter(numbers[row], t));
            batch.target[[t, row, 0]] = f32::from(self.letter(numbers[row], t + 1));
        }
    }
}

impl Runner {
    pub fn new(case: &Case, threads: usize, seed: u64) -> Result<Self> {
        let sizes = case.sizes();
        let layer = |prefix: &str, layer| NamedLayer {
            prefix: prefix.into(),
            layer,
        };
        let recurrent = RecurrentConfig::new(case.cell(), sizes.input_size, sizes.hidden_size);
        let config = ChainConfig {
            layers: vec![
                layer(
                    "encoder",
                    ChainLayer::Embedding {
                        num_embeddings: SYMBOLS,
                        embedding_dim: sizes.input_size,
                        padding_idx: None,
                    },
                ),
                layer("rnn", ChainLayer::Recurrent(recurrent)),
                layer(
                    "decoder",
                    ChainLayer::Linear {
                        in_features: sizes.hidden_size,
                        out_features: SYMBOLS,
                        bias: true,
                    },
                ),
            ],
        };
        let mut text = vec![0; LETTERS];
        let mut letters = Key::new(seed, Purpose::Sampling).stream(0, 0);
        text.fill_with(|| (letters.uniform::<f64>() * SYMBOLS as f64) as u8);
        Ok(Self {
            network: Chain::new(&config)?,
            config: TrainConfig {
                epochs: 1,
                batch_size: sizes.batch,
                shuffle: false,
                loss: Loss::CrossEntropy(CrossEntropy::default()),
                optimizer: Optimizer::Adam(Adam::default()),
                seed,
                ..TrainConfig::default()
            },
            threads: Threads(threads),
            text,
            seq_len: sizes.seq_len,
        })
    }

    /// How long each of so many training steps took: from the moment that the
    /// loop asks for a batch to the moment that it asks for the next.
    pub fn runs(&self, runs: usize) -> Result<Vec<Duration>> {
        let pieces = Pieces {
            text: &self.text,
            seq_len: self.seq_len,
            batch: self.config.batch_size,
            // The first step warms up, the last one ends the one before it.
            batches: runs.saturating_add(2),
            begun: Mutex::default(),
        };
        self.timed(&pieces)?;
        let begun = pieces.begun.into_inner();
        let begun = begun.unwrap_or_else(PoisonError::into_inner);
        let steps = begun.windows(2).skip(1);
        Ok(steps.map(|two| two[1] - two[0]).collect())
    }

    /// What is timed. A function of its own also in the program, so that its
    /// instructions can be counted.
    #[inline(never)]
    fn timed(&self, pieces: &Pieces<'_>) -> Result<()> {
        let go_on = &mut |_: &_| Control::Continue;
        let params = self.network.init(self.config.seed);
        fit(
            &self.network,
            params,
            pieces,
            None,
            &self.config,
            self.threads,
            go_on,
        )?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Row;

    #[test]
    fn every_step_is_timed_once() {
        let case = Case::grid(&[Row::EndToEnd], None, None)[0];
        for threads in [1, 2] {
            let runner = Runner::new(&case, threads, 0).unwrap();
            assert_eq!(runner.runs(3).unwrap().len(), 3);
        }
    }

    #[test]
    fn targets_are_the_letters_to_come() {
        let text: Vec<u8> = (0..20).collect();
        let pieces = Pieces {
            text: &text,
            seq_len: 3,
            batch: 2,
            batches: 4,
            begun: Mutex::default(),
        };
        let mut batch = Batch::default();
        for (numbers, begun) in [([0, 1], 1), ([2, 3], 2), ([3, 2], 2), ([0, 1], 2)] {
            pieces.gather(&numbers, &mut batch);
            let indices = batch.indices.as_ref().unwrap();
            for ((t, row), index) in indices.indexed_iter() {
                let letter = 3 * numbers[row] + t;
                assert_eq!(*index, letter as i64);
                assert_eq!(batch.target[[t, row, 0]], (letter + 1) as f32);
            }
            assert_eq!(pieces.begun.lock().unwrap().len(), begun);
        }
    }
}
