//! Batches divided into blocks of rows, and the blocks over threads; long
//! sequences cut into parts, one after the other.

use super::Threads;
use super::examples::{Batch, Examples, reshape};
use crate::layer::{Pass, State, check_lengths, cut, lengths_in, parts, resets_in};
use crate::loss::{Loss, Reduction};
use crate::network::Network;
use crate::params::{Grads, Params};
use crate::rng::Key;
use crate::{Float, Result, Team};
use ndarray::{Array3, ArrayView3};
use std::ops::Range;

/// Rows of a block: enough for the products, few enough for a small batch to
/// occupy two threads.
const ROWS: usize = 16;

/// Blocks of a pass without gradients.
const BLOCKS: usize = 8;

/// Steps of a part in a pass without gradients, where the network can carry
/// its state: what is kept for a backward pass would only take memory.
const STEPS: usize = 256;

/// The steps of an uncut sequence.
const ALL: Range<usize> = 0..usize::MAX;

/// A network, its threads, and the work space of every block.
pub(super) struct Blocks<'a, F: Float, N: Network<F>> {
    network: &'a N,
    team: Team,
    blocks: Vec<Block<F, N>>,
    /// Blocks of the gathered batch.
    used: usize,
    grads: Grads<F>,
}

struct Block<F: Float, N: Network<F>> {
    batch: Batch<F>,
    /// After the parts so far.
    state: State<F>,
    d_state: State<F>,
    /// Valid steps of every row in the part at hand.
    lengths: Vec<usize>,
    cache: N::Cache,
    /// Of all steps.
    y: Array3<F>,
    dy: Array3<F>,
    grads: Grads<F>,
    divisor: f64,
    loss: f64,
    rows: usize,
    /// Of the last work.
    done: Result<()>,
}

impl<F: Float, N: Network<F>> Block<F, N> {
    /// Gathers the examples; their state is zero.
    fn gather(
        &mut self,
        network: &N,
        examples: &dyn Examples<F>,
        numbers: &[usize],
        training: bool,
    ) -> Result<()> {
        examples.gather(numbers, &mut self.batch);
        self.batch.hide_weightless();
        self.rows = numbers.len();
        if self.state.batch() == self.rows {
            self.state.clear();
        } else {
            self.state = network.start(self.rows);
            self.d_state = self.state.clone();
        }
        let inputs = self.batch.inputs(training);
        if let Some(lengths) = &self.batch.lengths {
            let (steps, rows) = inputs.dim();
            check_lengths(steps, rows, lengths)?;
        }
        reshape(&mut self.y, network.output_dim(&inputs)?);
        Ok(())
    }

    /// Predicts a part of the steps, from the state after the part before.
    fn forward(
        &mut self,
        network: &N,
        params: &Params<F>,
        part: &Range<usize>,
        pass: Pass<'_>,
        training: bool,
    ) -> Result<()> {
        let inputs = self.batch.inputs(training).cut(part);
        let lengths = self.batch.lengths.as_ref().map(|lengths| {
            lengths_in(part, lengths, &mut self.lengths);
            &self.lengths[..]
        });
        let resets = self.batch.resets.as_ref();
        let pass = Pass {
            lengths,
            resets: resets.map(|resets| resets_in(part, resets.view())),
            first_step: part.start,
            ..pass
        };
        let y = cut(self.y.view_mut(), part);
        network.forward(params, &inputs, &pass, &mut self.state, &mut self.cache, y)
    }

    /// What the loss of a part is divided by.
    fn divide(&mut self, loss: &Loss, part: &Range<usize>) -> Result<()> {
        let target = cut(self.batch.target.view(), part);
        let weight = self.batch.weight.as_ref().map(|w| cut(w.view(), part));
        self.divisor = loss.divisor(Reduction::Mean, target, weight)?;
        Ok(())
    }

    /// The block's share of the loss of a part, and its gradient by the
    /// prediction.
    fn evaluate(&mut self, loss: &Loss, divisor: f64, part: &Range<usize>) -> Result<()> {
        reshape(&mut self.dy, self.y.dim());
        let target = cut(self.batch.target.view(), part);
        let weight = self.batch.weight.as_ref().map(|w| cut(w.view(), part));
        let (y, dy) = (cut(self.y.view(), part), cut(self.dy.view_mut(), part));
        self.loss = loss.evaluate(y, target, weight, divisor, dy)?;
        Ok(())
    }

    /// The gradients of a part; none goes on to the part before.
    fn backward(&mut self, network: &N, params: &Params<F>, part: &Range<usize>) -> Result<()> {
        self.grads.clear();
        self.d_state.clear();
        let inputs = self.batch.inputs(true).cut(part);
        let (cache, d_state) = (&mut self.cache, &mut self.d_state);
        let dy = cut(self.dy.view(), part);
        network.backward(params, &inputs, cache, dy, d_state, &mut self.grads, None)
    }
}

impl<'a, F: Float, N: Network<F>> Blocks<'a, F, N> {
    pub fn new(network: &'a N, threads: Threads) -> Result<Self> {
        Ok(Self {
            network,
            team: Team::new(threads.0.max(1))?,
            blocks: Vec::new(),
            used: 0,
            grads: Params::zeros(network.layout().clone()),
        })
    }

    /// The gradients of the last batch.
    pub fn grads(&mut self) -> &mut Grads<F> {
        &mut self.grads
    }

    /// Gathers a batch to train on; returns the steps of its longest sequence.
    pub fn gather(&mut self, examples: &dyn Examples<F>, numbers: &[usize]) -> Result<usize> {
        let network = self.network;
        self.used = self.blocks_for(numbers.len());
        self.each(self.used, |i, block| {
            let numbers = &numbers[i * ROWS..numbers.len().min((i + 1) * ROWS)];
            block.gather(network, examples, numbers, true)
        })?;
        let blocks = self.blocks[..self.used].iter();
        Ok(blocks
            .map(|b| b.batch.inputs(true).dim().0)
            .max()
            .unwrap_or(0))
    }

    /// Mean loss of a part of the gathered batch and the number it was divided
    /// by; leaves the gradients in [`grads`](Self::grads). Parts come in order.
    pub fn gradients(
        &mut self,
        params: &Params<F>,
        part: &Range<usize>,
        loss: &Loss,
        dropout: Option<Key>,
    ) -> Result<(f64, f64)> {
        let (network, used) = (self.network, self.used);
        self.each(used, |i, block| {
            let pass = Pass {
                dropout,
                first_row: i * ROWS,
                ..Pass::default()
            };
            block.forward(network, params, part, pass, true)?;
            block.divide(loss, part)
        })?;
        let divisor = self.blocks[..used].iter().map(|b| b.divisor).sum();
        self.each(used, |_, block| {
            block.evaluate(loss, divisor, part)?;
            block.backward(network, params, part)
        })?;
        self.grads.clear();
        let sums = self.grads.values_mut();
        for block in &self.blocks[..used] {
            for (sum, g) in sums.iter_mut().zip(block.grads.values()) {
                *sum += *g;
            }
        }
        Ok((self.blocks[..used].iter().map(|b| b.loss).sum(), divisor))
    }

    /// Mean loss over all examples.
    pub fn loss(
        &mut self,
        params: &Params<F>,
        examples: &dyn Examples<F>,
        loss: &Loss,
    ) -> Result<f64> {
        let numbers: Vec<usize> = (0..examples.len()).collect();
        let (mut sum, mut count) = (0.0, 0.0);
        for numbers in numbers.chunks(ROWS * BLOCKS) {
            let loss = self.loss_of(params, examples, numbers, loss)?;
            let divisor: f64 = self.blocks.iter().map(|b| b.divisor).sum();
            if divisor > 0.0 {
                sum += loss * divisor;
                count += divisor;
            }
        }
        Ok(if count > 0.0 { sum / count } else { 0.0 })
    }

    /// Mean loss over some examples, without dropout.
    pub fn loss_of(
        &mut self,
        params: &Params<F>,
        examples: &dyn Examples<F>,
        numbers: &[usize],
        loss: &Loss,
    ) -> Result<f64> {
        let used = self.run(params, examples, numbers)?;
        for block in &mut self.blocks {
            block.divisor = 0.0;
        }
        self.each(used, |_, block| block.divide(loss, &ALL))?;
        let divisor = self.blocks.iter().map(|b| b.divisor).sum();
        self.each(used, |_, block| block.evaluate(loss, divisor, &ALL))?;
        Ok(self.blocks[..used].iter().map(|b| b.loss).sum())
    }

    /// Hands the predictions of all examples to `each`, in order.
    pub fn predictions(
        &mut self,
        params: &Params<F>,
        examples: &dyn Examples<F>,
        each: &mut dyn FnMut(usize, ArrayView3<'_, F>),
    ) -> Result<()> {
        let numbers: Vec<usize> = (0..examples.len()).collect();
        let mut first = 0;
        for numbers in numbers.chunks(ROWS * BLOCKS) {
            let used = self.run(params, examples, numbers)?;
            for block in &self.blocks[..used] {
                each(first, block.y.view());
                first += block.rows;
            }
        }
        Ok(())
    }

    /// Predicts some examples; returns how many blocks they fill.
    fn run(
        &mut self,
        params: &Params<F>,
        examples: &dyn Examples<F>,
        numbers: &[usize],
    ) -> Result<usize> {
        let network = self.network;
        let used = self.blocks_for(numbers.len());
        let carries = network.carries_state().is_ok();
        let size = if carries { STEPS } else { usize::MAX };
        let pass = Pass {
            inference: true,
            ..Pass::default()
        };
        self.each(used, |i, block| {
            let numbers = &numbers[i * ROWS..numbers.len().min((i + 1) * ROWS)];
            block.gather(network, examples, numbers, false)?;
            let (steps, _) = block.batch.inputs(false).dim();
            parts(steps, size)
                .try_for_each(|part| block.forward(network, params, &part, pass, false))
        })?;
        Ok(used)
    }

    /// Makes sure that there are blocks for so many rows.
    fn blocks_for(&mut self, rows: usize) -> usize {
        let used = rows.div_ceil(ROWS);
        while self.blocks.len() < used {
            self.blocks.push(Block {
                batch: Batch::default(),
                state: self.network.start(0),
                d_state: self.network.start(0),
                lengths: Vec::new(),
                cache: N::Cache::default(),
                y: Array3::zeros((0, 0, 0)),
                dy: Array3::zeros((0, 0, 0)),
                grads: Params::zeros(self.network.layout().clone()),
                divisor: 0.0,
                loss: 0.0,
                rows: 0,
                done: Ok(()),
            });
        }
        used
    }

    /// Does some work on the first blocks, on all threads; the error is that of
    /// the first block that has one.
    fn each(
        &mut self,
        used: usize,
        work: impl Fn(usize, &mut Block<F, N>) -> Result<()> + Sync,
    ) -> Result<()> {
        let blocks = &mut self.blocks[..used];
        self.team
            .each(blocks, |i, block| block.done = work(i, block));
        blocks.iter().try_for_each(|block| block.done.clone())
    }
}
