//! Layers: the recurrent stack, its ragged batches and states, single cells, the
//! linear map, the embedding, layer normalisation, and PyTorch's helpers for
//! sequences of different lengths.
//!
//! The call shape is the same everywhere: `forward(&self, params, x, pass,
//! state, cache, y)` and `backward(&self, params, cache, dy, d_state, grads,
//! dx)`. Layers own no arrays: parameters, states and caches belong to the
//! caller and are used again. Gradients of parameters and of inputs are always
//! added.
//!
//! Letters in shapes: `T` steps, `B` batch, `I` input size, `H` hidden size,
//! `R` output size of a cell (`proj_size`, or `H`), `L` layers, `D` directions.

mod checkpoint;
pub(crate) mod dropout;
mod embedding;
mod layer_norm;
mod linear;
mod pack;
mod recurrent;
mod stack;
mod state;
mod step_cell;
mod steps;

pub use checkpoint::{Checkpoint, CheckpointCache, Checkpointed};
pub use embedding::Embedding;
pub use layer_norm::{LayerNorm, LayerNormCache};
pub use linear::{Linear, LinearCache};
pub(crate) use pack::filled;
pub use pack::{
    PackedSequence, PaddingSide, pack_padded_sequence, pack_sequence, pad_packed_sequence,
    pad_sequence, unpack_sequence, unpad_sequence,
};
pub use recurrent::{Recurrent, RecurrentConfig};
pub use stack::{Merge, Stack, StackCache, StackConfig, Trace};
pub use state::State;
pub use step_cell::{GruCell, LstmCell, RnnCell, StepCell, StepGrads};
pub use steps::Steps;
pub(crate) use steps::{check_lengths, cut, lengths_in, parts, resets_in};

use crate::Team;
use crate::rng::Key;
use ndarray::ArrayView2;

/// What a pass over a batch has beside its numbers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pass<'a> {
    /// Valid steps of every row, in any order; `None` where all are.
    pub lengths: Option<&'a [usize]>,
    /// Where rows start afresh in mid-sequence, (T, B) or with `batch_first`
    /// (B, T): true before a step at which another sequence begins. The row
    /// goes on from zeros or the learned initial state, and no number and no
    /// gradient crosses the boundary, in either direction: the same bits as
    /// each part by itself. At step 0 the state that was given is not read.
    pub resets: Option<ArrayView2<'a, bool>>,
    /// The key of all masks (dropout, recurrent dropout, weight drop,
    /// zoneout), one for each training step; `None` where nothing is dropped.
    pub dropout: Option<Key>,
    /// The number of this batch's first row, where it is a part of a larger
    /// one: masks belong to rows, however a batch is divided.
    pub first_row: usize,
    /// The number of this part's first step, where it is a part of a longer
    /// sequence.
    pub first_step: usize,
    /// The number of this part's first layer, where it is a part of a network.
    pub first_layer: u32,
    /// True where only outputs and states are wanted: a recurrent stack then
    /// keeps nothing for a way back (which is refused), and no gates for a
    /// trace.
    pub inference: bool,
    /// Threads that may divide this pass and its way back. The cache keeps them,
    /// as by [`StackCache::set_team`]; `None` for those that it has. The numbers
    /// are the same on any.
    pub team: Option<&'a Team>,
}
