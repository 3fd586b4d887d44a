//! Two files of one model, both run: do they give the same numbers?

use super::{RunOptions, Subject};
use crate::layer::Pass;
use crate::network::{
    AnyCache, ChainConfig, ChainLayer, Inputs, NamedLayer, Network, NetworkConfig, Readout,
};
use crate::params::{Layout, Params};
use crate::rng::TorchRng;
use crate::weights::{TensorFile, check_shapes, difference, member_name, network_of};
use crate::{Error, Result};
use ndarray::{Array2, Array3};

/// What [`probe`] finds.
#[derive(Debug, Clone, PartialEq)]
pub struct Probed {
    /// What was run, in words: `the LSTM layer, over 3 rows of 7 steps`.
    pub what: String,
    /// Numbers that were compared.
    pub numbers: usize,
    /// Numbers that are not finite in one of them or both.
    pub not_finite: usize,
    /// max|a - b| over outputs and final states.
    pub largest: f64,
}

/// Steps and rows of the input.
const STEPS: usize = 7;
const ROWS: usize = 3;

/// Runs the recurrent layer, the declared network or the model of this crate in
/// the first file, and the same with the parameters of the second, on the same
/// pseudo-random input in `f64`. `rename` is a parameter's name in the second
/// file. `None` where the first file is none of them.
///
/// # Errors
/// Where a parameter is missing or misshapen, or the network has more steps
/// than are worth running.
pub fn probe(
    a: &TensorFile<'_>,
    b: &TensorFile<'_>,
    rename: impl Fn(&str) -> Result<String>,
    options: &RunOptions,
) -> Result<Option<Probed>> {
    let (config, members, what) = match Subject::find(a, options) {
        Ok(Subject::Layer(config, prefix)) => {
            let what = format!("the {} layer", config.cell);
            let mut config = *config;
            config.stack.batch_first = false;
            let layer = NamedLayer {
                prefix: prefix.trim_end_matches('.').to_owned(),
                layer: ChainLayer::Recurrent(config),
            };
            let config = ChainConfig {
                layers: vec![layer],
            };
            (NetworkConfig::Chain(config), 1, what)
        }
        Ok(Subject::Chain(chain)) => {
            let config = NetworkConfig::Chain(chain.config().clone());
            (config, 1, "the declared network".to_owned())
        }
        Ok(Subject::Model) => {
            let (config, members) = network_of(a)?;
            let what = match members {
                1 => "the model".to_owned(),
                n => format!("the model's {n} networks"),
            };
            (config, members, what)
        }
        // A declaration has to fit; a file without one may be anything.
        Err(e) if options.network.is_some() => return Err(e),
        Err(_) => return Ok(None),
    };
    let network = config.build()?;
    let layout = Network::<f64>::layout(&network);
    // Before memory is taken for anything.
    check_shapes(a, layout, members, |name| Ok(name.to_owned()))?;
    check_shapes(b, layout, members, &rename)?;
    check_work(&config, layout)?;
    let arrays = Random::new(&config);
    let inputs = arrays.inputs();
    let mut probed = Probed {
        what: format!(
            "{what}, over {} rows of {} steps",
            arrays.rows, arrays.steps
        ),
        numbers: 0,
        not_finite: 0,
        largest: 0.0,
    };
    for member in 0..members {
        let outputs = [(a, false), (b, true)].map(|(file, renamed)| {
            let mut params = Params::try_zeros(layout.clone())?;
            params.set_storage(file.storage());
            for entry in layout.entries() {
                let name = member_name(member, members, &entry.name);
                let name = if renamed { rename(&name)? } else { name };
                if let Some(values) = file.get_f64(&name)? {
                    let places = &mut params.values_mut()[entry.range.clone()];
                    places.iter_mut().zip(&values).for_each(|(to, x)| *to = *x);
                }
            }
            let dim = network.output_dim(&inputs)?;
            let mut state = network.start(dim.1);
            let (mut cache, mut y) = (AnyCache::Empty, Array3::zeros(dim));
            let pass = Pass {
                inference: true,
                ..Pass::default()
            };
            let view = y.view_mut();
            network.forward(&params, &inputs, &pass, &mut state, &mut cache, view)?;
            let states = (0..state.slots()).flat_map(|slot| state.slot(slot));
            Ok::<Vec<f64>, Error>(y.iter().chain(states).copied().collect())
        });
        let [ours, theirs] = outputs;
        for (x, y) in ours?.iter().zip(&theirs?) {
            probed.largest = probed.largest.max(difference(*x, *y));
            probed.numbers += 1;
            probed.not_finite += usize::from(!(x.is_finite() && y.is_finite()));
        }
    }
    Ok(Some(probed))
}

/// The most numbers that a pass may take; 1 GB of them.
const MOST_NUMBERS: usize = 1 << 27;

/// Refuses a network of more steps than are worth running: a file of a few
/// bytes may ask for a million. A step of a row takes about as many numbers as
/// it reads and the parameters have rows.
fn check_work(config: &NetworkConfig, layout: &Layout) -> Result<()> {
    let (steps, features) = input_dim(config);
    let (predicted, known) = match config {
        NetworkConfig::EncoderDecoder(c) => (c.steps, c.known),
        NetworkConfig::OneToMany(c) => (c.steps, 0),
        _ => (0, 0),
    };
    let rows = layout.entries().iter().filter_map(|e| e.shape.first());
    let read = features.saturating_add(known);
    let step = rows.fold(read, |sum, rows| sum.saturating_add(*rows));
    let steps = steps.max(predicted);
    if steps.saturating_mul(ROWS).saturating_mul(step) > MOST_NUMBERS {
        return Err(Error::option(format!(
            "{steps} steps of this network are more than a comparison runs; run both files on an input of your own"
        )));
    }
    Ok(())
}

/// Steps and features of an input that suits a network; no features where it
/// reads indices.
fn input_dim(config: &NetworkConfig) -> (usize, usize) {
    match config {
        NetworkConfig::Sequence(c) => {
            let steps = match c.readout {
                Readout::LastSteps(k) => k.saturating_add(1),
                Readout::AllStates(k) => k,
                _ => STEPS,
            };
            (steps, c.recurrent.input_size)
        }
        NetworkConfig::EncoderDecoder(c) => (STEPS, c.recurrent.input_size),
        NetworkConfig::OneToMany(c) => (1, c.inputs),
        NetworkConfig::Chain(c) => {
            let first = c.layers.first().map(|named| &named.layer);
            (STEPS, first.and_then(ChainLayer::reads).unwrap_or(0))
        }
    }
}

/// Numbers from U(-1, 1), and indices, that suit a network.
struct Random {
    steps: usize,
    rows: usize,
    input: Array3<f64>,
    indices: Option<Array2<i64>>,
    known: Option<Array3<f64>>,
    skip: Option<Array2<f64>>,
}

impl Random {
    fn new(config: &NetworkConfig) -> Self {
        let mut rng = TorchRng::new(0);
        let mut number = || rng.uniform_f64(-1.0, 1.0);
        let (mut indices, mut known, mut skip) = (None, None, None);
        let (steps, features) = input_dim(config);
        match config {
            NetworkConfig::Sequence(c) => {
                let shape = c.skip.map(|s| (ROWS, s.inputs));
                skip = shape.map(|shape| Array2::from_shape_simple_fn(shape, &mut number));
            }
            NetworkConfig::EncoderDecoder(c) => {
                let shape = (c.steps, ROWS, c.known);
                known = (c.known > 0).then(|| Array3::from_shape_simple_fn(shape, &mut number));
            }
            NetworkConfig::OneToMany(_) => {}
            NetworkConfig::Chain(c) => {
                if let Some(ChainLayer::Embedding { num_embeddings, .. }) =
                    c.layers.first().map(|named| &named.layer)
                {
                    let below = *num_embeddings as f64;
                    let index = || (number().abs() * below).min(below - 1.0) as i64;
                    indices = Some(Array2::from_shape_simple_fn((steps, ROWS), index));
                }
            }
        }
        let input = Array3::from_shape_simple_fn((steps, ROWS, features), number);
        Self {
            steps,
            rows: ROWS,
            input,
            indices,
            known,
            skip,
        }
    }

    fn inputs(&self) -> Inputs<'_, f64> {
        Inputs {
            input: self.input.view(),
            indices: self.indices.as_ref().map(|a| a.view()),
            known: self.known.as_ref().map(|a| a.view()),
            start: None,
            skip: self.skip.as_ref().map(|a| a.view()),
            teacher: None,
        }
    }
}
