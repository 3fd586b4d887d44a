//! Checkpointing over time: the answer of the pass that keeps everything.

use crate::common::leaky::Leaky;
use crate::common::problem::{Answer, Form, Problem, Shape, shapes};
use crate::common::{numbers, slice_error};
use elman::cell::{Cell, CellKind, Plain};
use elman::layer::{Checkpoint, CheckpointCache, Pass, RecurrentConfig, StackCache};
use elman::ndarray::{Array3, s};
use elman::network::{
    AnyCache, AnyNetwork, EncoderDecoderConfig, Inputs, Network, NetworkConfig, Readout,
    SequenceConfig, Skip,
};
use elman::params::Params;
use elman::rng::{Key, Purpose};
use elman::train::{Control, InMemory, Progress, Threads, TrainConfig, Trained, fit};
use elman::{Error, Float};
use proptest::prelude::*;

/// What a checkpointed stack makes of a problem; with `twice`, the gradients
/// are those of a second way back over the same cache.
fn answer<F: Float, C: Cell<F>>(
    problem: &Problem<F, C>,
    checkpoint: Checkpoint,
    twice: bool,
    cache: &mut CheckpointCache<F>,
) -> Answer<F> {
    let stack = problem.stack.checkpointed(checkpoint).unwrap();
    let batch_first = problem.stack.config().batch_first;
    let axes = if batch_first { [1, 0, 2] } else { [0, 1, 2] };
    let dim = (
        problem.seq_len(),
        problem.batch(),
        problem.stack.output_size(),
    );
    let mut y = Array3::from_elem(dim, F::nan());
    let mut state = problem.state.clone();
    let x = problem.x.view().permuted_axes(axes);
    let (params, view) = (&problem.params, y.view_mut().permuted_axes(axes));
    stack
        .forward(params, x, &problem.pass(), &mut state, cache, view)
        .unwrap();
    let mut back = || {
        let mut dx = Array3::zeros(problem.x.dim());
        let mut d_state = problem.d_state.clone();
        let mut grads = Params::zeros(params.layout().clone());
        let dy = (problem.d_y.as_ref()).map(|d| d.view().permuted_axes(axes));
        let view = Some(dx.view_mut().permuted_axes(axes));
        stack
            .backward(params, x, cache, dy, &mut d_state, &mut grads, view)
            .unwrap();
        (dx, d_state, grads)
    };
    if twice {
        back();
    }
    let (dx, d_state, grads) = back();
    Answer {
        y,
        state,
        dx,
        d_state,
        grads,
    }
}

/// The same bits, but for the order of the sums in the parameters' gradients.
fn check<F: Float, C: Cell<F>>(
    problem: &Problem<F, C>,
    checkpoint: Checkpoint,
    twice: bool,
    cache: &mut CheckpointCache<F>,
) {
    let expected = problem.run(Form::Sequence, &mut StackCache::default());
    let got = answer(problem, checkpoint, twice, cache);
    for row in 0..problem.batch() {
        let bits = |a: &Answer<F>| a.row_bits(row, problem.seq_len());
        assert_eq!(bits(&got), bits(&expected), "{checkpoint:?} row {row}");
    }
    let error = got.error(&expected);
    let bound = if F::BYTES == 8 { 1e-12 } else { 1e-5 };
    assert!(error <= bound, "{checkpoint:?}: {error:e}");
    if checkpoint.segment(problem.seq_len()) >= problem.seq_len() {
        assert_eq!(got.bits(), expected.bits(), "{checkpoint:?}");
    }
}

fn shape(kind: CellKind, proj_size: usize, seq_len: usize, ragged: bool) -> Shape {
    let mut config = RecurrentConfig::new(kind, 3, 17);
    config.proj_size = proj_size;
    config.stack.num_layers = 2;
    config.stack.dropout = 0.3;
    config.stack.batch_first = ragged;
    let mut shape = Shape::new(config, seq_len, 5, 1);
    shape.lengths = ragged.then(|| (0..5).map(|n| n * 17 % (seq_len + 1)).collect());
    shape.training = true;
    shape
}

#[test]
fn every_cell_at_odd_lengths() {
    use Checkpoint::{Every, Sqrt};
    // One cache for all: what was in it does not matter.
    let mut cache = CheckpointCache::default();
    for (kind, proj_size) in [
        (CellKind::Rnn, 0),
        (CellKind::Gru, 0),
        (CellKind::Lstm, 0),
        (CellKind::Lstm, 4),
    ] {
        for seq_len in [0, 1, 3, 17, 65] {
            for ragged in [false, true] {
                let shape = shape(kind, proj_size, seq_len, ragged);
                let problem = Problem::<f64, _>::new(&shape, |cell| cell);
                for checkpoint in [Sqrt, Every(1), Every(4), Every(65), Every(usize::MAX)] {
                    check(&problem, checkpoint, false, &mut cache);
                }
                check(&problem, Sqrt, true, &mut cache);
            }
        }
        let shape = shape(kind, proj_size, 65, true);
        let plain = Problem::<f64, _>::new(&shape, Plain);
        check(&plain, Sqrt, false, &mut CheckpointCache::default());
        let single = Problem::<f32, _>::new(&shape, |cell| cell);
        check(&single, Sqrt, false, &mut CheckpointCache::default());
    }
    let shape = shape(CellKind::Rnn, 0, 17, true);
    let cell = |_, input_size| Leaky {
        input_size,
        hidden_size: 3,
        k: 0.3,
    };
    let own = Problem::<f64, _>::of(&shape, shape.config.stack.clone(), 2, cell);
    check(&own, Sqrt, false, &mut CheckpointCache::default());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_stack(shape in shapes(), segment in 0..6_usize, d_y in any::<bool>()) {
        let lengths = shape.lengths.clone();
        let shape = Shape { lengths, ..shape.one_way() };
        let mut problem = Problem::<f64, _>::new(&shape, |cell| cell);
        problem.first_row = 40;
        problem.d_y = problem.d_y.filter(|_| d_y);
        let checkpoint = match segment {
            0 => Checkpoint::Sqrt,
            steps => Checkpoint::Every(steps),
        };
        check(&problem, checkpoint, false, &mut CheckpointCache::default());
    }
}

fn network(readout: Readout, cell: CellKind) -> AnyNetwork {
    let mut recurrent = RecurrentConfig::new(cell, 2, 5);
    recurrent.stack.num_layers = 2;
    recurrent.stack.dropout = 0.2;
    let skip = (readout != Readout::EveryStep).then_some(Skip {
        inputs: 3,
        dropout: 0.1,
    });
    NetworkConfig::Sequence(SequenceConfig {
        recurrent,
        readout,
        outputs: 2,
        head_dropout: 0.3,
        skip,
    })
    .build()
    .unwrap()
}

fn array(seed: u64, dim: (usize, usize, usize)) -> Array3<f64> {
    Array3::from_shape_vec(dim, numbers(seed, dim.0 * dim.1 * dim.2)).unwrap()
}

/// Prediction, state, gradients of state and input; gradients of parameters.
fn of_network(network: &AnyNetwork, lengths: Option<&[usize]>) -> (Vec<u64>, Vec<f64>) {
    let params: Params<f64> = network.init(5);
    let input = array(1, (17, 3, 2));
    let vectors = array(2, (1, 3, 3));
    let reads = !params
        .layout()
        .entries()
        .iter()
        .all(|e| !e.name.starts_with("skip"));
    let inputs = Inputs {
        skip: reads.then(|| vectors.slice(s![0, .., ..])),
        ..Inputs::sequences(input.view())
    };
    let pass = Pass {
        lengths,
        dropout: Some(Key::new(1, Purpose::Dropout)),
        first_row: 3,
        first_step: 100,
        ..Pass::default()
    };
    let (mut cache, mut state) = (AnyCache::default(), network.start(3));
    let dim = network.output_dim(&inputs).unwrap();
    let (mut y, dy) = (Array3::zeros(dim), array(3, dim));
    network
        .forward(
            &params,
            &inputs,
            &pass,
            &mut state,
            &mut cache,
            y.view_mut(),
        )
        .unwrap();
    let mut d_state = state.clone();
    let mut dx = Array3::zeros(input.dim());
    let mut grads = Params::zeros(params.layout().clone());
    let view = Some(dx.view_mut());
    network
        .backward(
            &params,
            &inputs,
            &mut cache,
            dy.view(),
            &mut d_state,
            &mut grads,
            view,
        )
        .unwrap();
    let slots = (0..state.slots()).flat_map(|at| state.slot(at).iter().chain(d_state.slot(at)));
    let all = slots.chain(&y).chain(&dx);
    (all.map(|v| v.to_bits()).collect(), grads.values().to_vec())
}

#[test]
fn networks_of_every_readout() {
    for cell in CellKind::ALL {
        for (readout, may_be_ragged) in [
            (Readout::EveryStep, true),
            (Readout::LastState, true),
            (Readout::LastSteps(6), false),
            (Readout::AllStates(17), false),
        ] {
            let network = network(readout, cell);
            let ragged = may_be_ragged.then_some(&[17_usize, 0, 9][..]);
            for lengths in [None, ragged] {
                let (bits, grads) = of_network(&network, lengths);
                for checkpoint in [Checkpoint::Sqrt, Checkpoint::Every(6)] {
                    let network = network.clone().checkpointed(checkpoint).unwrap();
                    let (own_bits, own_grads) = of_network(&network, lengths);
                    assert_eq!(own_bits, bits, "{cell} {readout:?} {checkpoint:?}");
                    let error = slice_error(&own_grads, &grads);
                    assert!(error <= 1e-12, "{cell} {readout:?}: {error:e}");
                }
            }
        }
    }
}

/// Training is the same, truncated or not, on any number of threads.
#[test]
fn training_with_checkpoints() {
    let plain = network(Readout::EveryStep, CellKind::Lstm);
    let train = InMemory::new(array(1, (20, 40, 2)), array(2, (20, 40, 2))).unwrap();
    let run = |network: &AnyNetwork, truncate, threads| -> Trained<f64> {
        let config = TrainConfig {
            epochs: 3,
            truncate,
            ..TrainConfig::default()
        };
        let go_on = &mut |_: &Progress| Control::Continue;
        fit(
            network,
            network.init(1),
            &train,
            None,
            &config,
            Threads(threads),
            go_on,
        )
        .unwrap()
    };
    let checkpointed = plain.clone().checkpointed(Checkpoint::Sqrt).unwrap();
    for truncate in [None, Some(12)] {
        let expected = run(&plain, truncate, 1);
        let got = run(&checkpointed, truncate, 1);
        let error = slice_error(got.params.values(), expected.params.values());
        assert!(error <= 1e-9, "{truncate:?}: {error:e}");
        assert_eq!(
            got.params.values(),
            run(&checkpointed, truncate, 2).params.values()
        );
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let says = |e: Error, words: &str| assert!(e.to_string().contains(words), "{words}: {e}");
    let mut shape = shape(CellKind::Gru, 0, 6, false);
    let problem = Problem::<f64, _>::new(&shape, |cell| cell);
    let e = problem
        .stack
        .checkpointed(Checkpoint::Every(0))
        .unwrap_err();
    says(e, "checkpoint: a segment must have at least one step");
    shape.config.stack.bidirectional = true;
    let both = Problem::<f64, _>::new(&shape, |cell| cell);
    let e = both.stack.checkpointed(Checkpoint::Sqrt).unwrap_err();
    assert!(e.is_option());
    says(e, "checkpoint: a bidirectional stack");

    let decoder = NetworkConfig::EncoderDecoder(EncoderDecoderConfig {
        recurrent: RecurrentConfig::new(CellKind::Gru, 2, 5),
        known: 0,
        outputs: 1,
        steps: 2,
    });
    let e = decoder.build().unwrap().checkpointed(Checkpoint::Sqrt);
    says(e.unwrap_err(), "checkpoint: a network with a decoder");

    let stack = problem.stack.checkpointed(Checkpoint::Every(4)).unwrap();
    let params = &problem.params;
    let mut cache = CheckpointCache::default();
    let (mut state, mut d_state) = (problem.state.clone(), problem.d_state.clone());
    let mut grads = Params::zeros(params.layout().clone());
    let mut back = |cache: &mut _, x: &Array3<f64>, dy: &Array3<f64>| {
        let (x, dy) = (x.view(), Some(dy.view()));
        stack.backward(params, x, cache, dy, &mut d_state, &mut grads, None)
    };
    let (x, mut y) = (&problem.x, Array3::zeros((6, 5, 17)));
    says(back(&mut cache, x, &y).unwrap_err(), "no checkpointed pass");
    let mut forward = |lengths, cache: &mut _, y: &mut Array3<f64>| {
        let pass = Pass {
            lengths,
            ..Pass::default()
        };
        stack.forward(params, x.view(), &pass, &mut state, cache, y.view_mut())
    };
    let e = forward(None, &mut cache, &mut array(1, (7, 5, 17)));
    says(e.unwrap_err(), "output: expected 6 steps of 5 rows");
    let e = forward(Some(&[6, 6, 7, 6, 6][..]), &mut cache, &mut y);
    says(e.unwrap_err(), "row 2 has 7 steps, the input has 6");
    says(back(&mut cache, x, &y).unwrap_err(), "no checkpointed pass");
    forward(None, &mut cache, &mut y).unwrap();
    let e = back(&mut cache, x, &array(1, (5, 5, 17))).unwrap_err();
    says(e, "d_output: expected 6 steps of 5 rows");
    let e = back(&mut cache, &array(1, (7, 5, 3)), &array(1, (7, 5, 17))).unwrap_err();
    says(e, "had 6 steps of 5 rows, got 7 of 5");
    back(&mut cache, x, &y).unwrap();
}
