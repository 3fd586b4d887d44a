//! No allocation per step of a stream, none per batch once the cache is warm;
//! and what a checkpointed cache takes.

#![allow(unsafe_code)] // a global allocator is unsafe to write

mod common;

use common::leaky::Leaky;
use common::problem::{Form, Problem, Shape};
use common::variants::variants;
use elman::Team;
use elman::cell::{AnyCell, Cell, CellKind, Plain};
use elman::layer::{
    Checkpoint, CheckpointCache, Linear, LinearCache, Merge, Pass, RecurrentConfig, StackCache,
};
use elman::ndarray::{Array2, Array3, Axis};
use elman::network::{
    Chain, ChainCache, ChainConfig, ChainLayer, Inputs, NamedLayer, Network, Readout, Sequence,
    SequenceCache, SequenceConfig,
};
use elman::params::{Layout, Params};
use elman::rng::{Key, Purpose};
use std::alloc::{GlobalAlloc, Layout as Memory, System};
use std::cell::Cell as Counter;

thread_local! {
    static CALLS: Counter<usize> = const { Counter::new(0) };
    /// Taken and not given back; a thread may give back what another took.
    static BYTES: Counter<isize> = const { Counter::new(0) };
}

/// The system's allocator, counting its calls and the bytes in use.
struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; counting
// touches a thread-local number that needs neither memory nor a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, memory: Memory) -> *mut u8 {
        CALLS.set(CALLS.get() + 1);
        BYTES.set(BYTES.get() + memory.size() as isize);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(memory) }
    }

    unsafe fn dealloc(&self, at: *mut u8, memory: Memory) {
        BYTES.set(BYTES.get() - memory.size() as isize);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, memory) }
    }

    unsafe fn realloc(&self, at: *mut u8, memory: Memory, size: usize) -> *mut u8 {
        CALLS.set(CALLS.get() + 1);
        BYTES.set(BYTES.get() + size as isize - memory.size() as isize);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(at, memory, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Allocations while `f` runs, once it has run before.
fn steady(mut f: impl FnMut()) -> usize {
    f();
    let before = CALLS.get();
    f();
    CALLS.get() - before
}

#[test]
fn the_counter_counts() {
    assert_eq!(steady(|| drop(std::hint::black_box(vec![0_u8; 100]))), 1);
}

/// Of the calling thread; workers that have nothing to do are awake or asleep.
#[test]
fn hand_overs() {
    for threads in [1, 2, 3] {
        let team = Team::new(threads).unwrap();
        let mut items = [0; 17];
        let mut call = || team.each(&mut items, |i, item| *item += i);
        for pause in [0, 5] {
            std::thread::sleep(std::time::Duration::from_millis(pause));
            assert_eq!(steady(&mut call), 0);
        }
        let expected: Vec<_> = (0..17).map(|i| 4 * i).collect();
        assert_eq!(items[..], expected);
    }
}

/// Every cell, and the LSTM with a projection: cell and `proj_size`.
const CELLS: [(CellKind, usize); 4] = [
    (CellKind::Rnn, 0),
    (CellKind::Gru, 0),
    (CellKind::Lstm, 0),
    (CellKind::Lstm, 4),
];

/// More rows than a stable sort orders without memory of its own.
fn shape((kind, proj_size): (CellKind, usize), bidirectional: bool, ragged: bool) -> Shape {
    let mut config = RecurrentConfig::new(kind, 5, 9);
    config.proj_size = proj_size;
    config.stack.num_layers = 2;
    config.stack.bidirectional = bidirectional;
    config.stack.dropout = 0.3;
    Shape {
        config,
        seq_len: 6,
        batch: 600,
        lengths: ragged.then(|| (0..600).map(|row| row * 5 % 7).collect()),
        resets: None,
        fresh: false,
        training: true,
        seed: 1,
    }
}

/// All options that one stack can have beside each other, two ways.
fn with_options(mut shape: Shape, merge: Merge) -> Shape {
    let stack = &mut shape.config.stack;
    if stack.bidirectional {
        stack.merge = merge;
    }
    stack.locked_dropout = true;
    stack.recurrent_dropout = 0.3;
    stack.weight_drop = 0.3;
    stack.zoneout_hidden = 0.2;
    if shape.config.cell == CellKind::Lstm {
        stack.zoneout_cell = 0.2;
    }
    stack.learn_initial_state = true;
    match merge {
        Merge::Concat => shape.config.hidden_sizes = vec![9, 7],
        _ => stack.residual = true,
    }
    let marks = |(t, b)| (t * 7 + b) % 5 == 0;
    shape.resets = Some(Array2::from_shape_fn((shape.seq_len, shape.batch), marks));
    shape.fresh = true;
    shape
}

/// A training step with new weights each time.
fn training<C: Cell<f32>>(mut problem: Problem<f32, C>) -> usize {
    let mut cache = StackCache::default();
    let dim = (
        problem.seq_len(),
        problem.batch(),
        problem.stack.output_size(),
    );
    let mut y = Array3::zeros(dim);
    let mut dx = Array3::zeros(problem.x.dim());
    let mut grads = Params::zeros(problem.params.layout().clone());
    let (mut state, mut d_state) = (problem.state.clone(), problem.d_state.clone());
    steady(|| {
        problem.params.values_mut()[0] += 0.1;
        let (stack, params) = (&problem.stack, &problem.params);
        let (x, pass) = (problem.x.view(), problem.pass());
        stack
            .forward(params, x, &pass, &mut state, &mut cache, y.view_mut())
            .unwrap();
        let (dy, view) = (problem.d_y.as_ref().map(|d| d.view()), Some(dx.view_mut()));
        stack
            .backward(params, &mut cache, dy, &mut d_state, &mut grads, view)
            .unwrap();
    })
}

#[test]
fn training_steps() {
    for cell in CELLS {
        for (bidirectional, ragged) in [(false, false), (true, false), (true, true)] {
            let shape = shape(cell, bidirectional, ragged);
            assert_eq!(training(Problem::new(&shape, |cell| cell)), 0, "{shape:?}");
            assert_eq!(training(Problem::new(&shape, Plain)), 0, "plain {shape:?}");
            for merge in [Merge::Concat, Merge::Product] {
                let shape = with_options(shape.clone(), merge);
                assert_eq!(training(Problem::new(&shape, |cell| cell)), 0, "{shape:?}");
            }
        }
    }
    for config in variants(5, 9, true) {
        let mut shape = shape(CELLS[0], true, true);
        shape.config = config;
        assert_eq!(training(Problem::new(&shape, |cell| cell)), 0, "{shape:?}");
        assert_eq!(training(Problem::new(&shape, Plain)), 0, "plain {shape:?}");
    }
    let shape = shape(CELLS[0], true, true);
    let config = shape.config.stack.clone();
    let own = Problem::of(&shape, config, 2, |_, input_size| Leaky {
        input_size,
        hidden_size: 3,
        k: 0.3,
    });
    assert_eq!(training(own), 0);
}

#[test]
fn steps_of_a_stream() {
    for cell in CELLS {
        let shape = with_options(shape(cell, false, false), Merge::Sum);
        let problem = Problem::<f32, AnyCell>::new(&shape, |cell| cell);
        let mut cache = StackCache::default();
        let mut state = problem.state.clone();
        let mut y = Array2::zeros((problem.batch(), problem.stack.output_size()));
        let mut stream = || {
            for x in problem.x.axis_iter(Axis(0)) {
                problem
                    .stack
                    .step(&problem.params, x, &mut state, &mut cache, y.view_mut())
                    .unwrap();
            }
        };
        assert_eq!(steady(&mut stream), 0, "{cell:?}");
    }
}

#[test]
fn sequences_step_by_step() {
    for cell in CELLS {
        let shape = with_options(shape(cell, false, false), Merge::Sum);
        let problem = Problem::<f32, AnyCell>::new(&shape, |cell| cell);
        let (stack, params) = (&problem.stack, &problem.params);
        let mut cache = StackCache::default();
        let (mut state, mut d_state) = (problem.state.clone(), problem.d_state.clone());
        let mut y = Array2::zeros((problem.batch(), stack.output_size()));
        let mut dx = Array2::zeros((problem.batch(), stack.input_size()));
        let mut grads = Params::zeros(params.layout().clone());
        let (seq_len, batch) = (problem.seq_len(), problem.batch());
        let both_ways = || {
            let pass = problem.pass();
            stack
                .begin_at(seq_len, batch, &pass, &state, &mut cache)
                .unwrap();
            for (t, x) in problem.x.axis_iter(Axis(0)).enumerate() {
                stack
                    .forward_at(params, t, x, &mut cache, y.view_mut())
                    .unwrap();
            }
            stack.finish(&cache, &mut state).unwrap();
            stack.begin_back(&d_state, &mut cache).unwrap();
            for t in (0..seq_len).rev() {
                let (dy, dx) = (y.view(), dx.view_mut());
                stack
                    .backward_at(params, t, &mut cache, dy, &mut grads, dx)
                    .unwrap();
            }
            stack
                .end_back(&mut cache, &mut grads, &mut d_state)
                .unwrap();
        };
        assert_eq!(steady(both_ways), 0, "{cell:?}");
    }
}

#[test]
fn linear() {
    let mut layout = Layout::new();
    let linear = Linear::new(&mut layout, "head", 9, 3, true).unwrap();
    let mut params = Params::<f32>::zeros(layout.into());
    let mut grads = params.clone();
    let mut cache = LinearCache::default();
    let (x, mut y, mut dx) = (vec![0.5; 90], vec![0.0; 30], vec![0.0; 90]);
    let step = || {
        params.values_mut()[0] += 0.1;
        linear.forward(&params, &x, &mut cache, &mut y).unwrap();
        linear
            .backward(&x, &mut cache, &y, &mut grads, Some(&mut dx))
            .unwrap();
    };
    assert_eq!(steady(step), 0);
}

#[test]
fn chains() {
    let layer = |prefix: &str, layer| NamedLayer {
        prefix: prefix.into(),
        layer,
    };
    let norm = |prefix, features| {
        layer(
            prefix,
            ChainLayer::LayerNorm {
                features,
                eps: 1e-5,
                bias: true,
            },
        )
    };
    let mut recurrent = RecurrentConfig::new(CellKind::Lstm, 5, 6);
    recurrent.stack.bidirectional = true;
    for last in [
        ChainLayer::LastOutput,
        ChainLayer::LastState,
        ChainLayer::Dropout(0.1),
    ] {
        let chain = Chain::new(&ChainConfig {
            layers: vec![
                layer(
                    "a",
                    ChainLayer::Embedding {
                        num_embeddings: 7,
                        embedding_dim: 5,
                        padding_idx: None,
                    },
                ),
                norm("b", 5),
                layer("c", ChainLayer::Recurrent(recurrent.clone())),
                layer("", last),
                layer("", ChainLayer::Dropout(0.2)),
                layer(
                    "d",
                    ChainLayer::Linear {
                        in_features: 12,
                        out_features: 3,
                        bias: true,
                    },
                ),
                layer("", ChainLayer::LogSoftmax),
            ],
        })
        .unwrap();
        let mut params: Params<f32> = chain.init(0);
        let mut grads = params.clone();
        let indices = Array2::from_shape_fn((6, 40), |(t, b)| ((t * b) % 7) as i64);
        let lengths: Vec<_> = (0..40).map(|row| row * 5 % 7).collect();
        let inputs = Inputs::indices(indices.view());
        let mut y = Array3::zeros(chain.output_dim(&inputs).unwrap());
        let (mut state, mut d_state) = (chain.start(40), chain.start(40));
        let mut cache = ChainCache::default();
        let pass = Pass {
            lengths: Some(&lengths),
            dropout: Some(Key::new(0, Purpose::Dropout)),
            ..Pass::default()
        };
        let step = || {
            params.values_mut()[0] += 0.1;
            chain
                .forward(
                    &params,
                    &inputs,
                    &pass,
                    &mut state,
                    &mut cache,
                    y.view_mut(),
                )
                .unwrap();
            let (dy, d_state) = (y.view(), &mut d_state);
            chain
                .backward(&params, &inputs, &mut cache, dy, d_state, &mut grads, None)
                .unwrap();
        };
        assert_eq!(steady(step), 0);
    }
}

/// A training step of a checkpointed stack with new weights each time.
fn checkpointed(problem: &mut Problem<f32, AnyCell>, cache: &mut CheckpointCache<f32>) -> usize {
    let dim = (
        problem.seq_len(),
        problem.batch(),
        problem.stack.output_size(),
    );
    let mut y = Array3::zeros(dim);
    let mut dx = Array3::zeros(problem.x.dim());
    let mut grads = Params::zeros(problem.params.layout().clone());
    let (mut state, mut d_state) = (problem.state.clone(), problem.d_state.clone());
    steady(|| {
        problem.params.values_mut()[0] += 0.1;
        let stack = problem.stack.checkpointed(Checkpoint::Sqrt).unwrap();
        let (params, x, pass) = (&problem.params, problem.x.view(), problem.pass());
        stack
            .forward(params, x, &pass, &mut state, cache, y.view_mut())
            .unwrap();
        let (dy, dx) = (problem.d_y.as_ref().map(|d| d.view()), Some(dx.view_mut()));
        stack
            .backward(params, x, cache, dy, &mut d_state, &mut grads, dx)
            .unwrap();
    })
}

#[test]
fn training_steps_with_checkpoints() {
    for cell in CELLS {
        for ragged in [false, true] {
            let shape = shape(cell, false, ragged);
            let mut problem = Problem::new(&shape, |cell| cell);
            let mut cache = CheckpointCache::default();
            assert_eq!(checkpointed(&mut problem, &mut cache), 0, "{shape:?}");
        }
    }
}

/// The bytes that a cache takes for a training step over so many steps: of a
/// stack that keeps all, and of a checkpointed one.
fn bytes(seq_len: usize) -> [isize; 2] {
    let mut shape = shape(CELLS[2], false, false);
    (shape.seq_len, shape.batch) = (seq_len, 3);
    let problem = || Problem::<f32, AnyCell>::new(&shape, |cell| cell);
    let before = BYTES.get();
    let mut cache = StackCache::default();
    problem().run(Form::Sequence, &mut cache);
    let kept_all = BYTES.get() - before;
    drop(cache);
    let before = BYTES.get();
    let mut cache = CheckpointCache::default();
    checkpointed(&mut problem(), &mut cache);
    [kept_all, BYTES.get() - before]
}

/// The same of a network with an output at every step.
fn bytes_of_network(seq_len: usize) -> [isize; 2] {
    let network = Sequence::new(&SequenceConfig {
        recurrent: RecurrentConfig::new(CellKind::Gru, 2, 9),
        readout: Readout::EveryStep,
        outputs: 1,
        head_dropout: 0.3,
        skip: None,
    })
    .unwrap();
    let checkpointed = network.clone().checkpointed(Checkpoint::Sqrt).unwrap();
    [network, checkpointed].map(|network| {
        let params: Params<f32> = network.init(0);
        let mut grads = Params::zeros(params.layout().clone());
        let (x, mut y) = (
            Array3::ones((seq_len, 3, 2)),
            Array3::zeros((seq_len, 3, 1)),
        );
        let (mut state, mut d_state) = (network.start(3), network.start(3));
        let inputs = Inputs::sequences(x.view());
        let pass = Pass {
            dropout: Some(Key::new(0, Purpose::Dropout)),
            ..Pass::default()
        };
        let before = BYTES.get();
        let mut cache = SequenceCache::default();
        let view = y.view_mut();
        network
            .forward(&params, &inputs, &pass, &mut state, &mut cache, view)
            .unwrap();
        let (dy, d_state) = (y.view(), &mut d_state);
        network
            .backward(&params, &inputs, &mut cache, dy, d_state, &mut grads, None)
            .unwrap();
        BYTES.get() - before
    })
}

/// A cache that keeps all takes so many bytes a step; a checkpointed one takes
/// so many for each of the sqrt(T) steps of a segment, and for each of the
/// sqrt(T) segments.
#[test]
fn checkpoints_take_the_root_of_the_memory() {
    for bytes in [bytes, bytes_of_network] {
        let [small, medium, large, long] = [64, 256, 1024, 4096].map(bytes);
        let [all, root] = [0, 1].map(|i| {
            assert!(small[i] > 0);
            [
                medium[i] - small[i],
                large[i] - medium[i],
                long[i] - large[i],
            ]
        });
        // The gradients of the gates take no more from 512 rows on.
        assert_eq!(4 * all[1], all[2]);
        assert_eq!([2 * root[0], 2 * root[1]], [root[1], root[2]]);
        assert!(long[0] > 20 * long[1], "{long:?}");
    }
}
