//! A cell of one's own: leaky units, each with a leak that it learns (Mozer 1992).
//!
//!     s  = tanh(W x + U h + b)        k = sigmoid(l)
//!     h' = (1 - k) h + k s
//!
//! Sizes, names, a step and its derivative are all that a cell must have. Two
//! layers of it, both directions, sequences of different lengths and training
//! come with them, here to tell which steps of a sequence lie above its mean:
//!
//!     x (T, B, 1) -> two layers of leaky units, both ways -> score of "above" (T, B, 1)
//!
//!     cargo run --release -p elman --example own_cell

use elman::cell::{Cell, Part, Rows, RowsBack};
use elman::layer::{Pass, StackConfig};
use elman::loss::Loss;
use elman::ndarray::{Array3, Axis};
use elman::network::{HeadConfig, Inputs, Network, Readout, Sequence, SequenceCache};
use elman::params::Params;
use elman::rng::{Key, Purpose};
use elman::train::{Batch, Control, Examples, Threads, TrainConfig, fit, predict};
use elman::{Float, Result};

/// The cell: I inputs, H units.
#[derive(Debug, Clone)]
pub struct Leaky {
    input_size: usize,
    hidden_size: usize,
}

impl Leaky {
    /// Where W, U, b and l begin.
    fn places(&self) -> [usize; 4] {
        let (i, h) = (self.input_size, self.hidden_size);
        [0, h * i, h * i + h * h, h * i + h * h + h]
    }
}

impl<F: Float> Cell<F> for Leaky {
    fn input_size(&self) -> usize {
        self.input_size
    }

    fn hidden_size(&self) -> usize {
        self.hidden_size
    }

    fn states(&self) -> Vec<Part> {
        vec![part("h", &[self.hidden_size])]
    }

    fn params(&self) -> Vec<Part> {
        let (i, h) = (self.input_size, self.hidden_size);
        vec![
            part("weight_ih", &[h, i]),
            part("weight_hh", &[h, h]),
            part("bias", &[h]),
            part("leak", &[h]),
        ]
    }

    /// What the derivative needs of a step, and a trace shows.
    fn saved(&self) -> Vec<&'static str> {
        vec!["s"]
    }

    fn step(&self, weights: &[F], row: Rows<'_, F>) {
        let (i, h) = (self.input_size, self.hidden_size);
        let [w, u, b, l] = self.places().map(|at| &weights[at..]);
        for j in 0..h {
            let a = b[j] + dot(&w[j * i..], row.x) + dot(&u[j * h..], row.prev);
            let (s, k) = (a.tanh_fast(), l[j].sigmoid_fast());
            row.saved[j] = s;
            row.next[j] = row.prev[j] + k * (s - row.prev[j]);
        }
    }

    /// With `dh'` the gradient of the new state and `a` what tanh is taken of:
    ///
    ///     da = dh' k (1 - s^2)        dl = dh' (s - h) k (1 - k)
    ///     dx = W' da                  dh = (1 - k) dh' + U' da
    fn step_back(&self, weights: &[F], row: RowsBack<'_, F>) {
        let (i, h) = (self.input_size, self.hidden_size);
        let [w, u, b, l] = self.places();
        let (d_weights, da) = (row.d_weights, row.d_saved);
        let mut d_x = row.d_x;
        for j in 0..h {
            let (s, k) = (row.saved[j], weights[l + j].sigmoid_fast());
            let one = F::one();
            da[j] = row.d_state[j] * k * (one - s * s);
            d_weights[l + j] += row.d_state[j] * (s - row.prev[j]) * k * (one - k);
            d_weights[b + j] += da[j];
            row.d_state[j] *= one - k;
        }
        for j in 0..h {
            for n in 0..i {
                d_weights[w + j * i + n] += da[j] * row.x[n];
                if let Some(d_x) = &mut d_x {
                    d_x[n] += da[j] * weights[w + j * i + n];
                }
            }
            for n in 0..h {
                d_weights[u + j * h + n] += da[j] * row.prev[n];
                row.d_state[n] += da[j] * weights[u + j * h + n];
            }
        }
    }
}

fn part(name: &'static str, shape: &[usize]) -> Part {
    let shape = shape.to_vec();
    Part { name, shape }
}

/// The product of a row of weights, the first numbers of `w`, and a vector.
fn dot<F: Float>(w: &[F], x: &[F]) -> F {
    w.iter().zip(x).map(|(w, x)| *w * *x).sum()
}

/// Two layers of leaky units in both directions, and a score for every step.
fn network<F: Float>(hidden_size: usize) -> Result<Sequence<Leaky>> {
    let stack = StackConfig {
        num_layers: 2,
        bidirectional: true,
        ..StackConfig::default()
    };
    let head = HeadConfig {
        readout: Readout::EveryStep,
        outputs: 1,
        head_dropout: 0.0,
        skip: None,
    };
    Sequence::with_cells::<F>(&stack, 1, &head, |_, input_size| Leaky {
        input_size,
        hidden_size,
    })
}

/// The largest difference between the gradient of `0.5 sum(y^2)` and its finite
/// differences, over all parameters.
fn check_derivative() -> Result<f64> {
    let network = network::<f64>(3)?;
    let few = Sequences::draw(3, 3);
    let (x, mut cache) = (few.values.mapv(f64::from), SequenceCache::default());
    let inputs = Inputs::sequences(x.view());
    let predict = |params: &Params<f64>, cache: &mut SequenceCache<f64>| {
        let pass = Pass {
            lengths: Some(&few.lengths),
            ..Pass::default()
        };
        let (mut y, mut state) = (Array3::zeros(x.dim()), network.start(3));
        let forward = network.forward(params, &inputs, &pass, &mut state, cache, y.view_mut());
        forward.map(|()| y)
    };
    let mut params: Params<f64> = network.init(0);
    let mut grads = Params::zeros(params.layout().clone());
    let dy = predict(&params, &mut cache)?;
    let (dy, mut d_state) = (dy.view(), network.start(3));
    network.backward(
        &params,
        &inputs,
        &mut cache,
        dy,
        &mut d_state,
        &mut grads,
        None,
    )?;

    let mut worst = 0.0_f64;
    for (i, gradient) in grads.values().iter().enumerate() {
        let mut loss_after = |step: f64| -> Result<f64> {
            params.values_mut()[i] += step;
            Ok(predict(&params, &mut cache)?.mapv(|y| 0.5 * y * y).sum())
        };
        let (up, down) = (loss_after(1e-5)?, loss_after(-2e-5)?);
        loss_after(1e-5)?; // back where it was
        worst = worst.max((gradient - (up - down) / 2e-5).abs());
    }
    Ok(worst)
}

const LONGEST: usize = 12;

/// Sequences side by side, padded to the longest.
struct Sequences {
    values: Array3<f32>, // (T, N, 1)
    lengths: Vec<usize>,
    above: Array3<f32>, // (T, N, 1), 1 above the sequence's mean
    valid: Array3<f32>, // (T, N, 1), 0 in the padding
}

impl Sequences {
    fn draw(count: usize, seed: u64) -> Self {
        let values = Array3::from_shape_fn((LONGEST, count, 1), |(t, n, _)| {
            Key::new(seed, Purpose::Sampling)
                .stream(n as u64, t as u64)
                .uniform::<f32>()
        });
        let lengths: Vec<_> = (0..count).map(|n| 4 + n % (LONGEST - 3)).collect();
        let mean = |n: usize| {
            let steps = (0..lengths[n]).map(|t| values[[t, n, 0]]);
            steps.sum::<f32>() / lengths[n] as f32
        };
        let tag = |(t, n, _): (usize, usize, usize)| f32::from(values[[t, n, 0]] > mean(n));
        let valid = |(t, n, _): (usize, usize, usize)| f32::from(t < lengths[n]);
        Self {
            above: Array3::from_shape_fn(values.dim(), tag),
            valid: Array3::from_shape_fn(values.dim(), valid),
            values,
            lengths,
        }
    }
}

impl Examples<f32> for Sequences {
    fn len(&self) -> usize {
        self.lengths.len()
    }

    fn gather(&self, numbers: &[usize], batch: &mut Batch<f32>) {
        batch.input = self.values.select(Axis(1), numbers);
        batch.lengths = Some(numbers.iter().map(|n| self.lengths[*n]).collect());
        batch.target = self.above.select(Axis(1), numbers);
        batch.weight = Some(self.valid.select(Axis(1), numbers)); // padding counts nothing
    }
}

/// What the example finds out.
pub struct Outcome {
    /// Names of the first layer's parameters.
    pub names: Vec<String>,
    /// The largest error of a derivative.
    pub derivative: f64,
    /// The loss of every epoch.
    pub losses: Vec<f64>,
    /// Share of the unseen steps that are told right.
    pub accuracy: f64,
    /// An unseen sequence: its values, and whether each is found to be above
    /// the mean.
    pub sequence: Vec<(f32, bool)>,
}

/// Checks the cell, trains it, and looks at unseen sequences.
pub fn run() -> Result<Outcome> {
    let network = network::<f32>(12)?;
    let config = TrainConfig {
        epochs: 40,
        loss: Loss::BceWithLogits { pos_weight: None },
        learning_rate: 0.02,
        ..TrainConfig::default()
    };
    let mut losses = Vec::new();
    let watch = &mut |progress: &elman::train::Progress| {
        losses.push(progress.train_loss);
        Control::Continue
    };
    let (params, train) = (network.init(0), Sequences::draw(400, 1));
    let trained = fit(&network, params, &train, None, &config, Threads(1), watch)?;

    let unseen = Sequences::draw(100, 2);
    let (mut right, mut steps, mut sequence) = (0.0, 0.0, Vec::new());
    let params = &trained.params;
    predict(&network, params, &unseen, Threads(1), |first, scores| {
        for ((t, row, _), score) in scores.indexed_iter() {
            let (n, above) = (first + row, *score > 0.0);
            if t < unseen.lengths[n] {
                right += f64::from(above == (unseen.above[[t, n, 0]] == 1.0));
                steps += 1.0;
                if n == 8 {
                    sequence.push((unseen.values[[t, n, 0]], above));
                }
            }
        }
    })?;
    let names = params.layout().entries().iter().map(|e| e.name.clone());
    Ok(Outcome {
        names: names.take(4).collect(),
        derivative: check_derivative()?,
        losses,
        accuracy: right / steps,
        sequence,
    })
}

fn main() -> Result<()> {
    let outcome = run()?;
    println!("parameters: {}, ...", outcome.names.join(", "));
    println!("largest error of a derivative: {:.0e}", outcome.derivative);
    println!("an unseen sequence:");
    for (value, above) in &outcome.sequence {
        let bar = "#".repeat((40.0 * value) as usize);
        let line = format!("  {bar:40}{}", if *above { "above the mean" } else { "" });
        println!("{}", line.trim_end());
    }
    let accuracy = 100.0 * outcome.accuracy;
    println!("{accuracy:.1} % of unseen steps are right");
    Ok(())
}
