//! Checkpointing over time: memory for one more forward pass (Chen et al.
//! 2016).
//!
//! ```text
//! steps     0 . . . | k . . . | 2k . . . |        a segment has k steps
//! forward   s0        sk        s2k               states kept: T / k
//! backward                      s2k -> forward -> back
//!                     sk -> forward -> back       one segment's cache: k
//! ```
//!
//! With k = sqrt(T) both parts of the memory are sqrt(T). Every segment is an
//! ordinary pass over a part of the sequence, so its numbers are those of the
//! whole; only the gradients of the parameters are added in another order,
//! from the last segment to the first.

use super::steps::{check_lengths, cut, lengths_in, marks, parts, resets_in, time_first, turned};
use super::{Pass, Stack, StackCache, State};
use crate::cell::Cell;
use crate::params::{Grads, Params};
use crate::rng::Key;
use crate::{Error, Float, Result, Team};
use ndarray::{ArrayView2, ArrayView3, ArrayViewMut3};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// How long the segments of a checkpointed pass are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Checkpoint {
    /// The root of the number of steps, rounded up: the least memory.
    Sqrt,
    /// So many steps, at least 1.
    Every(usize),
}

impl Checkpoint {
    /// Steps of a segment in a sequence of `seq_len`.
    ///
    /// ```
    /// use elman::layer::Checkpoint;
    /// assert_eq!(Checkpoint::Sqrt.segment(1000), 32);
    /// assert_eq!(Checkpoint::Every(50).segment(1000), 50);
    /// ```
    pub fn segment(self, seq_len: usize) -> usize {
        match self {
            Self::Every(steps) => steps,
            Self::Sqrt => {
                let root = seq_len.isqrt();
                (root + usize::from(root * root < seq_len)).max(1)
            }
        }
    }

    /// Refuses segments of no steps.
    ///
    /// # Errors
    /// [`Every(0)`](Self::Every).
    pub fn validate(self) -> Result<()> {
        if self == Self::Every(0) {
            return Err(Error::option(
                "checkpoint: a segment must have at least one step",
            ));
        }
        Ok(())
    }
}

/// What a checkpointed pass keeps of its forward pass, beside the cache of one
/// segment.
#[derive(Debug, Clone)]
pub(crate) struct Segments<F> {
    seq_len: usize,
    size: usize,
    /// Whether there was a forward pass, and whether the cache still holds its
    /// last segment.
    ready: bool,
    fresh: bool,
    /// The states at the starts of the segments, one after the other, and the
    /// numbers in each.
    starts: Vec<F>,
    numbers: usize,
    /// The state that a segment is run from again.
    state: Option<State<F>>,
    /// Of the rows, and of those in the segment at hand.
    ragged: bool,
    lengths: Vec<usize>,
    left: Vec<usize>,
    /// Rows that were fresh at the start, and the marks of the pass, (T, B),
    /// empty where there are none.
    fresh_rows: Vec<bool>,
    resets: Vec<bool>,
    dropout: Option<Key>,
    first: (usize, usize, u32),
    team: Option<Team>,
}

impl<F> Default for Segments<F> {
    fn default() -> Self {
        Self {
            seq_len: 0,
            size: 1,
            ready: false,
            fresh: false,
            starts: Vec::new(),
            numbers: 0,
            state: None,
            ragged: false,
            lengths: Vec::new(),
            left: Vec::new(),
            fresh_rows: Vec::new(),
            resets: Vec::new(),
            dropout: None,
            first: (0, 0, 0),
            team: None,
        }
    }
}

impl<F: Float> Segments<F> {
    /// With time first: runs the segments forward, one after the other, each from the state that
    /// the one before has left, and keeps the states between.
    pub fn forward(
        &mut self,
        checkpoint: Checkpoint,
        (seq_len, batch): (usize, usize),
        pass: &Pass<'_>,
        state: &mut State<F>,
        mut run: impl FnMut(&Range<usize>, &Pass<'_>, &mut State<F>) -> Result<()>,
    ) -> Result<()> {
        self.ready = false;
        if let Some(lengths) = pass.lengths {
            check_lengths(seq_len, batch, lengths)?;
        }
        self.ragged = pass.lengths.is_some();
        self.lengths.clear();
        self.lengths.extend(pass.lengths.unwrap_or_default());
        self.resets.clear();
        if let Some(resets) = pass.resets {
            self.resets.extend(marks(resets, false, (seq_len, batch))?);
        }
        self.fresh_rows.clear();
        self.fresh_rows
            .extend((0..batch).map(|row| state.is_fresh(row)));
        self.seq_len = seq_len;
        self.size = checkpoint.segment(seq_len);
        self.dropout = pass.dropout;
        self.first = (pass.first_row, pass.first_step, pass.first_layer);
        self.team = pass.team.cloned();
        self.numbers = (0..state.slots()).map(|at| state.slot(at).len()).sum();
        let parts = parts(seq_len, self.size);
        self.starts.clear();
        self.starts.reserve_exact(parts.len() * self.numbers);
        for part in parts {
            for at in 0..state.slots() {
                self.starts.extend_from_slice(state.slot(at));
            }
            run(&part, &self.pass(&part), state)?;
        }
        if self.state.as_ref().is_none_or(|own| !alike(own, state)) {
            self.state = Some(state.clone());
        }
        (self.ready, self.fresh) = (true, true);
        Ok(())
    }

    /// Runs the segments back, from the last to the first; where `back` is
    /// given a state, the segment has to be run forward from it again before.
    pub fn backward(
        &mut self,
        (seq_len, batch): (usize, usize),
        mut back: impl FnMut(&Range<usize>, Option<(&Pass<'_>, &mut State<F>)>) -> Result<()>,
    ) -> Result<()> {
        let state = self.state.take().filter(|_| self.ready);
        let Some(mut state) = state else {
            return Err(Error::shape(
                "cache: it holds no checkpointed pass; run `forward` with it first",
            ));
        };
        let own = (self.seq_len, state.batch());
        if own != (seq_len, batch) {
            self.state = Some(state);
            return Err(Error::shape(format!(
                "input: the checkpointed pass in the cache had {} steps of {} rows, got {seq_len} of {batch}",
                own.0, own.1
            )));
        }
        let parts = parts(seq_len, self.size);
        let (count, fresh) = (parts.len(), self.fresh);
        let mut run = |i: usize, part: &Range<usize>| {
            if fresh && i + 1 == count {
                return back(part, None);
            }
            let mut start = &self.starts[i * self.numbers..];
            for at in 0..state.slots() {
                let slot = state.slot_mut(at);
                let (values, rest) = start.split_at(slot.len());
                slot.copy_from_slice(values);
                start = rest;
            }
            if i == 0 {
                state.set_fresh(&self.fresh_rows);
            }
            let pass = self.pass(part);
            back(part, Some((&pass, &mut state)))
        };
        let mut parts = parts.enumerate().rev();
        let result = parts.try_for_each(|(i, part)| run(i, &part));
        self.fresh &= count == 1;
        self.state = Some(state);
        result
    }

    /// What a segment's pass has beside its numbers.
    fn pass(&mut self, part: &Range<usize>) -> Pass<'_> {
        let (first_row, first_step, first_layer) = self.first;
        lengths_in(part, &self.lengths, &mut self.left);
        let dim = (self.seq_len, self.fresh_rows.len());
        let resets = ArrayView2::from_shape(dim, &self.resets).ok();
        Pass {
            lengths: self.ragged.then_some(&self.left),
            resets: resets.map(|resets| resets_in(part, resets)),
            dropout: self.dropout,
            first_row,
            first_step: first_step.wrapping_add(part.start),
            first_layer,
            inference: false,
            team: self.team.as_ref(),
        }
    }
}

/// True where two states have slots of the same sizes.
fn alike<F: Float>(a: &State<F>, b: &State<F>) -> bool {
    let mut slots = 0..a.slots();
    a.batch() == b.batch() && a.slots() == b.slots() && slots.all(|i| a.width(i) == b.width(i))
}

/// A stack whose passes keep the states at the starts of segments, and run each
/// segment forward once more on the way back; from
/// [`Stack::checkpointed`].
///
/// The same outputs, states and gradients of inputs and states as the stack,
/// bit for bit, dropout included; gradients of parameters up to the order of
/// their sums. The cache takes the memory of one segment's pass and of T / k
/// states.
///
/// ```
/// use elman::cell::CellKind;
/// use elman::layer::{Checkpoint, CheckpointCache, Pass, Recurrent, RecurrentConfig};
/// use elman::ndarray::Array3;
/// use elman::params::Params;
///
/// let layer = Recurrent::<f64>::new(&RecurrentConfig::new(CellKind::Lstm, 2, 8), 0)?;
/// let (stack, params) = (layer.stack().checkpointed(Checkpoint::Sqrt)?, layer.params());
/// let x = Array3::ones((1000, 1, 2));
/// let mut y = Array3::zeros((1000, 1, 8));
/// let mut state = layer.stack().start(1);
/// let mut cache = CheckpointCache::default(); // 32 segments of 32 steps
/// stack.forward(params, x.view(), &Pass::default(), &mut state, &mut cache, y.view_mut())?;
///
/// let dy = Array3::ones(y.dim());
/// let mut d_state = layer.stack().start(1);
/// let mut grads = Params::zeros(params.layout().clone());
/// let dy = Some(dy.view());
/// stack.backward(params, x.view(), &mut cache, dy, &mut d_state, &mut grads, None)?;
/// # Ok::<(), elman::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Checkpointed<'a, C> {
    stack: &'a Stack<C>,
    checkpoint: Checkpoint,
}

/// What a [`Checkpointed`] stack keeps from its forward pass, and its work
/// space. Belongs to the caller; no allocation once it is large enough.
#[derive(Debug, Clone, Default)]
pub struct CheckpointCache<F: Float> {
    /// Of one segment.
    pub(crate) stack: StackCache<F>,
    pub(crate) segments: Segments<F>,
    /// Outputs of a segment that is run again; not looked at.
    y: Vec<F>,
}

impl<C> Stack<C> {
    /// The stack with checkpointing over time.
    ///
    /// # Errors
    /// Where the stack is bidirectional or in reverse (that direction begins at
    /// the end of the sequence, and a layer above the first needs all of it), or
    /// a segment has no steps.
    pub fn checkpointed(&self, checkpoint: Checkpoint) -> Result<Checkpointed<'_, C>> {
        checkpoint.validate()?;
        self.check_cut().map_err(|e| e.at("checkpoint"))?;
        Ok(Checkpointed {
            stack: self,
            checkpoint,
        })
    }

    /// Refuses a stack that cannot run over a sequence part by part.
    pub(crate) fn check_cut(&self) -> Result<()> {
        self.check_one_way("be cut in time")
    }
}

impl<C> Checkpointed<'_, C> {
    /// As [`Stack::forward`].
    ///
    /// # Errors
    /// Where a shape does not fit, in PyTorch's words.
    pub fn forward<F: Float>(
        &self,
        params: &Params<F>,
        x: ArrayView3<'_, F>,
        pass: &Pass<'_>,
        state: &mut State<F>,
        cache: &mut CheckpointCache<F>,
        y: ArrayViewMut3<'_, F>,
    ) -> Result<()>
    where
        C: Cell<F>,
    {
        let batch_first = self.stack.config().batch_first;
        let (x, mut y) = (time_first(x, batch_first), time_first(y, batch_first));
        let (seq_len, batch, _) = x.dim();
        same_steps("output", (seq_len, batch), y.dim())?;
        self.stack.check_state("state", state, batch)?;
        let CheckpointCache {
            stack, segments, ..
        } = cache;
        let size = (seq_len, batch);
        let resets = pass
            .resets
            .map(|r| marks(r, batch_first, size))
            .transpose()?;
        let pass = Pass { resets, ..*pass };
        segments.forward(self.checkpoint, size, &pass, state, |part, pass, state| {
            let pass = &as_given(pass, batch_first);
            let x = time_first(cut(x.view(), part), batch_first);
            let y = time_first(cut(y.view_mut(), part), batch_first);
            self.stack.forward(params, x, pass, state, stack, y)
        })
    }

    /// As [`Stack::backward`], with the same `x` as on the way forward: the
    /// cache has no copy of it.
    ///
    /// # Errors
    /// Where a shape does not fit, or the cache holds no pass of this stack.
    #[expect(clippy::too_many_arguments, reason = "the call shape of every layer")]
    pub fn backward<F: Float>(
        &self,
        params: &Params<F>,
        x: ArrayView3<'_, F>,
        cache: &mut CheckpointCache<F>,
        dy: Option<ArrayView3<'_, F>>,
        d_state: &mut State<F>,
        grads: &mut Grads<F>,
        dx: Option<ArrayViewMut3<'_, F>>,
    ) -> Result<()>
    where
        C: Cell<F>,
    {
        let batch_first = self.stack.config().batch_first;
        let x = time_first(x, batch_first);
        let dy = dy.map(|dy| time_first(dy, batch_first));
        let mut dx = dx.map(|dx| time_first(dx, batch_first));
        let (seq_len, batch, _) = x.dim();
        let size = (seq_len, batch);
        for (name, dim) in [
            ("d_output", dy.as_ref().map(|a| a.dim())),
            ("d_input", dx.as_ref().map(|a| a.dim())),
        ] {
            dim.map_or(Ok(()), |dim| same_steps(name, size, dim))?;
        }
        let CheckpointCache { stack, segments, y } = cache;
        segments.backward(size, |part, again| {
            let x = time_first(cut(x.view(), part), batch_first);
            if let Some((pass, state)) = again {
                let pass = &as_given(pass, batch_first);
                let (a, b, _) = x.dim();
                let dim = (a, b, self.stack.output_size());
                y.resize(dim.0 * dim.1 * dim.2, F::zero());
                let y =
                    ArrayViewMut3::from_shape(dim, y).map_err(|e| Error::shape(e.to_string()))?;
                self.stack.forward(params, x, pass, state, stack, y)?;
            }
            let dy = dy
                .as_ref()
                .map(|dy| time_first(cut(dy.view(), part), batch_first));
            let dx = dx
                .as_mut()
                .map(|dx| time_first(cut(dx.view_mut(), part), batch_first));
            self.stack.backward(params, stack, dy, d_state, grads, dx)
        })
    }
}

/// A pass with time first, as the stack's interface has it.
fn as_given<'a>(pass: &Pass<'a>, batch_first: bool) -> Pass<'a> {
    Pass {
        resets: pass.resets.map(|resets| turned(resets, batch_first)),
        ..*pass
    }
}

/// Refuses an array (T, B, ..) of other steps or rows than the input.
fn same_steps(name: &str, (t, b): (usize, usize), got: (usize, usize, usize)) -> Result<()> {
    if (got.0, got.1) == (t, b) {
        return Ok(());
    }
    Err(Error::shape(format!(
        "{name}: expected {t} steps of {b} rows, as the input has, got {got:?} = (T, B, ..)"
    )))
}
