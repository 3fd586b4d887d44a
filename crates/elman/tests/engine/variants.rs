//! The cells that options make: through the kernels, by the plain loop and by
//! their definition they are the same, with recurrent masks too; model files
//! keep them.

use crate::common::problem::{Form, Problem, Shape};
use crate::common::variants::variants;
use crate::common::{gradcheck, numbers, slice_error};
use elman::cell::{AnyCell, Cell, CellKind, Done, Packs, Plain, Room, Rows, RowsBack, Weights};
use elman::kernel::Outer;
use elman::layer::{RecurrentConfig, StackCache};
use elman::network::{Network, NetworkConfig, Readout, SequenceConfig};
use elman::params::Storage;
use elman::weights::Model;
use elman::{Float, Team};

fn shape(config: RecurrentConfig) -> Shape {
    let mut shape = Shape::new(config, 4, 5, 1);
    shape.lengths = Some(vec![4, 0, 2, 3, 4]);
    shape
}

/// All there are: 4 lists of activations, PyTorch's among them; RNN: with and
/// without layer norm; GRU: these and reset-before; LSTM: five switches.
#[test]
fn every_combination_is_tried() {
    let all = variants(2, 3, false);
    let of = |kind| all.iter().filter(|c| c.cell == kind).count();
    assert_eq!(of(CellKind::Rnn), 4 * 2 - 1);
    assert_eq!(of(CellKind::Gru), 4 * 3 - 1);
    assert_eq!(of(CellKind::Lstm), 4 * 32 - 2);
    for config in all {
        let cell = config.cell(2, 3).unwrap();
        let plain = config.options.layer_norm || config.options.reset_before;
        assert_eq!(Cell::<f32>::kernels(&cell), !plain, "{config:?}");
        assert!(!Cell::<f32>::kernels(&Plain(cell)));
    }
}

#[test]
fn the_kernels_and_the_definition() {
    fn check<F: Float>(config: &RecurrentConfig, bar: f64) {
        let shape = shape(config.clone());
        let run = |wrap: &dyn Fn(AnyCell) -> AnyCell| {
            let mut problem = Problem::<F, _>::new(&shape, wrap);
            small(problem.params.values_mut(), config.hidden_size);
            problem.run(Form::Sequence, &mut StackCache::default())
        };
        let definition = run(&|cell| AnyCell::by_definition(cell.config()).unwrap());
        let e = run(&|cell| cell).error(&definition);
        assert!(e <= bar, "{config:?}: {e:e}");
        let mut problem = Problem::<F, _>::new(&shape, Plain);
        small(problem.params.values_mut(), config.hidden_size);
        let plain = problem.run(Form::Sequence, &mut StackCache::default());
        let e = plain.error(&definition);
        assert!(e <= bar, "plain {config:?}: {e:e}");
    }
    for (input_size, hidden_size) in [(1, 1), (3, 3), (3, 17), (17, 65)] {
        for mut config in variants(input_size, hidden_size, false) {
            config.stack.bidirectional = true;
            check::<f64>(&config, 1e-12);
        }
        // Without a bound, rounding of f32 grows from step to step.
        for mut config in variants(input_size, hidden_size, true) {
            config.stack.bidirectional = true;
            check::<f32>(&config, 1e-4);
        }
    }
}

/// Weights from U(-s, s), s = 1/sqrt(H): sums that stay near 1.
fn small<F: Float>(weights: &mut [F], hidden_size: usize) {
    let s = F::lit(1.0 / (hidden_size as f64).sqrt());
    weights.iter_mut().for_each(|w| *w *= s);
}

/// A stream has the bits of the sequence.
#[test]
fn step_by_step() {
    for config in variants(3, 9, true) {
        let problem = Problem::<f32, _>::new(&shape(config).one_way(), |cell| cell);
        let [a, b] = [Form::Sequence, Form::StepByStep]
            .map(|form| problem.forward(form, &mut StackCache::default()));
        assert_eq!(a, b);
    }
}

/// A row has the same bits alone and in a batch, there and back.
#[test]
fn rows_alone() {
    for mut config in variants(3, 9, true) {
        config.stack.bidirectional = true;
        let problem = Problem::<f32, _>::new(&shape(config), |cell| cell);
        let run = |p: &Problem<f32, AnyCell>| p.run(Form::Sequence, &mut StackCache::default());
        let together = run(&problem);
        for row in 0..problem.batch() {
            let length = problem.length(row);
            let alone = run(&problem.rows(&[row], length + 1));
            assert_eq!(
                alone.row_bits(0, length),
                together.row_bits(row, length),
                "{row}"
            );
        }
    }
}

/// One step of a few rows whose products read a masked state.
struct Step {
    weights: Vec<f64>,
    x: Vec<f64>,
    prev: Vec<f64>,
    mask: Vec<f64>,
    d_next: Vec<f64>,
}

const ROWS: usize = 3;

impl Step {
    fn new(cell: &AnyCell) -> Self {
        let weights: usize = Cell::<f64>::params(cell).iter().map(|p| p.size()).sum();
        let width = Cell::<f64>::state_size(cell);
        let masked = numbers::<f64>(5, ROWS * Cell::<f64>::output_size(cell));
        Self {
            weights: numbers(1, weights),
            x: numbers(2, ROWS * Cell::<f64>::input_size(cell)),
            prev: numbers(3, ROWS * width),
            mask: masked
                .iter()
                .map(|m| if *m < 0.0 { 0.0 } else { 1.6 })
                .collect(),
            d_next: numbers(4, ROWS * width),
        }
    }

    fn hidden<C: Cell<f64>>(&self, cell: &C) -> Vec<f64> {
        let mut hidden = self.prev.clone();
        let rows = hidden.chunks_exact_mut(cell.state_size());
        for (row, mask) in rows.zip(self.mask.chunks_exact(cell.output_size())) {
            row.iter_mut().zip(mask).for_each(|(h, m)| *h *= m);
        }
        hidden
    }

    /// The states after the step, and with them what is needed to go back.
    fn forward<C: Cell<f64>>(&self, cell: &C, packs: &mut Packs<f64>) -> (Vec<f64>, Vec<f64>) {
        let mut next = vec![f64::NAN; self.prev.len()];
        let mut saved = vec![0.0; ROWS * cell.saved_size()];
        cell.pack(self.weights(1), packs);
        let rows = Rows {
            x: &self.x,
            prev: &self.prev,
            hidden: &self.hidden(cell),
            next: &mut next,
            saved: &mut saved,
            keeps: true,
            prepared: false,
            team: &Team::alone(),
            room: &mut Room::default(),
        };
        cell.forward(self.weights(1), packs, ROWS, rows);
        (next, saved)
    }

    /// Gradients of the weights, of `x` and of `prev`.
    fn backward<C: Cell<f64>>(&self, cell: &C) -> [Vec<f64>; 3] {
        let mut packs = Packs::default();
        let (next, saved) = self.forward(cell, &mut packs);
        let hidden = self.hidden(cell);
        let mut d_state = self.d_next.clone();
        let mut d_saved = vec![0.0; saved.len()];
        let mut d_x = vec![0.0; self.x.len()];
        let mut d_weights = vec![0.0; self.weights.len()];
        let rows = RowsBack {
            x: &self.x,
            prev: &self.prev,
            hidden: &hidden,
            mask: Some(&self.mask),
            next: &next,
            saved: &saved,
            d_state: &mut d_state,
            d_saved: &mut d_saved,
            d_x: Some(&mut d_x),
            d_weights: &mut d_weights,
            team: &Team::alone(),
        };
        cell.pack_back(self.weights(1), &mut packs);
        cell.backward(self.weights(1), &packs, ROWS, rows);
        cell.input_back(&packs, &Team::alone(), &d_saved, &mut d_x);
        let row = |i: usize| Done {
            x: row_of(&self.x, i),
            hidden: row_of(&hidden, i),
            saved: row_of(&saved, i),
            d_saved: row_of(&d_saved, i),
        };
        let (mut room, team) = (Outer::default(), Team::alone());
        cell.weights_back(&mut room, &team, ROWS, &row, &mut d_weights);
        [d_weights, d_x, d_state]
    }

    fn loss<C: Cell<f64>>(&self, cell: &C) -> f64 {
        let (next, _) = self.forward(cell, &mut Packs::default());
        next.iter().zip(&self.d_next).map(|(a, b)| a * b).sum()
    }

    fn weights(&self, stamp: u64) -> Weights<'_, f64> {
        Weights {
            values: &self.weights,
            stamp: (stamp, 0),
            storage: Storage::Full,
        }
    }
}

/// Finite differences where the products read a masked state and the update the
/// whole one, of every cell and form.
#[test]
fn masked_states() {
    let pytorchs = CellKind::ALL.map(|kind| RecurrentConfig::new(kind, 2, 3));
    let mut projected = pytorchs[2].clone();
    projected.proj_size = 2;
    let (mut values, mut kinks) = (0, 0);
    for config in pytorchs
        .into_iter()
        .chain([projected])
        .chain(variants(2, 3, false))
    {
        let cell = config.cell(2, 3).unwrap();
        assert!(Cell::<f64>::takes_mask(&cell));
        let mut step = Step::new(&cell);
        let grads = step.backward(&cell);
        let definition = AnyCell::by_definition(cell.config()).unwrap();
        for other in [
            step.backward(&Plain(cell.clone())),
            step.backward(&definition),
        ] {
            for (a, b) in grads.iter().zip(&other) {
                let e = slice_error(a, b);
                assert!(e <= 1e-13, "{config:?}: {e:e}");
            }
        }
        let places: [fn(&mut Step) -> &mut Vec<f64>; 3] =
            [|s| &mut s.weights, |s| &mut s.x, |s| &mut s.prev];
        for (place, gradient) in places.into_iter().zip(&grads) {
            let mut at = place(&mut step).clone();
            let loss = |at: &[f64]| {
                place(&mut step).copy_from_slice(at);
                step.loss(&cell)
            };
            let found = gradcheck(&mut at, loss, gradient);
            place(&mut step).copy_from_slice(&at);
            assert!(found.error <= 1e-6, "{config:?}: {found:?}");
            values += at.len();
            kinks += found.kinks;
        }
    }
    assert!(kinks * 100 <= values, "{kinks} kinks of {values}");
}

/// A network is built again from its file, whatever the options; a file of
/// PyTorch's cells does not mention them.
#[test]
fn model_files() {
    let mut configs = variants(2, 3, true);
    for config in &mut configs {
        config.options.init.orthogonal = true;
        if config.cell == CellKind::Lstm {
            config.options.init.chrono = Some(12);
        }
    }
    configs.push(RecurrentConfig::new(CellKind::Lstm, 2, 3));
    for recurrent in configs {
        let config = NetworkConfig::Sequence(SequenceConfig {
            recurrent: recurrent.clone(),
            readout: Readout::LastState,
            outputs: 1,
            head_dropout: 0.0,
            skip: None,
        });
        let params = config.build().unwrap().init(3);
        let model = Model::<f32>::new(config, vec![params], serde_json::Value::Null).unwrap();
        let bytes = model.to_bytes().unwrap();
        let back = Model::<f32>::from_bytes(&bytes).unwrap();
        assert_eq!(back.config(), model.config());
        assert_eq!(back.members()[0].values(), model.members()[0].values());
        assert_eq!(back.to_bytes().unwrap(), bytes);
        let mentions = String::from_utf8_lossy(&bytes).contains("options");
        assert_eq!(mentions, recurrent.options != Default::default());
    }
}

/// Row `i` of as many as the batch has.
fn row_of(array: &[f64], i: usize) -> &[f64] {
    let width = array.len() / ROWS;
    &array[i * width..][..width]
}
