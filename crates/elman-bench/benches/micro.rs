//! Parts of a run by themselves: a step of every cell, and the products under
//! it. For information: which part a change has moved.
//!
//!     cargo bench -p elman-bench --bench micro

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use elman::cell::{AnyCell, CellKind};
use elman::layer::{Linear, LinearCache, RecurrentConfig, Stack, StackCache, State};
use elman::ndarray::Array2;
use elman::params::{Layout, Params};
use elman::rng::TorchRng;

fn main() {
    divan::main();
}

type Sizes = (usize, usize, usize);

/// (B, I, H): a single row, a batch, and weights beyond the caches.
const STEPS: [Sizes; 4] = [(1, 16, 64), (32, 64, 128), (1, 256, 512), (64, 256, 512)];

/// (rows, in, out): a row times a matrix, one step of a batch, many steps.
const PRODUCTS: [Sizes; 4] = [
    (1, 256, 1024),
    (32, 128, 512),
    (64, 512, 2048),
    (3200, 64, 512),
];

fn stack(cell: CellKind, i: usize, h: usize) -> (Stack<AnyCell>, Params<f32>) {
    let mut layout = Layout::new();
    let stack = RecurrentConfig::new(cell, i, h)
        .stack(&mut layout, "")
        .unwrap();
    let mut params = Params::zeros(layout.into());
    let mut rng = TorchRng::new(0);
    stack.init(&mut params, &mut |a, b| rng.uniform(a, b));
    (stack, params)
}

#[divan::bench(args = STEPS)]
fn step_rnn(bencher: Bencher<'_, '_>, sizes: Sizes) {
    step(bencher, CellKind::Rnn, sizes);
}

#[divan::bench(args = STEPS)]
fn step_gru(bencher: Bencher<'_, '_>, sizes: Sizes) {
    step(bencher, CellKind::Gru, sizes);
}

#[divan::bench(args = STEPS)]
fn step_lstm(bencher: Bencher<'_, '_>, sizes: Sizes) {
    step(bencher, CellKind::Lstm, sizes);
}

/// One step of a layer that goes on from its state.
fn step(bencher: Bencher<'_, '_>, cell: CellKind, (batch, i, h): Sizes) {
    let (stack, params) = stack(cell, i, h);
    let x = Array2::<f32>::ones((batch, i));
    let mut y = Array2::zeros((batch, h));
    let mut state: State<f32> = stack.start(batch);
    let mut cache = StackCache::default();
    let flops = 2 * batch * cell.gates() * h * (i + h);
    bencher.counter(ItemsCount::new(flops)).bench_local(|| {
        let (x, y) = (black_box(x.view()), y.view_mut());
        stack.step(&params, x, &mut state, &mut cache, y).unwrap();
    });
}

/// A linear layer: a product and a bias, with weights that stay.
#[divan::bench(args = PRODUCTS)]
fn product(bencher: Bencher<'_, '_>, (rows, i, o): Sizes) {
    let mut layout = Layout::new();
    let linear = Linear::new(&mut layout, "", i, o, true).unwrap();
    let params = Params::<f32>::zeros(layout.into());
    let x = vec![1.0; rows * i];
    let mut y = vec![0.0; rows * o];
    let mut cache = LinearCache::default();
    bencher
        .counter(ItemsCount::new(2 * rows * i * o))
        .bench_local(|| {
            let x = black_box(&x[..]);
            linear.forward(&params, x, &mut cache, &mut y).unwrap();
        });
}

/// Its way back: the products for the weights and for the input.
#[divan::bench(args = PRODUCTS)]
fn product_back(bencher: Bencher<'_, '_>, (rows, i, o): Sizes) {
    let mut layout = Layout::new();
    let linear = Linear::new(&mut layout, "", i, o, true).unwrap();
    let params = Params::<f32>::zeros(layout.into());
    let mut grads = params.clone();
    let x = vec![1.0; rows * i];
    let (mut y, mut dx) = (vec![0.0; rows * o], vec![0.0; rows * i]);
    let mut cache = LinearCache::default();
    linear.forward(&params, &x, &mut cache, &mut y).unwrap();
    bencher
        .counter(ItemsCount::new(4 * rows * i * o))
        .bench_local(|| {
            let dx = Some(&mut dx[..]);
            let (x, y) = (black_box(&x[..]), black_box(&y[..]));
            linear.backward(x, &mut cache, y, &mut grads, dx).unwrap();
        });
}
