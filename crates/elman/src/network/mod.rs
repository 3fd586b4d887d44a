//! Networks: structs of layers, each with its backward pass written as its
//! forward pass reversed.
//!
//! | configuration | network |
//! |---|---|
//! | many-to-one | [`Sequence`] with readout `last_state` or `all_states` |
//! | many-to-many, one output a step | [`Sequence`] with readout `every_step` |
//! | many-to-many, other lengths | [`EncoderDecoder`], or [`Sequence`] with `last_steps` |
//! | one-to-many | [`OneToMany`] |
//! | layers one after another, an embedding before them | [`Chain`] |
//! | stacked, bidirectional | any of them, by its [`RecurrentConfig`](crate::layer::RecurrentConfig) |
//!
//! A network is rebuilt from its [`NetworkConfig`], which is what a model file
//! stores.

mod any;
mod chain;
mod decoder;
mod encoder_decoder;
mod one_to_many;
mod sequence;

pub use any::{AnyCache, AnyNetwork, NetworkConfig};
pub use chain::{Chain, ChainCache, ChainConfig, ChainLayer, NamedLayer};
pub use decoder::DecoderCache;
pub use encoder_decoder::{EncoderDecoder, EncoderDecoderCache, EncoderDecoderConfig};
pub use one_to_many::{OneToMany, OneToManyCache, OneToManyConfig};
pub use sequence::{HeadConfig, Readout, Sequence, SequenceCache, SequenceConfig, Skip};

use crate::error::expect;
use crate::layer::{Pass, StackConfig, State, cut};
use crate::params::{Entry, Grads, Layout, Params};
use crate::{Error, Float, Result};
use ndarray::{ArrayView2, ArrayView3, ArrayViewMut3, Axis, aview1, s};
use std::ops::Range;
use std::sync::Arc;

/// What goes into a network; each kind of network says what it reads, and
/// refuses the rest.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a, F> {
    /// The sequences, (T, B, I).
    pub input: ArrayView3<'a, F>,
    /// What an embedding reads in place of `input`, (T, B).
    pub indices: Option<ArrayView2<'a, i64>>,
    /// What is known of the steps to predict, (K, B, C).
    pub known: Option<ArrayView3<'a, F>>,
    /// Where a decoder starts: its output before the first step, (B, O).
    pub start: Option<ArrayView2<'a, F>>,
    /// What a skip connection reads, (B, S).
    pub skip: Option<ArrayView2<'a, F>>,
    /// The true outputs, (K, B, O), read in place of a decoder's own (teacher
    /// forcing); in training only. Where one is NaN, a missing value, the
    /// decoder's own is read.
    pub teacher: Option<ArrayView3<'a, F>>,
}

impl<'a, F: Float> Inputs<'a, F> {
    /// Sequences and nothing else.
    pub fn sequences(input: ArrayView3<'a, F>) -> Self {
        Self {
            input,
            indices: None,
            known: None,
            start: None,
            skip: None,
            teacher: None,
        }
    }

    /// Indices (T, B) and nothing else.
    pub fn indices(indices: ArrayView2<'a, i64>) -> Self {
        let nothing = aview1(&[]).insert_axis(Axis(0)).insert_axis(Axis(0));
        Self {
            indices: Some(indices),
            ..Self::sequences(nothing)
        }
    }

    /// Steps and rows, (T, B).
    pub fn dim(&self) -> (usize, usize) {
        let (steps, rows, _) = self.input.dim();
        self.indices.map_or((steps, rows), |indices| indices.dim())
    }

    /// A part of the steps of a sequence, for a network that
    /// [can be cut](Network::carries_state) in time.
    pub(crate) fn cut(&self, part: &Range<usize>) -> Self {
        let of_indices = |indices: ArrayView2<'a, i64>| {
            let steps = indices.nrows();
            indices.slice_move(s![part.start.min(steps)..part.end.min(steps), ..])
        };
        Self {
            input: cut(self.input, part),
            indices: self.indices.map(of_indices),
            ..*self
        }
    }
}

/// A network that maps a batch of sequences to a batch of predictions.
pub trait Network<F: Float>: Send + Sync {
    /// What the forward pass keeps for the backward pass. Belongs to the
    /// caller, and is used again. `Sync`, as threads read the gradients of all
    /// blocks of a batch, caches beside them.
    type Cache: Default + Send + Sync;

    /// Names, shapes and places of the parameters.
    fn layout(&self) -> &Arc<Layout>;

    /// Overwrites parameters of this layout with initial ones, as PyTorch draws
    /// them after `torch.manual_seed(seed)` when the layers are made in the
    /// order of the layout. What starts at zero is left as it is: `params` are
    /// zeros.
    fn draw(&self, seed: u64, params: &mut Params<F>);

    /// Initial parameters.
    fn init(&self, seed: u64) -> Params<F> {
        let mut params = Params::zeros(self.layout().clone());
        self.draw(seed, &mut params);
        params
    }

    /// Initial parameters of a network whose sizes came from a file or a flag.
    ///
    /// # Errors
    /// Where the system has no memory for them; [`init`](Self::init) ends the
    /// program there.
    fn try_init(&self, seed: u64) -> Result<Params<F>> {
        let mut params = Params::try_zeros(self.layout().clone())?;
        self.draw(seed, &mut params);
        Ok(params)
    }

    /// A state of zeros.
    fn start(&self, batch: usize) -> State<F>;

    /// Whether a sequence may be cut in time: passes over its parts one after
    /// the other, with the state carried from each to the next and
    /// [`Pass::first_step`] saying where a part begins, predict the bits of one
    /// pass over the whole. Such a network predicts once a step, K = T, and
    /// reads `input` alone. Needed for
    /// [truncated back-propagation](crate::train::TrainConfig::truncate).
    ///
    /// # Errors
    /// The reason where it may not, which is the default.
    fn carries_state(&self) -> Result<()> {
        Err(Error::option(
            "this network does not say that its sequences can be cut in time; implement `carries_state` if they can",
        ))
    }

    /// The shape of the prediction for these inputs, (K, B, O).
    ///
    /// # Errors
    /// Where the inputs do not fit the network.
    fn output_dim(&self, inputs: &Inputs<'_, F>) -> Result<(usize, usize, usize)>;

    /// Writes the prediction into `y`, shaped as
    /// [`output_dim`](Self::output_dim) says, and carries `state`.
    ///
    /// # Errors
    /// Where a shape does not fit.
    fn forward(
        &self,
        params: &Params<F>,
        inputs: &Inputs<'_, F>,
        pass: &Pass<'_>,
        state: &mut State<F>,
        cache: &mut Self::Cache,
        y: ArrayViewMut3<'_, F>,
    ) -> Result<()>;

    /// After [`forward`](Self::forward) with the same arguments: from the
    /// gradient of the prediction, `dy`, and of the final state, `d_state`,
    /// adds to `grads` and to `dx` (the gradient of `inputs.input`), and leaves
    /// the gradient of the initial state in `d_state`.
    ///
    /// # Errors
    /// Where a shape does not fit.
    #[expect(clippy::too_many_arguments, reason = "the call shape of every layer")]
    fn backward(
        &self,
        params: &Params<F>,
        inputs: &Inputs<'_, F>,
        cache: &mut Self::Cache,
        dy: ArrayView3<'_, F>,
        d_state: &mut State<F>,
        grads: &mut Grads<F>,
        dx: Option<ArrayViewMut3<'_, F>>,
    ) -> Result<()>;
}

/// Refuses a shape that differs.
fn same_dim<D: PartialEq + std::fmt::Debug>(name: &str, expected: D, got: D) -> Result<()> {
    if expected == got {
        return Ok(());
    }
    Err(Error::shape(format!(
        "{name}: expected {expected:?}, got {got:?}"
    )))
}

/// Refuses parameters, or gradients, of another network.
fn same_layout<F: Float>(name: &str, expected: &Arc<Layout>, got: &Params<F>) -> Result<()> {
    if Arc::ptr_eq(expected, got.layout()) || expected == got.layout() {
        return Ok(());
    }
    let (ours, theirs) = (expected.entries(), got.layout().entries());
    let same = ours.iter().zip(theirs).take_while(|(a, b)| a == b).count();
    let show = |entry: Option<&Entry>| {
        entry.map_or("no more".to_owned(), |e| {
            format!("{} {:?}", e.name, e.shape)
        })
    };
    Err(Error::shape(format!(
        "{name} of another network: expected {}, got {}",
        show(ours.get(same)),
        show(theirs.get(same))
    )))
}

/// Refuses what the network does not read.
fn unread(name: &str, given: bool) -> Result<()> {
    if given {
        return Err(Error::option(format!(
            "{name}: this network does not read it; leave it out"
        )));
    }
    Ok(())
}

/// The most steps that a network predicts.
const MAX_STEPS: usize = 1 << 20;

/// Refuses a number of steps to predict that is 0, or beyond all reason: a
/// model file of a few bytes would ask for all memory.
fn check_steps(steps: usize) -> Result<()> {
    if steps == 0 {
        return Err(Error::option("steps must be greater than zero"));
    }
    let expected = format!("at most {MAX_STEPS}");
    expect(steps <= MAX_STEPS, "steps", &expected, steps)
}

/// Networks have time on the first axis.
fn time_first(config: &StackConfig) -> Result<()> {
    if config.batch_first {
        return Err(Error::option(
            "batch_first: a network's arrays are (T, B, ..); permute the axes of a view instead",
        ));
    }
    Ok(())
}
