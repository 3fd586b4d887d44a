//! Encoder and decoder: a sequence in, a sequence of another length out.
//!
//! The encoder's final state is where the decoder begins; the decoder reads
//! its own previous output and what is known of each step to predict.

use super::decoder::{Decoder, DecoderCache, Feed};
use super::{Inputs, Network, check_steps, same_dim, same_layout, time_first, unread};
use crate::cell::AnyCell;
use crate::layer::{Linear, Pass, RecurrentConfig, Stack, StackCache, StackConfig, State};
use crate::params::{Grads, Layout, Params};
use crate::rng::TorchRng;
use crate::{Error, Float, Result};
use ndarray::{Array3, ArrayView3, ArrayViewMut3};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// An encoder-decoder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncoderDecoderConfig {
    /// The encoder, `encoder.weight_ih_l0`, ...; the decoder, `decoder.*`, is
    /// like it but for its input, its direction, which is forward also where
    /// the encoder reads in reverse (Sutskever et al. 2014), and its initial
    /// state, which is the encoder's last one and never learned.
    pub recurrent: RecurrentConfig,
    /// C, features known of every step to predict.
    pub known: usize,
    /// O, features of the prediction; `head.weight`, `head.bias`.
    pub outputs: usize,
    /// K, steps to predict.
    pub steps: usize,
}

impl EncoderDecoderConfig {
    /// The decoder's recurrent layer.
    pub(crate) fn decoder(&self) -> RecurrentConfig {
        RecurrentConfig {
            input_size: self.outputs.saturating_add(self.known),
            stack: StackConfig {
                reverse: false,
                learn_initial_state: false,
                ..self.recurrent.stack.clone()
            },
            ..self.recurrent.clone()
        }
    }
}

/// An encoder-decoder. Reads `input`, `start`, `known` and `teacher`.
#[derive(Debug, Clone)]
pub struct EncoderDecoder {
    config: EncoderDecoderConfig,
    encoder: Stack<AnyCell>,
    decoder: Decoder,
    layout: Arc<Layout>,
}

/// The cache of an [`EncoderDecoder`].
#[derive(Debug, Clone)]
pub struct EncoderDecoderCache<F: Float> {
    encoder: StackCache<F>,
    decoder: DecoderCache<F>,
    outputs: Array3<F>,
}

impl<F: Float> Default for EncoderDecoderCache<F> {
    fn default() -> Self {
        Self {
            encoder: StackCache::default(),
            decoder: DecoderCache::default(),
            outputs: Array3::zeros((0, 0, 0)),
        }
    }
}

impl EncoderDecoder {
    /// Builds the network.
    ///
    /// # Errors
    /// Where an option is out of its range, or the encoder is bidirectional:
    /// its state would not fit the decoder.
    pub fn new(config: &EncoderDecoderConfig) -> Result<Self> {
        time_first(&config.recurrent.stack)?;
        if config.recurrent.stack.bidirectional {
            return Err(Error::option(
                "bidirectional: the state of a bidirectional encoder does not fit a decoder",
            ));
        }
        check_steps(config.steps)?;
        let mut layout = Layout::new();
        let encoder = config.recurrent.stack(&mut layout, "encoder")?;
        let stack = config.decoder().stack(&mut layout, "decoder")?;
        let width = stack.output_size();
        let head = Linear::new(&mut layout, "head", width, config.outputs, true)?;
        Ok(Self {
            config: config.clone(),
            encoder,
            decoder: Decoder { stack, head },
            layout: layout.into(),
        })
    }

    /// The configuration.
    pub fn config(&self) -> &EncoderDecoderConfig {
        &self.config
    }
}

impl<F: Float> Network<F> for EncoderDecoder {
    type Cache = EncoderDecoderCache<F>;

    fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    fn draw(&self, seed: u64, params: &mut Params<F>) {
        let mut rng = TorchRng::new(seed);
        let mut uniform = |a, b| rng.uniform(a, b);
        self.encoder.init(params, &mut uniform);
        self.decoder.stack.init(params, &mut uniform);
        self.decoder.head.init(params, &mut uniform);
    }

    fn start(&self, batch: usize) -> State<F> {
        self.encoder.start(batch)
    }

    fn carries_state(&self) -> Result<()> {
        Err(Error::option(
            "an encoder-decoder cannot be cut in time: its decoder begins where the whole input has been read",
        ))
    }

    fn output_dim(&self, inputs: &Inputs<'_, F>) -> Result<(usize, usize, usize)> {
        unread("indices", inputs.indices.is_some())?;
        unread("skip", inputs.skip.is_some())?;
        Ok((self.config.steps, inputs.input.dim().1, self.config.outputs))
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
        same_layout("parameters", &self.layout, params)?;
        same_dim("prediction", self.output_dim(inputs)?, y.dim())?;
        let (seq_len, batch, _) = inputs.input.dim();
        let dim = (seq_len, batch, self.encoder.output_size());
        if cache.outputs.dim() != dim {
            cache.outputs = Array3::zeros(dim);
        }
        let (x, h) = (inputs.input, cache.outputs.view_mut());
        self.encoder
            .forward(params, x, pass, state, &mut cache.encoder, h)?;
        let layers = self.config.recurrent.stack.num_layers as u32;
        let pass = Pass {
            lengths: None,
            first_layer: pass.first_layer.wrapping_add(layers),
            ..*pass
        };
        self.decoder
            .forward(params, &feed(inputs), &pass, state, &mut cache.decoder, y)
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
        same_layout("parameters", &self.layout, params)?;
        same_layout("gradients", &self.layout, grads)?;
        same_dim("d_prediction", self.output_dim(inputs)?, dy.dim())?;
        let decoder = &mut cache.decoder;
        self.decoder
            .backward(params, &feed(inputs), decoder, dy, d_state, grads)?;
        self.encoder
            .backward(params, &mut cache.encoder, None, d_state, grads, dx)
    }
}

fn feed<'a, F: Float>(inputs: &Inputs<'a, F>) -> Feed<'a, F> {
    Feed {
        start: inputs.start,
        known: inputs.known,
        teacher: inputs.teacher,
    }
}
