//! Layers one after another: what most checkpoints hold, and what a language
//! model is.
//!
//! ```text
//! indices (T, B) -> embedding -> recurrent -> .. -> linear -> y (T, B, O)
//! x (T, B, I)                 -> recurrent -> last_state -> linear -> y (1, B, O)
//! ```
//!
//! Valid steps lie one after the other without padding, as in [`Steps`]; only a
//! recurrent layer sees (T, B, ..).

mod config;
mod function;

pub use config::{ChainConfig, ChainLayer, NamedLayer};

use super::{Inputs, Network, same_dim, same_layout, time_first, unread};
use crate::cell::AnyCell;
use crate::layer::{
    Embedding, LayerNorm, LayerNormCache, Linear, LinearCache, Merge, Pass, Stack, StackCache,
    State, Steps, dropout,
};
use crate::params::{Grads, Layout, Params};
use crate::rng::TorchRng;
use crate::{Error, Float, Result};
use function::Function;
use ndarray::{Array3, ArrayView3, ArrayViewMut3};
use std::ops::Range;
use std::sync::Arc;

/// Layers one after another.
///
/// Reads `indices` where the first layer is an embedding, else `input`. The
/// prediction past a row's length is zero, and its gradient there is not read;
/// nor is the padding of the input, indices included.
///
/// Its state has the slots of all recurrent layers, one layer after another;
/// [`recurrent`](Self::recurrent) tells which are whose.
///
/// ```
/// use elman::cell::CellKind;
/// use elman::layer::{Pass, RecurrentConfig};
/// use elman::ndarray::{Array3, array};
/// use elman::network::{Chain, ChainConfig, ChainLayer, Inputs, NamedLayer, Network};
///
/// let layer = |prefix: &str, layer| NamedLayer { prefix: prefix.into(), layer };
/// let config = ChainConfig {
///     layers: vec![
///         layer("encoder", ChainLayer::Embedding {
///             num_embeddings: 5,
///             embedding_dim: 3,
///             padding_idx: None,
///         }),
///         layer("rnn", ChainLayer::Recurrent(RecurrentConfig::new(CellKind::Lstm, 3, 4))),
///         layer("decoder", ChainLayer::Linear { in_features: 4, out_features: 5, bias: true }),
///     ],
/// };
/// let chain = Chain::new(&config)?;
/// let params = Network::<f32>::init(&chain, 0);
/// let indices = array![[0, 4], [2, 1], [3, 3]]; // (T, B)
/// let inputs = Inputs::indices(indices.view());
/// let mut y = Array3::zeros(chain.output_dim(&inputs)?); // (T, B, O) = (3, 2, 5)
/// let mut state = chain.start(2);
/// let mut cache = Default::default();
/// chain.forward(&params, &inputs, &Pass::default(), &mut state, &mut cache, y.view_mut())?;
/// # Ok::<(), elman::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Chain {
    config: ChainConfig,
    layers: Vec<Layer>,
    /// Features before every layer, and after the last one; 0 before an
    /// embedding, and before a first layer that reads any number of them.
    widths: Vec<usize>,
    /// Width of every slot of the state.
    slots: Vec<usize>,
    layout: Arc<Layout>,
}

#[derive(Debug, Clone)]
enum Layer {
    Embedding(Embedding),
    /// With its slots in the state, and the number of its first layer.
    Recurrent(Box<Stack<AnyCell>>, Range<usize>, u32),
    Linear(Linear),
    LayerNorm(LayerNorm),
    Function(Function),
    /// With the number of its layer.
    Dropout(f64, u32),
    LastOutput,
    LastState,
}

/// The cache of a [`Chain`].
#[derive(Debug, Clone, Default)]
pub struct ChainCache<F: Float> {
    steps: Steps,
    indices: Vec<i64>,
    /// The input of every layer, and the output of the last one, a row for each
    /// valid step; a row for each of the batch after `last_..`.
    values: Vec<Vec<F>>,
    layers: Vec<LayerCache<F>>,
    /// The place of each row's last valid step; `None` where it has none.
    last: Vec<Option<usize>>,
    /// Gradients of the output and the input of the layer at hand.
    d_output: Vec<F>,
    d_input: Vec<F>,
}

#[derive(Debug, Clone)]
enum LayerCache<F: Float> {
    None,
    Recurrent(Box<RecurrentCache<F>>),
    Linear(Box<LinearCache<F>>),
    LayerNorm(LayerNormCache<F>),
    /// A mask; empty where nothing is dropped.
    Dropout(Vec<F>),
}

#[derive(Debug, Clone)]
struct RecurrentCache<F: Float> {
    stack: StackCache<F>,
    /// The layer's part of the state, and of its gradient.
    state: State<F>,
    d_state: State<F>,
    /// Input (T, B, I) and output (T, B, D*R), then their gradients.
    x: Array3<F>,
    y: Array3<F>,
}

impl<F: Float> ChainCache<F> {
    /// The cache of a recurrent layer, numbered as in [`Chain::recurrent`], for
    /// a trace; `None` before a forward pass.
    pub fn stack(&self, number: usize) -> Option<&StackCache<F>> {
        let caches = self.layers.iter().filter_map(|cache| match cache {
            LayerCache::Recurrent(cache) => Some(&cache.stack),
            _ => None,
        });
        caches.into_iter().nth(number)
    }
}

impl Chain {
    /// Builds the network.
    ///
    /// # Errors
    /// Where there is no layer, an option is out of its range, a layer reads
    /// another number of features than it is given, or layers are in an order
    /// that has no meaning; the message names the layer.
    pub fn new(config: &ChainConfig) -> Result<Self> {
        let mut layout = Layout::new();
        let mut layers = Vec::with_capacity(config.layers.len());
        let mut widths = vec![
            config
                .layers
                .first()
                .and_then(|l| l.layer.reads())
                .unwrap_or(0),
        ];
        let (mut slots, mut number) = (Vec::new(), 0_u32);
        for (at, NamedLayer { prefix, layer }) in config.layers.iter().enumerate() {
            let place = || match &**prefix {
                "" => format!("layer {}, {}", at + 1, layer.name()),
                prefix => format!("layer {}, {} `{prefix}`", at + 1, layer.name()),
            };
            let before = &config.layers[..at];
            let given = widths[at];
            check_order(before, layer).map_err(|e| e.at(place()))?;
            if let Some(reads) = layer.reads().filter(|reads| *reads != given) {
                return Err(Error::shape(format!(
                    "{}: it reads {reads} features, the layer before it gives {given}",
                    place()
                )));
            }
            let made = make(&mut layout, prefix, layer, slots.len(), number);
            let made = made.map_err(|e| e.at(place()))?;
            match &made {
                Layer::Recurrent(stack, ..) => {
                    let state = stack.start::<f32>(0);
                    slots.extend((0..state.slots()).map(|slot| state.width(slot)));
                    number += stack.config().num_layers as u32;
                }
                Layer::Dropout(..) => number += 1,
                _ => {}
            }
            layers.push(made);
            widths.push(layer.gives().unwrap_or(given));
        }
        if layers.is_empty() {
            return Err(Error::option("a chain needs at least one layer"));
        }
        unique(&layout)?;
        Ok(Self {
            config: config.clone(),
            layers,
            widths,
            slots,
            layout: layout.into(),
        })
    }

    /// The configuration.
    pub fn config(&self) -> &ChainConfig {
        &self.config
    }

    /// Whether the first layer is an embedding, so that `indices` are read and
    /// not `input`.
    pub fn reads_indices(&self) -> bool {
        matches!(self.layers.first(), Some(Layer::Embedding(_)))
    }

    /// Whether the prediction is one step, whatever the sequence is long.
    pub fn gives_one_step(&self) -> bool {
        self.one_step_from() < self.layers.len()
    }

    /// The recurrent layers, in order: prefix, stack, and which slots of the
    /// state are theirs.
    pub fn recurrent(&self) -> impl Iterator<Item = (&str, &Stack<AnyCell>, Range<usize>)> {
        let layers = self.layers.iter().zip(&self.config.layers);
        layers.filter_map(|(layer, named)| match layer {
            Layer::Recurrent(stack, slots, _) => Some((&*named.prefix, &**stack, slots.clone())),
            _ => None,
        })
    }

    /// The number of the layer after which there is one step; that of all
    /// layers where there is none.
    fn one_step_from(&self) -> usize {
        let one = |l: &Layer| matches!(l, Layer::LastOutput | Layer::LastState);
        let at = self.layers.iter().position(one);
        at.unwrap_or(self.layers.len())
    }

    /// Whether the cache has the layers of this network, for any batch.
    fn fits<F: Float>(&self, cache: &ChainCache<F>) -> bool {
        let mut pairs = self.layers.iter().zip(&cache.layers);
        let same = pairs.all(|pair| match pair {
            (Layer::Recurrent(stack, ..), LayerCache::Recurrent(cache)) => {
                let batch = cache.state.batch();
                stack.check_state("state", &cache.state, batch).is_ok()
            }
            (Layer::Linear(_), LayerCache::Linear(_))
            | (Layer::LayerNorm(_), LayerCache::LayerNorm(_))
            | (Layer::Dropout(..), LayerCache::Dropout(_)) => true,
            (Layer::Recurrent(..) | Layer::Linear(_), _) => false,
            (Layer::LayerNorm(_) | Layer::Dropout(..), _) => false,
            (_, cache) => matches!(cache, LayerCache::None),
        });
        same && cache.layers.len() == self.layers.len()
    }

    /// Makes the cache one of this network, for so many rows.
    fn fit<F: Float>(&self, cache: &mut ChainCache<F>, batch: usize) {
        cache.values.resize_with(self.layers.len() + 1, Vec::new);
        if !self.fits(cache) {
            let made = self.layers.iter().map(|layer| match layer {
                Layer::Recurrent(stack, ..) => LayerCache::Recurrent(Box::new(RecurrentCache {
                    stack: StackCache::default(),
                    state: stack.start(batch),
                    d_state: stack.start(batch),
                    x: Array3::zeros((0, 0, 0)),
                    y: Array3::zeros((0, 0, 0)),
                })),
                Layer::Linear(_) => LayerCache::Linear(Box::default()),
                Layer::LayerNorm(_) => LayerCache::LayerNorm(LayerNormCache::default()),
                Layer::Dropout(..) => LayerCache::Dropout(Vec::new()),
                _ => LayerCache::None,
            });
            cache.layers = made.collect();
        }
        for (layer, own) in self.layers.iter().zip(&mut cache.layers) {
            if let (Layer::Recurrent(stack, ..), LayerCache::Recurrent(own)) = (layer, own)
                && own.state.batch() != batch
            {
                own.state = stack.start(batch);
                own.d_state = stack.start(batch);
            }
        }
    }

    /// That the cache holds a forward pass of this network over such inputs.
    fn check_cache<F: Float>(&self, inputs: &Inputs<'_, F>, cache: &ChainCache<F>) -> Result<()> {
        let (seq_len, batch) = inputs.dim();
        let steps = &cache.steps;
        let one_step_from = self.one_step_from();
        let rows = |at: usize| match at > one_step_from {
            true => batch,
            false => steps.rows(),
        };
        let mut values = cache.values.iter().zip(&self.widths).enumerate();
        let read = match self.reads_indices() {
            true => cache.indices.len() == steps.rows(),
            false => true,
        };
        let fits = (steps.seq_len(), steps.batch()) == (seq_len, batch)
            && self.fits(cache)
            && cache.values.len() == self.widths.len()
            && read
            && values.all(|(at, (values, width))| {
                at == 0 && self.reads_indices() || values.len() == rows(at) * width
            });
        if fits {
            return Ok(());
        }
        Err(other_cache())
    }

    /// The input's rows: the indices, or the numbers.
    fn load<F: Float>(&self, inputs: &Inputs<'_, F>, cache: &mut ChainCache<F>) -> Result<()> {
        match (self.layers.first(), inputs.indices) {
            (Some(Layer::Embedding(table)), Some(indices)) => {
                cache.indices.clear();
                cache.values[0].clear();
                for (t, b) in cache.steps.places() {
                    let index = indices[[t, b]];
                    table.row(index, format_args!("input: step {t} of row {b}"))?;
                    cache.indices.push(index);
                }
            }
            _ => cache.steps.gather(inputs.input, &mut cache.values[0]),
        }
        cache.last.clear();
        cache.last.resize(cache.steps.batch(), None);
        for (n, (_, b)) in cache.steps.places().enumerate() {
            cache.last[b] = Some(n);
        }
        Ok(())
    }

    /// That the state has the slots of this network.
    fn check_state<F: Float>(&self, name: &str, state: &State<F>, batch: usize) -> Result<()> {
        let widths = (0..state.slots()).map(|slot| state.width(slot));
        let same = state.batch() == batch && widths.eq(self.slots.iter().copied());
        if same {
            return Ok(());
        }
        Err(Error::shape(format!(
            "{name}: expected {} slots of {batch} rows, those of all recurrent layers, got {} slots of {} rows; the network's `start` makes one that fits",
            self.slots.len(),
            state.slots(),
            state.batch()
        )))
    }
}

/// Makes a layer, with its parameters after those of the layers before it.
fn make(
    layout: &mut Layout,
    prefix: &str,
    layer: &ChainLayer,
    slots: usize,
    number: u32,
) -> Result<Layer> {
    Ok(match *layer {
        ChainLayer::Embedding {
            num_embeddings: n,
            embedding_dim: dim,
            padding_idx,
        } => Layer::Embedding(Embedding::new(layout, prefix, n, dim, padding_idx)?),
        ChainLayer::Recurrent(ref config) => {
            time_first(&config.stack)?;
            let stack = config.stack(layout, prefix)?;
            let of_state = slots..slots + stack.start::<f32>(0).slots();
            Layer::Recurrent(Box::new(stack), of_state, number)
        }
        ChainLayer::Linear {
            in_features,
            out_features,
            bias,
        } => Layer::Linear(Linear::new(
            layout,
            prefix,
            in_features,
            out_features,
            bias,
        )?),
        ChainLayer::LayerNorm {
            features,
            eps,
            bias,
        } => Layer::LayerNorm(LayerNorm::new(layout, prefix, features, eps, bias)?),
        ChainLayer::Activation(activation) => Layer::Function(Function::Each(activation)),
        ChainLayer::Softmax => Layer::Function(Function::Softmax),
        ChainLayer::LogSoftmax => Layer::Function(Function::LogSoftmax),
        ChainLayer::Dropout(p) if (0.0..=1.0).contains(&p) => Layer::Dropout(p, number),
        ChainLayer::Dropout(p) => {
            return Err(Error::option(format!(
                "p: expected a number from 0 to 1, got {p}"
            )));
        }
        ChainLayer::LastOutput => Layer::LastOutput,
        ChainLayer::LastState => Layer::LastState,
    })
}

/// Refuses an order of layers that has no meaning.
fn check_order(before: &[NamedLayer], layer: &ChainLayer) -> Result<()> {
    use ChainLayer::{Embedding, LastOutput, LastState, Recurrent};
    let refuse = |why: &str| Err(Error::option(why));
    let one_step = before
        .iter()
        .any(|l| matches!(l.layer, LastOutput | LastState));
    match layer {
        Embedding { .. } if !before.is_empty() => {
            refuse("an embedding reads indices; it can be the first layer only")
        }
        Recurrent(_) | LastOutput | LastState if one_step => {
            refuse("one step is left after last_output or last_state; put it before them")
        }
        LastState => match before.last().map(|l| &l.layer) {
            Some(Recurrent(c)) if c.stack.merge != Merge::Concat => refuse(
                "last_state with merge: it reads both directions side by side; use last_output, or merge concat",
            ),
            Some(Recurrent(c)) if c.stack.residual => refuse(
                "last_state with residual: the connections go past the state; use last_output",
            ),
            Some(Recurrent(_)) => Ok(()),
            _ => refuse("it reads the final state of a recurrent layer; put it directly after one"),
        },
        _ if before.is_empty() && layer.reads().is_none() && layer.gives().is_none() => refuse(
            "the first layer has to tell how many features there are; begin with one that has weights",
        ),
        _ => Ok(()),
    }
}

/// Refuses two parameters of one name.
fn unique(layout: &Layout) -> Result<()> {
    let mut names: Vec<_> = layout.entries().iter().map(|e| &*e.name).collect();
    names.sort_unstable();
    match names.windows(2).find(|w| w[0] == w[1]) {
        None => Ok(()),
        Some(pair) => Err(Error::option(format!(
            "two layers have a parameter {}; give each layer a prefix of its own",
            pair[0]
        ))),
    }
}

impl<F: Float> Network<F> for Chain {
    type Cache = ChainCache<F>;

    fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    fn draw(&self, seed: u64, params: &mut Params<F>) {
        let mut rng = TorchRng::new(seed);
        for layer in &self.layers {
            match layer {
                Layer::Embedding(table) => table.init(params, &mut rng),
                Layer::Recurrent(stack, ..) => {
                    stack.init(params, &mut |a, b| rng.uniform(a, b));
                }
                Layer::Linear(linear) => linear.init(params, &mut |a, b| rng.uniform(a, b)),
                Layer::LayerNorm(norm) => norm.init(params),
                _ => {}
            }
        }
    }

    fn start(&self, batch: usize) -> State<F> {
        let cells = self.recurrent().map(|(_, stack, _)| stack.states::<F>());
        State::zeros(batch, cells.flatten())
    }

    fn carries_state(&self) -> Result<()> {
        let refuse = |why: &str| {
            Err(Error::option(format!(
                "this network cannot be cut in time: {why}"
            )))
        };
        if self.gives_one_step() {
            return refuse("what comes after last_output or last_state reads the whole sequence");
        }
        self.recurrent()
            .try_for_each(|(_, stack, _)| stack.check_cut())
    }

    fn output_dim(&self, inputs: &Inputs<'_, F>) -> Result<(usize, usize, usize)> {
        unread("known", inputs.known.is_some())?;
        unread("start", inputs.start.is_some())?;
        unread("skip", inputs.skip.is_some())?;
        unread("teacher", inputs.teacher.is_some())?;
        let features = inputs.input.dim().2;
        if !self.reads_indices() {
            unread("indices", inputs.indices.is_some())?;
            if features != self.widths[0] {
                return Err(Error::shape(format!(
                    "input.size(-1): expected {} features, which the first layer reads, got {features}",
                    self.widths[0]
                )));
            }
        } else if inputs.indices.is_some() {
            unread("input", features > 0)?;
        } else {
            return Err(Error::shape(
                "indices: this network begins with an embedding, which reads them; they are missing",
            ));
        }
        let (steps, batch) = inputs.dim();
        let steps = if self.gives_one_step() { 1 } else { steps };
        Ok((steps, batch, self.widths[self.layers.len()]))
    }

    fn forward(
        &self,
        params: &Params<F>,
        inputs: &Inputs<'_, F>,
        pass: &Pass<'_>,
        state: &mut State<F>,
        cache: &mut Self::Cache,
        mut y: ArrayViewMut3<'_, F>,
    ) -> Result<()> {
        same_layout("parameters", &self.layout, params)?;
        same_dim("prediction", self.output_dim(inputs)?, y.dim())?;
        let (seq_len, batch) = inputs.dim();
        self.check_state("state", state, batch)?;
        cache.steps.set(seq_len, batch, pass.lengths)?;
        self.fit(cache, batch);
        self.load(inputs, cache)?;
        // All of them before the first has run: what has run is not fresh.
        for (layer, own) in self.layers.iter().zip(&mut cache.layers) {
            if let (Layer::Recurrent(_, slots, _), LayerCache::Recurrent(own)) = (layer, own) {
                own.state.copy_slots(state, slots.clone(), 0);
            }
        }
        let one_step_from = self.one_step_from();
        for (at, layer) in self.layers.iter().enumerate() {
            let (below, above) = cache.values.split_at_mut(at + 1);
            let (x, y) = (&below[at], &mut above[0]);
            let one_step = at >= one_step_from;
            let (width, steps) = (self.widths[at + 1], &cache.steps);
            let rows = if one_step { batch } else { steps.rows() };
            y.clear();
            y.resize(rows * width, F::zero());
            let (caches_below, caches) = cache.layers.split_at_mut(at);
            match (layer, &mut caches[0]) {
                (Layer::Embedding(table), _) => table.forward(params, &cache.indices, y)?,
                (Layer::Recurrent(stack, slots, number), LayerCache::Recurrent(own)) => {
                    fit3(&mut own.x, (seq_len, batch, self.widths[at]));
                    fit3(&mut own.y, (seq_len, batch, width));
                    let rows = x.chunks_exact(self.widths[at]);
                    steps.scatter(rows, own.x.view_mut(), |to, x| *to = x);
                    let pass = Pass {
                        first_layer: pass.first_layer.wrapping_add(*number),
                        ..*pass
                    };
                    let (x, out) = (own.x.view(), own.y.view_mut());
                    stack.forward(params, x, &pass, &mut own.state, &mut own.stack, out)?;
                    steps.gather(own.y.view(), y);
                    state.copy_slots(&own.state, 0..slots.len(), slots.start);
                }
                (Layer::Linear(linear), LayerCache::Linear(own)) => {
                    linear.forward(params, x, own, y)?;
                }
                (Layer::LayerNorm(norm), LayerCache::LayerNorm(own)) => {
                    norm.forward(params, x, own, y)?;
                }
                (Layer::Function(function), _) => function.forward(width, x, y),
                (Layer::Dropout(p, number), LayerCache::Dropout(mask)) => {
                    y.copy_from_slice(x);
                    mask.clear();
                    let Some(key) = pass.dropout.filter(|_| *p > 0.0) else {
                        continue;
                    };
                    mask.resize(y.len(), F::zero());
                    let key = key.layer(pass.first_layer.wrapping_add(*number));
                    let draw = |mask: &mut [F], t: usize, row: usize| {
                        let row = pass.first_row.wrapping_add(row) as u64;
                        let time = pass.first_step.wrapping_add(t) as u64;
                        dropout::draw(key.stream(row, time), *p, mask);
                    };
                    let masks = mask.chunks_exact_mut(width);
                    if one_step {
                        masks.enumerate().for_each(|(b, mask)| draw(mask, 0, b));
                    } else {
                        let places = masks.zip(steps.places());
                        places.for_each(|(mask, (t, b))| draw(mask, t, b));
                    }
                    y.iter_mut().zip(mask).for_each(|(y, m)| *y *= *m);
                }
                (Layer::LastOutput, _) => {
                    for (y, n) in y.chunks_exact_mut(width).zip(&cache.last) {
                        if let Some(n) = n {
                            y.copy_from_slice(&x[n * width..][..width]);
                        }
                    }
                }
                (Layer::LastState, _) => {
                    if let (Some(Layer::Recurrent(stack, ..)), Some(LayerCache::Recurrent(own))) =
                        (self.layers.get(at.wrapping_sub(1)), caches_below.last())
                    {
                        each_last(stack, width, batch, |slot, b, of_y| {
                            let row = &own.state.slot(slot)[b * own.state.width(slot)..];
                            y[of_y].iter_mut().zip(row).for_each(|(y, h)| *y = *h);
                        });
                    }
                }
                _ => return Err(other_cache()),
            }
        }
        let out = &cache.values[self.layers.len()];
        if self.gives_one_step() {
            y.iter_mut().zip(out).for_each(|(y, v)| *y = *v);
        } else {
            y.fill(F::zero());
            let rows = out.chunks_exact(self.widths[self.layers.len()]);
            cache.steps.scatter(rows, y, |y, v| *y = v);
        }
        Ok(())
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
        self.check_cache(inputs, cache)?;
        let batch = dy.dim().1;
        if let Some(dx) = &dx {
            unread("d_input", self.reads_indices())?;
            same_dim("d_input", inputs.input.dim(), dx.dim())?;
        }
        self.check_state("d_state", d_state, batch)?;
        for (layer, own) in self.layers.iter().zip(&mut cache.layers) {
            if let (Layer::Recurrent(_, slots, _), LayerCache::Recurrent(own)) = (layer, own) {
                own.d_state.copy_slots(d_state, slots.clone(), 0);
            }
        }
        let ChainCache {
            steps,
            indices,
            values,
            layers: caches,
            last,
            d_output,
            d_input,
        } = cache;
        // They are swapped from layer to layer: each has room for the widest.
        let widest = values.iter().map(Vec::len).max().unwrap_or(0);
        for buffer in [&mut *d_output, &mut *d_input] {
            buffer.clear();
            buffer.reserve(widest);
        }
        if self.gives_one_step() {
            d_output.extend(dy.iter());
        } else {
            steps.gather(dy, d_output);
        }
        for (at, layer) in self.layers.iter().enumerate().rev() {
            let (x, y, width) = (&values[at], &values[at + 1], self.widths[at + 1]);
            d_input.clear();
            d_input.resize(x.len(), F::zero());
            let (caches_below, caches) = caches.split_at_mut(at);
            match (layer, &mut caches[0]) {
                (Layer::Embedding(table), _) => table.backward(indices, d_output, grads)?,
                (Layer::Recurrent(stack, ..), LayerCache::Recurrent(own)) => {
                    let rows = d_output.chunks_exact(width);
                    steps.scatter(rows, own.y.view_mut(), |to, d| *to = d);
                    own.x.fill(F::zero());
                    let (dy, dx) = (Some(own.y.view()), Some(own.x.view_mut()));
                    let (cache, d_state) = (&mut own.stack, &mut own.d_state);
                    stack.backward(params, cache, dy, d_state, grads, dx)?;
                    steps.gather(own.x.view(), d_input);
                }
                (Layer::Linear(linear), LayerCache::Linear(own)) => {
                    linear.backward(x, own, d_output, grads, Some(d_input))?;
                }
                (Layer::LayerNorm(norm), LayerCache::LayerNorm(own)) => {
                    norm.backward(params, own, d_output, grads, d_input)?;
                }
                (Layer::Function(function), _) => {
                    function.backward(width, y, d_output, d_input);
                }
                (Layer::Dropout(..), LayerCache::Dropout(mask)) => {
                    d_input.copy_from_slice(d_output);
                    d_input.iter_mut().zip(mask).for_each(|(d, m)| *d *= *m);
                }
                (Layer::LastOutput, _) => {
                    for (d, n) in d_output.chunks_exact(width).zip(&*last) {
                        if let Some(n) = n {
                            d_input[n * width..][..width].copy_from_slice(d);
                        }
                    }
                }
                (Layer::LastState, _) => {
                    if let (Some(Layer::Recurrent(stack, ..)), Some(LayerCache::Recurrent(own))) =
                        (self.layers.get(at.wrapping_sub(1)), caches_below.last_mut())
                    {
                        each_last(stack, width, batch, |slot, b, of_y| {
                            let start = b * own.d_state.width(slot);
                            let row = own.d_state.slot_mut(slot)[start..].iter_mut();
                            row.zip(&d_output[of_y]).for_each(|(h, d)| *h += *d);
                        });
                    }
                }
                _ => return Err(other_cache()),
            }
            std::mem::swap(d_output, d_input);
        }
        if let Some(dx) = dx {
            let rows = d_output.chunks_exact(self.widths[0]);
            steps.scatter(rows, dx, |dx, d| *dx += d);
        }
        for (layer, own) in self.layers.iter().zip(caches) {
            if let (Layer::Recurrent(_, slots, _), LayerCache::Recurrent(own)) = (layer, own) {
                d_state.copy_slots(&own.d_state, 0..slots.len(), slots.start);
            }
        }
        Ok(())
    }
}

/// Slot, row of the batch, and place in the read-out, for every final state of
/// the last layer.
fn each_last(
    stack: &Stack<AnyCell>,
    width: usize,
    batch: usize,
    mut f: impl FnMut(usize, usize, Range<usize>),
) {
    let h = width / stack.num_directions();
    for (direction, slot) in stack.last_slots().enumerate() {
        for b in 0..batch {
            let to = b * width + direction * h;
            f(slot, b, to..to + h);
        }
    }
}

/// Gives an array that shape, in the same memory where it has it already.
fn fit3<F: Float>(array: &mut Array3<F>, dim: (usize, usize, usize)) {
    if array.dim() != dim {
        *array = Array3::zeros(dim);
    }
}

fn other_cache() -> Error {
    Error::shape(
        "cache: it holds no forward pass of this network over this input; run `forward` with it first",
    )
}
