//! Batches divided into blocks of rows, and the blocks over threads.

use super::examples::{Batch, Examples, reshape};
use super::Threads;
use crate::layer::{Pass, State};
use crate::loss::{Loss, Reduction};
use crate::network::Network;
use crate::params::{Grads, Params};
use crate::rng::Key;
use crate::{Error, Float, Result};
use ndarray::{Array3, ArrayView3};
use rayon::prelude::*;

/// Rows of a block: enough for the products, few enough for a small batch to
/// occupy two threads.
const ROWS: usize = 16;

/// Blocks of a pass without gradients.
const BLOCKS: usize = 8;

/// A network, its threads, and the work space of every block.
pub(super) struct Team<'a, F: Float, N: Network<F>> {
    network: &'a N,
    pool: Option<rayon::ThreadPool>,
    blocks: Vec<Block<F, N>>,
    grads: Grads<F>,
}

struct Block<F: Float, N: Network<F>> {
    batch: Batch<F>,
    state: State<F>,
    cache: N::Cache,
    y: Array3<F>,
    dy: Array3<F>,
    grads: Grads<F>,
    divisor: f64,
    loss: f64,
    rows: usize,
}

impl<F: Float, N: Network<F>> Block<F, N> {
    /// Gathers the examples and predicts.
    fn forward(
        &mut self,
        network: &N,
        params: &Params<F>,
        examples: &dyn Examples<F>,
        numbers: &[usize],
        pass: Pass<'_>,
        training: bool,
    ) -> Result<()> {
        examples.gather(numbers, &mut self.batch);
        self.batch.hide_weightless();
        self.rows = numbers.len();
        if self.state.batch() == self.rows {
            self.state.clear();
        } else {
            self.state = network.start(self.rows);
        }
        let inputs = self.batch.inputs(training);
        reshape(&mut self.y, network.output_dim(&inputs)?);
        let pass = Pass {
            lengths: self.batch.lengths.as_deref(),
            ..pass
        };
        let (state, cache, y) = (&mut self.state, &mut self.cache, self.y.view_mut());
        network.forward(params, &inputs, &pass, state, cache, y)
    }

    fn weight(&self) -> Option<ArrayView3<'_, F>> {
        self.batch.weight.as_ref().map(|a| a.view())
    }

    fn divide(&mut self, loss: &Loss) -> Result<()> {
        let target = self.batch.target.view();
        self.divisor = loss.divisor(Reduction::Mean, target, self.weight())?;
        Ok(())
    }

    /// The block's share of the loss, and its gradient by the prediction.
    fn evaluate(&mut self, loss: &Loss, divisor: f64) -> Result<()> {
        reshape(&mut self.dy, self.y.dim());
        let weight = self.batch.weight.as_ref().map(|a| a.view());
        let (y, target, dy) = (self.y.view(), self.batch.target.view(), self.dy.view_mut());
        self.loss = loss.evaluate(y, target, weight, divisor, dy)?;
        Ok(())
    }

    fn backward(&mut self, network: &N, params: &Params<F>) -> Result<()> {
        self.grads.clear();
        self.state.clear();
        let inputs = self.batch.inputs(true);
        let (cache, d_state) = (&mut self.cache, &mut self.state);
        let dy = self.dy.view();
        network.backward(params, &inputs, cache, dy, d_state, &mut self.grads, None)
    }
}

impl<'a, F: Float, N: Network<F>> Team<'a, F, N> {
    pub fn new(network: &'a N, threads: Threads) -> Result<Self> {
        let pool = if threads.0 > 1 {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.0);
            let pool = pool.build();
            Some(pool.map_err(|e| Error::option(format!("threads: {e}")))?)
        } else {
            None
        };
        Ok(Self {
            network,
            pool,
            blocks: Vec::new(),
            grads: Params::zeros(network.layout().clone()),
        })
    }

    /// The gradients of the last batch.
    pub fn grads(&mut self) -> &mut Grads<F> {
        &mut self.grads
    }

    /// Mean loss of a batch and the number it was divided by; leaves the
    /// gradients in [`grads`](Self::grads).
    pub fn gradients(
        &mut self,
        params: &Params<F>,
        examples: &dyn Examples<F>,
        numbers: &[usize],
        loss: &Loss,
        dropout: Option<Key>,
    ) -> Result<(f64, f64)> {
        let network = self.network;
        let used = self.blocks_for(numbers.len());
        self.each(used, |i, block| {
            let numbers = &numbers[i * ROWS..numbers.len().min((i + 1) * ROWS)];
            let pass = Pass {
                dropout,
                first_row: i * ROWS,
                ..Pass::default()
            };
            block.forward(network, params, examples, numbers, pass, true)?;
            block.divide(loss)
        })?;
        let divisor = self.blocks[..used].iter().map(|b| b.divisor).sum();
        self.each(used, |_, block| {
            block.evaluate(loss, divisor)?;
            block.backward(network, params)
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
        self.each(used, |_, block| block.divide(loss))?;
        let divisor = self.blocks.iter().map(|b| b.divisor).sum();
        self.each(used, |_, block| block.evaluate(loss, divisor))?;
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
        self.each(used, |i, block| {
            let numbers = &numbers[i * ROWS..numbers.len().min((i + 1) * ROWS)];
            block.forward(network, params, examples, numbers, Pass::default(), false)
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
                cache: N::Cache::default(),
                y: Array3::zeros((0, 0, 0)),
                dy: Array3::zeros((0, 0, 0)),
                grads: Params::zeros(self.network.layout().clone()),
                divisor: 0.0,
                loss: 0.0,
                rows: 0,
            });
        }
        used
    }

    /// Does some work on the first blocks, on all threads.
    fn each(
        &mut self,
        used: usize,
        work: impl Fn(usize, &mut Block<F, N>) -> Result<()> + Sync,
    ) -> Result<()> {
        let blocks = &mut self.blocks[..used];
        match &self.pool {
            Some(pool) if used > 1 => pool.install(|| {
                let blocks = blocks.par_iter_mut().enumerate();
                blocks.try_for_each(|(i, block)| work(i, block))
            }),
            _ => (blocks.iter_mut().enumerate()).try_for_each(|(i, block)| work(i, block)),
        }
    }
}
