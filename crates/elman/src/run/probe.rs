//! Two files of one model, both run: do they give the same numbers?

use super::{RunOptions, Subject};
use crate::layer::Pass;
use crate::network::{
    AnyCache, ChainConfig, ChainLayer, Inputs, NamedLayer, Network, NetworkConfig, Readout,
};
use crate::params::Params;
use crate::rng::TorchRng;
use crate::weights::{TensorFile, member_name, network_of};
use crate::{Error, Result};
use ndarray::{Array2, Array3};

/// What [`probe`] finds.
#[derive(Debug, Clone, PartialEq)]
pub struct Probed {
    /// What was run, in words: `an LSTM over 3 rows of 7 steps`.
    pub what: String,
    /// Numbers that were compared.
    pub numbers: usize,
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
/// Where a parameter is missing or misshapen.
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
    let arrays = Random::new(&config);
    let inputs = arrays.inputs();
    let mut probed = Probed {
        what: format!(
            "{what}, over {} rows of {} steps",
            arrays.rows, arrays.steps
        ),
        numbers: 0,
        largest: 0.0,
    };
    for member in 0..members {
        let outputs = [(a, false), (b, true)].map(|(file, renamed)| {
            let mut params = Params::zeros(Network::<f64>::layout(&network).clone());
            for entry in params.layout().clone().entries() {
                let name = member_name(member, members, &entry.name);
                let name = if renamed { rename(&name)? } else { name };
                let values = file.get_f64(&name)?;
                let values =
                    values.ok_or_else(|| Error::file(format!("{name}: the tensor is missing")))?;
                let values: Vec<f64> = values.into_iter().collect();
                params.set(&entry.name, &values)?;
            }
            let dim = network.output_dim(&inputs)?;
            let mut state = network.start(dim.1);
            let (mut cache, mut y) = (AnyCache::Empty, Array3::zeros(dim));
            let (pass, view) = (Pass::default(), y.view_mut());
            network.forward(&params, &inputs, &pass, &mut state, &mut cache, view)?;
            let states = (0..state.slots()).flat_map(|slot| state.slot(slot).to_vec());
            Ok::<Vec<f64>, Error>(
                y.iter()
                    .copied()
                    .chain(states.collect::<Vec<_>>())
                    .collect(),
            )
        });
        let [ours, theirs] = outputs;
        for (x, y) in ours?.iter().zip(&theirs?) {
            let same = x.to_bits() == y.to_bits();
            let difference = if same { 0.0 } else { (x - y).abs() };
            // A NaN on one side only is a difference.
            probed.largest = match difference {
                d if d.is_nan() => f64::INFINITY,
                d => probed.largest.max(d),
            };
            probed.numbers += 1;
        }
    }
    Ok(Some(probed))
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
        let (steps, features) = match config {
            NetworkConfig::Sequence(c) => {
                let shape = c.skip.map(|s| (ROWS, s.inputs));
                skip = shape.map(|shape| Array2::from_shape_simple_fn(shape, &mut number));
                let steps = match c.readout {
                    Readout::LastSteps(k) => k + 1,
                    Readout::AllStates(k) => k,
                    _ => STEPS,
                };
                (steps, c.recurrent.input_size)
            }
            NetworkConfig::EncoderDecoder(c) => {
                let shape = (c.steps, ROWS, c.known);
                known = (c.known > 0).then(|| Array3::from_shape_simple_fn(shape, &mut number));
                (STEPS, c.recurrent.input_size)
            }
            NetworkConfig::OneToMany(c) => (1, c.inputs),
            NetworkConfig::Chain(c) => match c.layers.first().map(|l| &l.layer) {
                Some(ChainLayer::Embedding { num_embeddings, .. }) => {
                    let below = *num_embeddings as f64;
                    let index = || (number().abs() * below).min(below - 1.0) as i64;
                    indices = Some(Array2::from_shape_simple_fn((STEPS, ROWS), index));
                    (STEPS, 0)
                }
                first => (STEPS, first.and_then(ChainLayer::reads).unwrap_or(0)),
            },
        };
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
