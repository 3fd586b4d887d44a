//! The networks of this crate as one type: what a model file is opened as.

use super::{
    Chain, ChainCache, ChainConfig, ChainLayer, EncoderDecoder, EncoderDecoderCache,
    EncoderDecoderConfig, Inputs, Network, OneToMany, OneToManyCache, OneToManyConfig, Sequence,
    SequenceCache, SequenceConfig,
};
use crate::cell::Cell;
use crate::layer::{Checkpoint, Pass, RecurrentConfig, State};
use crate::params::{Grads, Layout, Params};
use crate::{Error, Float, Result};
use ndarray::{ArrayView3, ArrayViewMut3};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Enough to rebuild a network: the `network` part of a model file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum NetworkConfig {
    /// Stack, readout, head.
    Sequence(SequenceConfig),
    /// Encoder and decoder.
    EncoderDecoder(EncoderDecoderConfig),
    /// One vector in, a sequence out.
    OneToMany(OneToManyConfig),
    /// Layers one after another.
    Chain(ChainConfig),
}

impl NetworkConfig {
    /// The recurrent stacks.
    fn recurrent(&self) -> Vec<&RecurrentConfig> {
        match self {
            Self::Sequence(c) => vec![&c.recurrent],
            Self::EncoderDecoder(c) => vec![&c.recurrent],
            Self::OneToMany(c) => vec![&c.recurrent],
            Self::Chain(c) => {
                let layers = c.layers.iter().map(|named| &named.layer);
                layers
                    .filter_map(|layer| match layer {
                        ChainLayer::Recurrent(c) => Some(c),
                        _ => None,
                    })
                    .collect()
            }
        }
    }

    /// Layers of all stacks together, before the network is built.
    pub(crate) fn num_layers(&self) -> usize {
        let layers = self.recurrent().into_iter().map(|c| c.stack.num_layers);
        layers.fold(0, usize::saturating_add)
    }

    /// True where all cells run through the kernels; false where one has an
    /// option that only the plain loop has (`layer_norm`, `reset_before`), or
    /// one that is refused.
    pub fn kernels(&self) -> bool {
        self.recurrent().into_iter().all(|c| {
            let cell = c.cell(c.input_size, c.hidden_size);
            cell.is_ok_and(|cell| Cell::<f32>::kernels(&cell))
        })
    }

    /// Builds the network.
    ///
    /// # Errors
    /// Where an option is out of its range.
    pub fn build(&self) -> Result<AnyNetwork> {
        Ok(match self {
            Self::Sequence(c) => AnyNetwork::Sequence(Sequence::new(c)?),
            Self::EncoderDecoder(c) => AnyNetwork::EncoderDecoder(EncoderDecoder::new(c)?),
            Self::OneToMany(c) => AnyNetwork::OneToMany(OneToMany::new(c)?),
            Self::Chain(c) => AnyNetwork::Chain(Chain::new(c)?),
        })
    }
}

/// Any of the networks of this crate.
#[derive(Debug, Clone)]
pub enum AnyNetwork {
    /// Stack, readout, head.
    Sequence(Sequence),
    /// Encoder and decoder.
    EncoderDecoder(EncoderDecoder),
    /// One vector in, a sequence out.
    OneToMany(OneToMany),
    /// Layers one after another.
    Chain(Chain),
}

/// The cache of whichever network it is.
#[derive(Debug, Clone, Default)]
pub enum AnyCache<F: Float> {
    /// Not used yet.
    #[default]
    Empty,
    /// Of a [`Sequence`].
    Sequence(Box<SequenceCache<F>>),
    /// Of an [`EncoderDecoder`].
    EncoderDecoder(Box<EncoderDecoderCache<F>>),
    /// Of a [`OneToMany`].
    OneToMany(Box<OneToManyCache<F>>),
    /// Of a [`Chain`].
    Chain(ChainCache<F>),
}

/// Calls the same method on whichever network it is.
macro_rules! each {
    ($self:ident, $net:ident => $call:expr) => {
        match $self {
            AnyNetwork::Sequence($net) => $call,
            AnyNetwork::EncoderDecoder($net) => $call,
            AnyNetwork::OneToMany($net) => $call,
            AnyNetwork::Chain($net) => $call,
        }
    };
}

/// The same, with the cache that belongs to it.
macro_rules! with_cache {
    ($self:ident, $cache:ident, $net:ident => $call:expr, $none:expr) => {
        match ($self, $cache) {
            (AnyNetwork::Sequence($net), AnyCache::Sequence($cache)) => $call,
            (AnyNetwork::EncoderDecoder($net), AnyCache::EncoderDecoder($cache)) => $call,
            (AnyNetwork::OneToMany($net), AnyCache::OneToMany($cache)) => $call,
            (AnyNetwork::Chain($net), AnyCache::Chain($cache)) => $call,
            _ => $none,
        }
    };
}

impl AnyNetwork {
    /// The configuration it is rebuilt from; `None` where its cells came from a
    /// closure.
    pub fn config(&self) -> Option<NetworkConfig> {
        Some(match self {
            Self::Sequence(n) => NetworkConfig::Sequence(n.config()?),
            Self::EncoderDecoder(n) => NetworkConfig::EncoderDecoder(n.config().clone()),
            Self::OneToMany(n) => NetworkConfig::OneToMany(n.config().clone()),
            Self::Chain(n) => NetworkConfig::Chain(n.config().clone()),
        })
    }

    /// The same network with checkpointing over time: see
    /// [`Sequence::checkpointed`].
    ///
    /// # Errors
    /// Where it is no [`Sequence`], or that refuses.
    pub fn checkpointed(self, checkpoint: Checkpoint) -> Result<Self> {
        match self {
            Self::Sequence(n) => Ok(Self::Sequence(n.checkpointed(checkpoint)?)),
            Self::EncoderDecoder(_) | Self::OneToMany(_) => Err(Error::option(
                "checkpoint: a network with a decoder keeps all its steps; only a sequence network can be checkpointed",
            )),
            Self::Chain(_) => Err(Error::option(
                "checkpoint: a chain keeps all its steps; only a sequence network can be checkpointed",
            )),
        }
    }

    fn fitting<F: Float>(&self, cache: &mut AnyCache<F>) {
        match (self, &cache) {
            (Self::Sequence(_), AnyCache::Sequence(_))
            | (Self::EncoderDecoder(_), AnyCache::EncoderDecoder(_))
            | (Self::OneToMany(_), AnyCache::OneToMany(_))
            | (Self::Chain(_), AnyCache::Chain(_)) => {}
            (Self::Sequence(_), _) => *cache = AnyCache::Sequence(Default::default()),
            (Self::EncoderDecoder(_), _) => *cache = AnyCache::EncoderDecoder(Default::default()),
            (Self::OneToMany(_), _) => *cache = AnyCache::OneToMany(Default::default()),
            (Self::Chain(_), _) => *cache = AnyCache::Chain(Default::default()),
        }
    }
}

impl<F: Float> Network<F> for AnyNetwork {
    type Cache = AnyCache<F>;

    fn layout(&self) -> &Arc<Layout> {
        each!(self, n => Network::<F>::layout(n))
    }

    fn draw(&self, seed: u64, params: &mut Params<F>) {
        each!(self, n => n.draw(seed, params))
    }

    fn start(&self, batch: usize) -> State<F> {
        each!(self, n => n.start(batch))
    }

    fn carries_state(&self) -> Result<()> {
        each!(self, n => Network::<F>::carries_state(n))
    }

    fn output_dim(&self, inputs: &Inputs<'_, F>) -> Result<(usize, usize, usize)> {
        each!(self, n => n.output_dim(inputs))
    }

    fn forward(
        &self,
        params: &Params<F>,
        inputs: &Inputs<'_, F>,
        pass: &Pass<'_>,
        state: &mut State<F>,
        cache: &mut Self::Cache,
        y: ArrayViewMut3<'_, F>,
    ) -> Result<()> {
        self.fitting(cache);
        with_cache!(self, cache, n => n.forward(params, inputs, pass, state, cache, y), Ok(()))
    }

    fn backward(
        &self,
        params: &Params<F>,
        inputs: &Inputs<'_, F>,
        cache: &mut Self::Cache,
        dy: ArrayView3<'_, F>,
        d_state: &mut State<F>,
        grads: &mut Grads<F>,
        dx: Option<ArrayViewMut3<'_, F>>,
    ) -> Result<()> {
        with_cache!(
            self, cache,
            n => n.backward(params, inputs, cache, dy, d_state, grads, dx),
            Err(Error::option("cache: backward needs the cache of a forward pass of the same network"))
        )
    }
}
