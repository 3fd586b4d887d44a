//! A recurrent stack: one run is what a user's loop does with a batch.

use crate::case::{Case, Mode, Sizes};
use crate::engine;
use crate::measure::Options;
use elman::Result;
use elman::cell::AnyCell;
use elman::layer::{RecurrentConfig, Stack, StackCache, State};
use elman::ndarray::Array3;
use elman::params::{Grads, Layout, Params};
use elman::rng::{Key, Purpose, TorchRng};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Inputs that differ from run to run: each begins a little further on in the
/// same random numbers.
const INPUTS: usize = 61;

/// A case with its arrays, which all runs use again.
pub struct Runner {
    mode: Mode,
    lengths: Option<Vec<usize>>,
    stack: Stack<AnyCell>,
    params: Params<f32>,
    cache: StackCache<f32>,
    state: State<f32>,
    /// All inputs: that of a run and `INPUTS` numbers more.
    numbers: Vec<f32>,
    runs: usize,
    x: Array3<f32>,
    y: Array3<f32>,
    back: Option<Back>,
}

/// What the way back has beside.
struct Back {
    dy: Array3<f32>,
    dx: Array3<f32>,
    d_state: State<f32>,
    grads: Grads<f32>,
}

impl Runner {
    pub fn new(case: &Case, options: &Options) -> Result<Self> {
        let (threads, seed) = (options.threads, options.seed);
        let Sizes {
            seq_len,
            batch,
            input_size,
            hidden_size,
            layers,
            bidirectional,
        } = case.sizes();
        let mut config = RecurrentConfig::new(case.cell(), input_size, hidden_size);
        config.stack.num_layers = layers;
        config.stack.bidirectional = bidirectional;
        let mut layout = Layout::new();
        let stack = config.stack(&mut layout, "")?;
        let layout = Arc::new(layout);
        let mut params = Params::try_zeros(layout.clone())?;
        let mut rng = TorchRng::new(seed);
        stack.init(&mut params, &mut |a, b| rng.uniform(a, b));
        params.set_storage(options.weights);
        let mut cache = StackCache::default();
        engine::set_threads(&mut cache, threads)?;

        let (x, y) = (
            (seq_len, batch, input_size),
            (seq_len, batch, stack.output_size()),
        );
        let mut numbers = vec![0.0; seq_len * batch * input_size + INPUTS];
        Key::new(seed, Purpose::Sampling)
            .stream(0, 0)
            .fill(&mut numbers);
        let state = stack.start(batch);
        let back = (case.mode() != Mode::Infer).then(|| Back {
            dy: Array3::ones(y),
            dx: Array3::zeros(x),
            d_state: state.clone(),
            grads: Params::zeros(layout),
        });
        Ok(Self {
            mode: case.mode(),
            lengths: case.lengths(),
            stack,
            params,
            cache,
            state,
            numbers,
            runs: 0,
            x: Array3::zeros(x),
            y: Array3::zeros(y),
            back,
        })
    }

    /// One run, and how long it took. Its input is a new one; the weights count
    /// as changed before a training run, as they are by every step of an
    /// optimiser, so that copies of them are made anew.
    pub fn run(&mut self) -> Result<Duration> {
        let first = self.runs % INPUTS;
        self.runs += 1;
        for (x, number) in self.x.iter_mut().zip(&self.numbers[first..]) {
            *x = *number;
        }
        if self.mode != Mode::Infer {
            self.params.values_mut();
        }
        let start = Instant::now();
        self.timed()?;
        Ok(start.elapsed())
    }

    /// What is timed. A function of its own also in the program, so that its
    /// instructions can be counted.
    #[inline(never)]
    fn timed(&mut self) -> Result<()> {
        let pass = engine::pass(self.lengths.as_deref(), self.mode == Mode::Infer);
        let (params, cache, state) = (&self.params, &mut self.cache, &mut self.state);
        state.clear();
        let (x, y) = (self.x.view(), self.y.view_mut());
        self.stack.forward(params, x, &pass, state, cache, y)?;
        if let Some(back) = &mut self.back {
            let Back {
                dy,
                dx,
                d_state,
                grads,
            } = back;
            d_state.clear();
            grads.clear();
            dx.fill(0.0);
            let (dy, dx) = (Some(dy.view()), Some(dx.view_mut()));
            self.stack.backward(params, cache, dy, d_state, grads, dx)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use elman::cell::CellKind;

    /// Runs differ by their input only: outputs and gradients are those of a
    /// fresh cache and zeroed gradients.
    fn check(cell: CellKind, mode: Mode, sizes: Sizes) {
        let case = Case::new(cell, mode, sizes).unwrap();
        let mut warm = Runner::new(&case, &Options::default()).unwrap();
        for _ in 0..3 {
            warm.run().unwrap();
        }
        let mut cold = Runner::new(&case, &Options::default()).unwrap();
        let first = cold.x.clone();
        cold.runs = 2;
        cold.run().unwrap();
        assert!(cold.x != first && cold.x == warm.x, "{case}");
        assert_eq!(cold.y, warm.y, "{case}");
        assert!(cold.y.iter().any(|y| *y != 0.0), "{case}");
        match (&cold.back, &warm.back) {
            (Some(cold), Some(warm)) => {
                assert_eq!(cold.dx, warm.dx, "{case}");
                assert_eq!(cold.grads.values(), warm.grads.values(), "{case}");
                assert!(cold.grads.values().iter().any(|g| *g != 0.0), "{case}");
            }
            (None, None) => assert_eq!(mode, Mode::Infer),
            _ => panic!("{case}: one has a way back"),
        }
    }

    #[test]
    fn every_run_is_a_run_of_its_own() {
        for cell in CellKind::ALL {
            for mode in Mode::ALL {
                for (layers, bidirectional) in [(1, false), (2, true)] {
                    let sizes = Sizes {
                        seq_len: 5,
                        batch: 3,
                        input_size: 17,
                        hidden_size: 3,
                        layers,
                        bidirectional,
                    };
                    check(cell, mode, sizes);
                }
            }
        }
    }

    /// Of a sum, the gradient by a plain cell's last bias, far from saturation,
    /// tells how many outputs were added up.
    #[test]
    fn padding_has_no_part() {
        let sizes = Sizes {
            seq_len: 4,
            batch: 3,
            input_size: 1,
            hidden_size: 1,
            layers: 1,
            bidirectional: false,
        };
        for (mode, steps) in [(Mode::Train, 12.0), (Mode::Packed, 1.0 + 2.0 + 4.0)] {
            let case = Case::new(CellKind::Rnn, mode, sizes).unwrap();
            let mut runner = Runner::new(&case, &Options::default()).unwrap();
            runner.params.clear();
            runner.run().unwrap();
            let grads = &runner.back.as_ref().unwrap().grads;
            assert_eq!(grads.get("bias_hh_l0").unwrap()[[0]], steps);
        }
    }
}
