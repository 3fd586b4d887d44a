//! Weights in fewer bytes: two bytes have the bits of rounded weights, one byte
//! is near, and training knows of neither.

use crate::common::numbers;
use elman::cell::CellKind;
use elman::layer::{Pass, RecurrentConfig, Stack, StackCache};
use elman::ndarray::{Array2, Array3, Axis};
use elman::params::{Layout, Params, Storage};
use elman::rng::TorchRng;
use elman::{Float, Team};

const SEQ_LEN: usize = 23;

type AnyStack = Stack<elman::cell::AnyCell>;

fn layer<F: Float>(config: &RecurrentConfig) -> (AnyStack, Params<F>) {
    let mut layout = Layout::new();
    let stack = config.stack(&mut layout, "").unwrap();
    let mut params = Params::zeros(layout.into());
    let mut rng = TorchRng::new(0);
    stack.init(&mut params, &mut |a, b| rng.uniform(a, b));
    (stack, params)
}

/// Layers of all cells: small ones, ones that do not fit the cache, two
/// directions, projections, and a cell that the plain loop runs.
fn configs() -> Vec<RecurrentConfig> {
    let mut all = Vec::new();
    for kind in CellKind::ALL {
        for (input_size, hidden_size) in [(3, 7), (12, 33), (40, 270)] {
            all.push(RecurrentConfig::new(kind, input_size, hidden_size));
        }
        let mut deep = RecurrentConfig::new(kind, 5, 130);
        deep.stack.num_layers = 2;
        deep.stack.bidirectional = true;
        all.push(deep);
    }
    let mut projected = RecurrentConfig::new(CellKind::Lstm, 40, 270);
    projected.proj_size = 33;
    all.push(projected);
    let mut plain = RecurrentConfig::new(CellKind::Gru, 5, 20);
    plain.options.reset_before = true;
    all.push(plain);
    all
}

/// Outputs and final states.
fn forward<F: Float>(
    stack: &AnyStack,
    params: &Params<F>,
    x: &Array3<F>,
    inference: bool,
    cache: &mut StackCache<F>,
) -> (Array3<F>, Vec<F>) {
    let (steps, batch, _) = x.dim();
    let mut state = stack.start(batch);
    let mut y = Array3::zeros((steps, batch, stack.output_size()));
    let lengths: Vec<usize> = (0..batch).map(|i| steps - i * 3 % steps).collect();
    let pass = Pass {
        inference,
        lengths: Some(&lengths),
        ..Pass::default()
    };
    stack
        .forward(params, x.view(), &pass, &mut state, cache, y.view_mut())
        .unwrap();
    let states = (0..state.slots()).flat_map(|slot| state.slot(slot).to_vec());
    (y, states.collect())
}

fn input<F: Float>(batch: usize, width: usize) -> Array3<F> {
    let values = numbers(1, SEQ_LEN * batch * width);
    Array3::from_shape_vec((SEQ_LEN, batch, width), values).unwrap()
}

fn round_to_bf16<F: Float>(params: &mut Params<F>) {
    for x in params.values_mut() {
        let bits = (x.f64() as f32).to_bits();
        let even = (bits >> 16) & 1;
        let rounded = f32::from_bits((bits + 0x7fff + even) & 0xffff_0000);
        *x = F::lit(rounded.into());
    }
}

fn two_bytes<F: Float>() {
    for config in configs() {
        let (stack, mut params) = layer::<F>(&config);
        round_to_bf16(&mut params);
        for batch in [1, 2, 3, 17] {
            let x = input(batch, config.input_size);
            params.set_storage(Storage::Full);
            let full = forward(&stack, &params, &x, true, &mut StackCache::default());
            params.set_storage(Storage::Bf16);
            let bf16 = forward(&stack, &params, &x, true, &mut StackCache::default());
            assert!(full == bf16, "{config:?} {batch}");
        }
    }
}

#[test]
fn two_bytes_have_the_bits_of_rounded_weights() {
    two_bytes::<f32>();
    two_bytes::<f64>();
}

/// Outputs of tanh and sigmoid are up to 1 in size.
const NEAR: f64 = 0.02;

fn one_byte<F: Float>() {
    for config in configs() {
        let (stack, mut params) = layer::<F>(&config);
        let x = input(17, config.input_size);
        let mut cache = StackCache::default();
        let full = forward(&stack, &params, &x, true, &mut cache);
        params.set_storage(Storage::Int8);
        // The same cache: its copies of the weights are made again.
        let int8 = forward(&stack, &params, &x, true, &mut cache);
        let error = |a: &F, b: &F| (*a - *b).abs().f64();
        let errors = full.0.iter().zip(&int8.0).map(|(a, b)| error(a, b));
        let worst = errors.fold(0.0, f64::max);
        let plain = config.options.reset_before;
        assert!(
            worst < NEAR && plain == (worst == 0.0),
            "{config:?} {worst}"
        );

        for threads in [2, 3] {
            let mut cache = StackCache::default();
            cache.set_team(Team::new(threads).unwrap());
            let other = forward(&stack, &params, &x, true, &mut cache);
            assert!(other == int8, "{config:?} {threads}");
        }
        // The longest row, alone.
        let alone = x.index_axis(Axis(1), 0).insert_axis(Axis(1)).to_owned();
        let alone = forward(&stack, &params, &alone, true, &mut cache);
        assert!(
            alone.0.iter().eq(int8.0.index_axis(Axis(1), 0)),
            "{config:?}"
        );

        if config.stack.bidirectional {
            continue;
        }
        let mut state = stack.start(1);
        let mut y = Array2::zeros((1, stack.output_size()));
        for t in 0..SEQ_LEN {
            let x = x.index_axis(Axis(0), t);
            let x = x.index_axis(Axis(0), 0).insert_axis(Axis(0));
            let view = y.view_mut();
            stack
                .step(&params, x, &mut state, &mut cache, view)
                .unwrap();
            assert!(
                y.iter().eq(alone.0.index_axis(Axis(0), t)),
                "{config:?} {t}"
            );
        }
    }
}

#[test]
fn one_byte_is_near_and_alike_everywhere() {
    one_byte::<f32>();
    one_byte::<f64>();
}

/// Outputs, gradients and all are those of the weights as they are, also with
/// a cache that inference has used.
#[test]
fn training_reads_the_weights_themselves() {
    let config = RecurrentConfig::new(CellKind::Lstm, 12, 33);
    let (stack, mut params) = layer::<f32>(&config);
    let x = input(5, 12);
    let mut run = |storage: Storage| {
        params.set_storage(storage);
        let mut cache = StackCache::default();
        forward(&stack, &params, &x, true, &mut cache);
        let (y, _) = forward(&stack, &params, &x, false, &mut cache);
        let (mut grads, mut d_state) = (Params::zeros(params.layout().clone()), stack.start(5));
        let mut dx = Array3::zeros(x.dim());
        let (dy, view) = (Some(y.view()), Some(dx.view_mut()));
        stack
            .backward(&params, &mut cache, dy, &mut d_state, &mut grads, view)
            .unwrap();
        (y, grads.values().to_vec(), dx)
    };
    let full = run(Storage::Full);
    for storage in [Storage::Bf16, Storage::Int8] {
        assert!(run(storage) == full, "{storage:?}");
    }
}
