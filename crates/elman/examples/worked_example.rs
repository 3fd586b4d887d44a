//! The worked example: a series that grows by ten, read three steps at a
//! time by an RNN of two units, and trained by plain gradient descent.
//!
//! ```text
//! h^t = tanh(x^t W_x + h^{t-1} W_h + B)     t = 1, 2, 3      h^0 = 0
//! y^  = [h^1 h^2 h^3] W_y + b_y             L = (y^ - y)^2
//! ```
//!
//! T = 3 steps, B = 1 window at a time, I = 1 value, H = 2 units.
//!
//!     cargo run --release -p elman --example worked_example

use elman::Result;
use elman::cell::{Bias, CellKind};
use elman::layer::{Pass, RecurrentConfig};
use elman::ndarray::{Array3, Axis, array};
use elman::network::{Inputs, Network, Readout, Sequence, SequenceCache, SequenceConfig};
use elman::optim::{Optimizer, Sgd};
use elman::params::Params;
use elman::train::{Control, InMemory, Threads, TrainConfig, fit};

/// What the example finds out.
pub struct Outcome {
    /// h^1, h^2, h^3 for the first window, before training.
    pub states: Vec<[f64; 2]>,
    /// y^ and L for the first window, before training.
    pub first: (f64, f64),
    /// Name, shape and norm of each gradient for the first window.
    pub gradients: Vec<(String, Vec<usize>, f64)>,
    /// The mean of L over the six windows, epoch by epoch.
    pub losses: Vec<f64>,
    /// What is predicted after [70 80 90].
    pub prediction: f64,
}

/// Looks at one pass forward and back, trains, predicts.
pub fn run() -> Result<Outcome> {
    let network = |bias| {
        let mut recurrent = RecurrentConfig::new(CellKind::Rnn, 1, 2);
        recurrent.bias = bias;
        Sequence::new(&SequenceConfig {
            recurrent,
            readout: Readout::AllStates(3), // the three states side by side, 1 x 6
            outputs: 1,
            head_dropout: 0.0,
            skip: None,
        })
    };
    // PyTorch draws two biases; of these the theory has the first, its B. So the
    // numbers below are those of `elman explain`.
    let drawn: Params<f64> = network(Bias::Both)?.init(0);
    let network = network(Bias::Single)?;
    let mut params = Params::zeros(Network::<f64>::layout(&network).clone());
    for entry in params.layout().clone().entries() {
        let values = drawn.layout().find(&entry.name).map(|e| e.range.clone());
        params.set(&entry.name, &drawn.values()[values.unwrap_or_default()])?;
    }

    // Windows [10 20 30] -> 40, ..., [60 70 80] -> 90, in hundredths.
    // Inputs are (T, windows, I) = (3, 6, 1), targets (1, 6, 1).
    let x = Array3::from_shape_fn((3, 6, 1), |(t, n, _)| (n + t + 1) as f64 / 10.0);
    let y = Array3::from_shape_fn((1, 6, 1), |(_, n, _)| (n + 4) as f64 / 10.0);

    // One pass over the first window: forward ...
    let window = x.slice_axis(Axis(1), (0..1).into());
    let inputs = Inputs::sequences(window);
    let mut cache = SequenceCache::default();
    let mut prediction = Array3::zeros((1, 1, 1));
    let pass = Pass::default();
    let (mut state, out) = (network.start(1), prediction.view_mut());
    network.forward(&params, &inputs, &pass, &mut state, &mut cache, out)?;
    let traces = network.stack().trace(cache.stack());
    let h = &traces[0].values; // (T, B, H) = (3, 1, 2)
    let error = prediction[[0, 0, 0]] - y[[0, 0, 0]];

    // ... and back: dL/dy^ = 2 (y^ - y), and from it every gradient.
    let dy = array![[[2.0 * error]]];
    let mut grads = Params::zeros(params.layout().clone());
    state.clear(); // nothing arrives at the final state but through y^
    network.backward(
        &params,
        &inputs,
        &mut cache,
        dy.view(),
        &mut state,
        &mut grads,
        None,
    )?;
    let gradients = grads.layout().entries().iter().map(|e| {
        let values = &grads.values()[e.range.clone()];
        let norm = values.iter().map(|g| g * g).sum::<f64>().sqrt();
        (e.name.clone(), e.shape.clone(), norm)
    });

    // Gradient descent: w <- w - 0.1 dL/dw after each window.
    let config = TrainConfig {
        epochs: EPOCHS,
        batch_size: 1,
        shuffle: false,
        optimizer: Optimizer::Sgd(Sgd::default()),
        learning_rate: 0.1,
        ..TrainConfig::default()
    };
    let go_on = &mut |_: &_| Control::Continue;
    let windows = InMemory::new(x.clone(), y)?;
    let trained = fit(
        &network,
        params.clone(),
        &windows,
        None,
        &config,
        Threads(1),
        go_on,
    )?;

    // [70 80 90] was in no window.
    let unseen = array![[[0.7]], [[0.8]], [[0.9]]];
    let (mut state, mut next) = (network.start(1), Array3::zeros((1, 1, 1)));
    let (inputs, out) = (Inputs::sequences(unseen.view()), next.view_mut());
    network.forward(&trained.params, &inputs, &pass, &mut state, &mut cache, out)?;
    Ok(Outcome {
        states: (0..3).map(|t| [h[[t, 0, 0]], h[[t, 0, 1]]]).collect(),
        first: (prediction[[0, 0, 0]], error * error),
        gradients: gradients.collect(),
        losses: trained.train_losses,
        prediction: 100.0 * next[[0, 0, 0]],
    })
}

/// The theory's symbols, transposed where PyTorch stores (out, in).
const SYMBOLS: [&str; 5] = ["W_x", "W_h", "B", "W_y", "b_y"];

/// Times that each of the six windows is seen.
const EPOCHS: usize = 1000;

fn main() -> Result<()> {
    let outcome = run()?;
    println!("the first window, [10 20 30] -> 40, before training:");
    for (t, h) in outcome.states.iter().enumerate() {
        println!("  h^{} = [{:9.6} {:9.6}]", t + 1, h[0], h[1]);
    }
    let (y, loss) = outcome.first;
    println!("  y^  = {y:.6}, L = (y^ - 0.4)^2 = {loss:.6}");
    println!("its gradients, each with the shape of its parameter:");
    for ((name, shape, norm), symbol) in outcome.gradients.iter().zip(SYMBOLS) {
        println!("  dL/d{symbol:3} {name:16} {shape:?}, norm {norm:.6}");
    }
    println!("training:");
    for epoch in [0, 1, 10, 100, EPOCHS - 1] {
        println!("  epoch {epoch:4}: mean L = {:.3e}", outcome.losses[epoch]);
    }
    println!("[70 80 90] -> {:.2}", outcome.prediction);
    Ok(())
}
