//! Batches divided into blocks of rows, and the blocks over threads; long
//! sequences cut into parts, one after the other. Between a batch and the next,
//! threads divide the sums of gradients and the step of the optimiser, and gather
//! the examples to come meanwhile.

use super::Threads;
use super::examples::{Batch, Examples, reshape};
use crate::layer::{Pass, State, check_lengths, cut, lengths_in, parts, resets_in};
use crate::loss::{Loss, Reduction};
use crate::network::Network;
use crate::optim::{OptimizerState, is_one_part, split, square_sum};
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

/// Gathers examples into a batch.
fn gather<F: Float>(examples: &dyn Examples<F>, numbers: &[usize], batch: &mut Batch<F>) {
    examples.gather(numbers, batch);
    batch.hide_weightless();
}

/// The examples of a block.
fn rows_of(numbers: &[usize], block: usize) -> &[usize] {
    &numbers[block * ROWS..numbers.len().min((block + 1) * ROWS)]
}

/// A network, its threads, and the work space of every block.
pub(super) struct Blocks<'a, F: Float, N: Network<F>> {
    network: &'a N,
    team: Team,
    blocks: Vec<Block<F, N>>,
    /// Blocks of the batch at hand.
    used: usize,
    /// Blocks of the batch to come, where it has been gathered.
    ahead: usize,
    grads: Grads<F>,
}

/// The gradients of a batch in [`Blocks`], and the loss they are of.
pub(super) struct Gradients {
    /// The mean loss, and the number it was divided by.
    pub loss: f64,
    pub divisor: f64,
    /// Whether every gradient is a finite number.
    pub finite: bool,
    /// Their 2-norm, where it was asked for.
    pub norm: Option<f64>,
}

struct Block<F: Float, N: Network<F>> {
    /// What is trained on or predicted, and what will be next.
    batch: Batch<F>,
    ahead: Batch<F>,
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
    rows_ahead: usize,
    /// Of the last work.
    done: Result<()>,
}

impl<F: Float, N: Network<F>> Block<F, N> {
    /// Gathers examples to come.
    fn gather_ahead(&mut self, examples: &dyn Examples<F>, numbers: &[usize]) {
        gather(examples, numbers, &mut self.ahead);
        self.rows_ahead = numbers.len();
    }

    /// Takes up the examples that were gathered ahead.
    fn take_up(&mut self, network: &N) -> Result<()> {
        std::mem::swap(&mut self.batch, &mut self.ahead);
        self.rows = self.rows_ahead;
        self.begin(network, true)
    }

    /// Makes everything fit the examples, whose state is zero.
    fn begin(&mut self, network: &N, training: bool) -> Result<()> {
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
            ahead: 0,
            grads: Params::zeros(network.layout().clone()),
        })
    }

    /// Takes up a batch to train on: the one that the [`step`](Self::step) before
    /// has gathered, or gathers it. Returns the steps of its longest sequence.
    pub fn begin(&mut self, examples: &dyn Examples<F>, numbers: &[usize]) -> Result<usize> {
        let network = self.network;
        self.used = self.blocks_for(numbers.len());
        if self.ahead == 0 {
            let blocks = &mut self.blocks[..self.used];
            self.team.each(blocks, |i, block| {
                block.gather_ahead(examples, rows_of(numbers, i));
            });
        } else {
            let rows = self.blocks[..self.ahead].iter().map(|b| b.rows_ahead);
            debug_assert_eq!(rows.sum::<usize>(), numbers.len(), "another batch");
        }
        self.ahead = 0;
        for block in &mut self.blocks[..self.used] {
            block.take_up(network)?;
        }
        let blocks = self.blocks[..self.used].iter();
        Ok(blocks
            .map(|b| b.batch.inputs(true).dim().0)
            .max()
            .unwrap_or(0))
    }

    /// The loss of a part of the batch and its gradients, for a [`step`](Self::step).
    /// Parts come in order.
    pub fn gradients(
        &mut self,
        params: &Params<F>,
        part: &Range<usize>,
        loss: &Loss,
        dropout: Option<Key>,
        wants_norm: bool,
    ) -> Result<Gradients> {
        let (network, used) = (self.network, self.used);
        let team = self.team_inside(used);
        self.each(used, |i, block| {
            let pass = Pass {
                dropout,
                first_row: i * ROWS,
                team: Some(&team),
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
        let (finite, norm) = self.sum(wants_norm);
        Ok(Gradients {
            loss: self.blocks[..used].iter().map(|b| b.loss).sum(),
            divisor,
            finite,
            norm,
        })
    }

    /// Adds up the gradients of the blocks, in their order; whether all sums are
    /// finite, and their norm.
    fn sum(&mut self, wants_norm: bool) -> (bool, Option<f64>) {
        struct Sums<'a, F> {
            first: usize,
            sums: &'a mut [F],
            finite: bool,
            squares: f64,
        }
        let blocks = &self.blocks[..self.used];
        let mut first = 0;
        let mut parts = split(self.grads.values_mut()).map(|sums| {
            let part = Sums {
                first,
                sums,
                finite: true,
                squares: 0.0,
            };
            first += part.sums.len();
            part
        });
        let few = is_one_part(first);
        let team = if few { &Team::alone() } else { &self.team };
        team.each(&mut parts, |_, part| {
            part.sums.fill(F::zero());
            for block in blocks {
                let grads = &block.grads.values()[part.first..];
                for (sum, g) in part.sums.iter_mut().zip(grads) {
                    *sum += *g;
                }
            }
            part.finite = part.sums.iter().all(|g| g.is_finite());
            if wants_norm {
                part.squares = square_sum(part.sums);
            }
        });
        let squares: f64 = parts.iter().map(|part| part.squares).sum();
        let norm = wants_norm.then(|| squares.sqrt());
        (parts.iter().all(|part| part.finite), norm)
    }

    /// A step of the optimiser on the gradients times `scale`; meanwhile gathers
    /// the batch to come, where there is one.
    pub fn step(
        &mut self,
        optimizer: &mut OptimizerState<F>,
        params: &mut Params<F>,
        (lr, scale): (f64, Option<F>),
        next: Option<(&dyn Examples<F>, &[usize])>,
    ) -> Result<()> {
        let ahead = next.map_or(0, |(_, numbers)| self.blocks_for(numbers.len()));
        let (params, grads) = (params.values_mut(), self.grads.values_mut());
        let few = is_one_part(grads.len());
        let (step, mut parts) = optimizer.step_in_parts(params, grads, lr)?;
        let alone = ahead == 0 && few;
        let team = if alone { &Team::alone() } else { &self.team };
        team.both(
            &mut self.blocks[..ahead],
            |i, block| {
                if let Some((examples, numbers)) = next {
                    block.gather_ahead(examples, rows_of(numbers, i));
                }
            },
            &mut parts,
            |_, part| step.take_part(part, scale),
        );
        self.ahead = ahead;
        Ok(())
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
        let team = self.team_inside(used);
        let pass = Pass {
            inference: true,
            team: Some(&team),
            ..Pass::default()
        };
        self.each(used, |i, block| {
            let numbers = rows_of(numbers, i);
            gather(examples, numbers, &mut block.batch);
            block.rows = numbers.len();
            block.begin(network, false)?;
            let (steps, _) = block.batch.inputs(false).dim();
            parts(steps, size)
                .try_for_each(|part| block.forward(network, params, &part, pass, false))
        })?;
        Ok(used)
    }

    /// Threads that may divide the passes of a block: all where it is the only
    /// one.
    fn team_inside(&self, used: usize) -> Team {
        match used {
            1 => self.team.clone(),
            _ => Team::alone(),
        }
    }

    /// Makes sure that there are blocks for so many rows.
    fn blocks_for(&mut self, rows: usize) -> usize {
        let used = rows.div_ceil(ROWS);
        while self.blocks.len() < used {
            self.blocks.push(Block {
                batch: Batch::default(),
                ahead: Batch::default(),
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
                rows_ahead: 0,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::CellKind;
    use crate::layer::RecurrentConfig;
    use crate::network::{Readout, Sequence, SequenceConfig};
    use crate::optim::{Adam, Optimizer, clip_grad_norm};
    use crate::train::InMemory;
    use std::sync::Mutex;

    const EXAMPLES: usize = 70;

    /// Examples, and what has been asked for, sorted.
    struct Asked(InMemory<f64>, Mutex<Vec<usize>>);

    impl Asked {
        fn new() -> Self {
            let number = |(t, row, f): (usize, usize, usize)| {
                ((t * 7 + row * 3 + f * 11) % 17) as f64 / 17.0 - 0.5
            };
            let x = Array3::from_shape_fn((12, EXAMPLES, 2), number);
            let y = Array3::from_shape_fn((1, EXAMPLES, 1), number);
            Self(InMemory::new(x, y).unwrap(), Mutex::default())
        }

        fn taken(&self) -> Vec<usize> {
            let mut taken = std::mem::take(&mut *self.1.lock().unwrap());
            taken.sort_unstable();
            taken
        }
    }

    impl Examples<f64> for Asked {
        fn len(&self) -> usize {
            self.0.len()
        }

        fn gather(&self, numbers: &[usize], batch: &mut Batch<f64>) {
            self.1.lock().unwrap().extend(numbers);
            self.0.gather(numbers, batch);
        }
    }

    fn network() -> Sequence {
        Sequence::new(&SequenceConfig {
            recurrent: RecurrentConfig::new(CellKind::Lstm, 2, 40),
            readout: Readout::LastState,
            outputs: 1,
            head_dropout: 0.0,
            skip: None,
        })
        .unwrap()
    }

    /// Steps on batches of several blocks and of one, with or without the next
    /// gathered ahead: each is gathered once, and no bit depends on when.
    #[test]
    fn the_next_batch_is_gathered_with_the_step() {
        let (network, examples) = (network(), Asked::new());
        // The last one is of more blocks than there were before.
        let batches = [0..16, 16..64, 64..70, 0..70].map(Vec::from_iter);
        let run = |ahead: bool, threads| {
            let mut blocks = Blocks::new(&network, Threads(threads)).unwrap();
            let mut params: Params<f64> = network.init(0);
            let optimizer = Optimizer::Adam(Adam::default());
            let mut optimizer = optimizer.start(params.values().len()).unwrap();
            let mut losses = Vec::new();
            for (i, batch) in batches.iter().enumerate() {
                blocks.begin(&examples, batch).unwrap();
                let gathered = if ahead && i > 0 { &[][..] } else { batch };
                assert_eq!(examples.taken(), gathered);
                let of = blocks.gradients(&params, &ALL, &Loss::Mse, None, true);
                let of = of.unwrap();
                let mut grads = blocks.grads.values().to_vec();
                let norm = clip_grad_norm(&mut grads, f64::INFINITY).unwrap();
                assert!(of.finite && norm > 0.0 && of.norm == Some(norm));
                let next = batches.get(i + 1).filter(|_| ahead);
                let next = next.map(|next| (&examples as &dyn Examples<f64>, &next[..]));
                let how = (0.01, Some(0.5));
                blocks.step(&mut optimizer, &mut params, how, next).unwrap();
                assert_eq!(examples.taken(), next.map_or(&[][..], |next| next.1));
                // What is evaluated meanwhile leaves alone what is to come.
                blocks.loss(&params, &examples, &Loss::Mse).unwrap();
                examples.taken();
                losses.push((of.loss, of.norm));
            }
            (losses, params.values().to_vec())
        };
        let one = run(false, 1);
        let start: Params<f64> = network.init(0);
        assert_ne!(one.1, start.values());
        for threads in [1, 2, 3, 8] {
            assert_eq!(run(true, threads), one);
            assert_eq!(run(false, threads), one);
        }
    }
}
