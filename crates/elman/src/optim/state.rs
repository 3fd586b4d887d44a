use super::{Adam, AdamW, RmsProp, Sgd, not_negative};
use crate::{Error, Float, Result};
use serde::{Deserialize, Serialize};

/// An optimiser and its options.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Optimizer {
    /// Stochastic gradient descent.
    Sgd(Sgd),
    /// Adam.
    Adam(Adam),
    /// Adam with decoupled weight decay.
    #[serde(rename = "adamw")]
    AdamW(AdamW),
    /// RMSprop.
    #[serde(rename = "rmsprop")]
    RmsProp(RmsProp),
}

impl Optimizer {
    /// The optimiser before its first step over `len` parameters.
    ///
    /// # Errors
    ///
    /// An option out of range.
    pub fn start<F: Float>(&self, len: usize) -> Result<OptimizerState<F>> {
        self.validate()?;
        let buffers = self
            .buffer_names()
            .map(|name| vec![F::zero(); if name.is_some() { len } else { 0 }]);
        Ok(OptimizerState {
            optimizer: self.clone(),
            len,
            steps: 0,
            buffers,
        })
    }

    /// Refuses options outside their range; [`start`](Self::start) does so
    /// itself.
    pub fn validate(&self) -> Result<()> {
        match self {
            Self::Sgd(options) => options.validate(),
            Self::Adam(options) => options.validate(),
            Self::AdamW(options) => options.validate(),
            Self::RmsProp(options) => options.validate(),
        }
    }

    fn buffer_names(&self) -> BufferNames {
        match self {
            Self::Sgd(options) => options.buffer_names(),
            Self::Adam(_) | Self::AdamW(_) => Adam::BUFFER_NAMES,
            Self::RmsProp(options) => options.buffer_names(),
        }
    }
}

/// What an optimiser keeps of each parameter, by PyTorch's name; `None` where
/// its options need no such buffer.
pub(super) type BufferNames = [Option<&'static str>; 3];

/// The buffers in the order of [`BufferNames`], or the same part of each; those
/// without a name are empty.
pub(super) type Buffers<'a, F> = [&'a mut [F]; 3];

/// An optimiser at work: its options, how many steps it took, its moments.
#[derive(Debug, Clone, PartialEq)]
pub struct OptimizerState<F> {
    optimizer: Optimizer,
    len: usize,
    steps: u64,
    buffers: [Vec<F>; 3],
}

/// A step that has begun, and what it does to any part of the parameters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step<'a> {
    optimizer: &'a Optimizer,
    /// Its number, counted from 1.
    t: u64,
    lr: f64,
}

/// Some of the parameters, what is kept of them, and their gradients.
#[derive(Debug)]
pub(crate) struct Part<'a, F> {
    params: &'a mut [F],
    grads: &'a mut [F],
    buffers: Buffers<'a, F>,
}

impl<F: Float> OptimizerState<F> {
    /// One step with the learning rate `lr`.
    ///
    /// # Errors
    ///
    /// Slices of another length than the optimiser was started with, a
    /// learning rate that is negative or not finite. Nothing is changed then.
    pub fn step(&mut self, params: &mut [F], grads: &[F], lr: f64) -> Result<()> {
        let (step, buffers) = self.begin(params.len(), grads.len(), lr)?;
        step.take(params, grads, buffers);
        Ok(())
    }

    /// Begins a [`step`](Self::step) that is taken part by part, in any order: on
    /// parameters and gradients divided as [`split`] says, each by
    /// [`Step::take_part`].
    ///
    /// # Errors
    /// As there.
    pub(crate) fn step_in_parts<'a>(
        &'a mut self,
        params: &'a mut [F],
        grads: &'a mut [F],
        lr: f64,
    ) -> Result<(Step<'a>, [Part<'a, F>; PARTS])> {
        let (step, buffers) = self.begin(params.len(), grads.len(), lr)?;
        let (mut params, mut grads) = (split(params), split(grads));
        let mut buffers = buffers.map(split);
        let parts = std::array::from_fn(|i| Part {
            params: std::mem::take(&mut params[i]),
            grads: std::mem::take(&mut grads[i]),
            buffers: buffers.each_mut().map(|b| std::mem::take(&mut b[i])),
        });
        Ok((step, parts))
    }

    fn begin(
        &mut self,
        params: usize,
        grads: usize,
        lr: f64,
    ) -> Result<(Step<'_>, Buffers<'_, F>)> {
        same_len("params", self.len, params)?;
        same_len("grads", self.len, grads)?;
        not_negative("lr", lr)?;
        self.steps = self.steps.saturating_add(1);
        let step = Step {
            optimizer: &self.optimizer,
            t: self.steps,
            lr,
        };
        Ok((step, self.buffers.each_mut().map(Vec::as_mut_slice)))
    }

    /// The optimiser and its options.
    pub fn optimizer(&self) -> &Optimizer {
        &self.optimizer
    }

    /// How many steps were taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// What is kept of each parameter, by PyTorch's name (`momentum_buffer`,
    /// `exp_avg`, `exp_avg_sq`, `square_avg`, `grad_avg`), for a checkpoint.
    pub fn buffers(&self) -> impl Iterator<Item = (&'static str, &[F])> {
        let names = self.optimizer.buffer_names().into_iter();
        names
            .zip(&self.buffers)
            .filter_map(|(name, buffer)| Some((name?, buffer.as_slice())))
    }

    /// Takes up a checkpoint: what [`steps`](Self::steps) and
    /// [`buffers`](Self::buffers) gave, looked up by name.
    ///
    /// # Errors
    ///
    /// A buffer that is missing or has the wrong length. Nothing is changed
    /// then.
    pub fn restore<'a>(
        &mut self,
        steps: u64,
        buffer: impl Fn(&str) -> Option<&'a [F]>,
    ) -> Result<()> {
        let mut restored: [Vec<F>; 3] = Default::default();
        for (to, name) in restored.iter_mut().zip(self.optimizer.buffer_names()) {
            let Some(name) = name else { continue };
            let from = buffer(name).ok_or_else(|| {
                Error::shape(format!("{name}: expected {} numbers, got none", self.len))
            })?;
            same_len(name, self.len, from.len())?;
            *to = from.to_vec();
        }
        self.steps = steps;
        self.buffers = restored;
        Ok(())
    }
}

impl Step<'_> {
    fn take<F: Float>(self, params: &mut [F], grads: &[F], buffers: Buffers<'_, F>) {
        let Self { optimizer, t, lr } = self;
        match optimizer {
            Optimizer::Sgd(options) => options.step(t, params, grads, lr, buffers),
            Optimizer::Adam(options) => options.step(t, params, grads, lr, buffers),
            Optimizer::AdamW(options) => options.step(t, params, grads, lr, buffers),
            Optimizer::RmsProp(options) => options.step(params, grads, lr, buffers),
        }
    }

    /// The step on a part, its gradients times `scale`.
    pub(crate) fn take_part<F: Float>(self, part: &mut Part<'_, F>, scale: Option<F>) {
        if let Some(scale) = scale {
            part.grads.iter_mut().for_each(|g| *g *= scale);
        }
        let buffers = part.buffers.each_mut().map(|b| &mut **b);
        self.take(part.params, part.grads, buffers);
    }
}

/// Parts that numbers are divided into: enough for many threads, and always the
/// same, so that sums over parts are.
pub(super) const PARTS: usize = 16;

/// Numbers of a part at least: fewer are not worth a thread.
const FEW: usize = 4096;

/// Whether so many numbers are one part.
pub(crate) fn is_one_part(len: usize) -> bool {
    len <= FEW
}

/// The parts of a slice, in order; those at the end may be empty.
pub(crate) fn split<F>(slice: &mut [F]) -> [&mut [F]; PARTS] {
    let len = slice.len().div_ceil(PARTS).max(FEW);
    let mut chunks = slice.chunks_mut(len);
    std::array::from_fn(|_| chunks.next().unwrap_or_default())
}

fn same_len(name: &str, expected: usize, got: usize) -> Result<()> {
    if expected == got {
        return Ok(());
    }
    Err(Error::shape(format!(
        "{name}: expected {expected} numbers, got {got}"
    )))
}
