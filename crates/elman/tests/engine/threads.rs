//! A team of threads changes no bit of any number, and inference none of those
//! of training.

use crate::common::numbers;
use elman::cell::CellKind;
use elman::layer::{Merge, Pass, Recurrent, RecurrentConfig, StackCache};
use elman::ndarray::{Array, Array3};
use elman::params::Params;
use elman::rng::{Key, Purpose};
use elman::{Float, Team};

const SEQ_LEN: usize = 40;

/// Everything that comes of a pass and its way back.
pub fn run<F: Float>(
    layer: &Recurrent<F>,
    batch: usize,
    pass: &Pass<'_>,
    cache: &mut StackCache<F>,
) -> (Vec<F>, Vec<F>) {
    let (stack, params) = (layer.stack(), layer.params());
    let array = |width, seed| {
        let values = numbers(seed, SEQ_LEN * batch * width);
        Array::from_shape_vec((SEQ_LEN, batch, width), values).unwrap()
    };
    let (input_size, output_size) = (stack.input_size(), stack.output_size());
    let x: Array3<F> = array(input_size, 1);
    let mut state = stack.start::<F>(batch);
    for slot in 0..state.slots() {
        let values = numbers(5 + slot as u64, state.slot(slot).len());
        state.slot_mut(slot).copy_from_slice(&values);
    }
    let mut y = Array3::zeros((SEQ_LEN, batch, output_size));
    stack
        .forward(params, x.view(), pass, &mut state, cache, y.view_mut())
        .unwrap();
    let mut forward = y.into_raw_vec_and_offset().0;
    for slot in 0..state.slots() {
        forward.extend_from_slice(state.slot(slot));
    }
    if pass.inference {
        return (forward, Vec::new());
    }
    let dy = array(output_size, 3);
    let mut grads = Params::zeros(params.layout().clone());
    let mut dx = array(input_size, 4);
    let (dy, view) = (Some(dy.view()), Some(dx.view_mut()));
    stack
        .backward(params, cache, dy, &mut state, &mut grads, view)
        .unwrap();
    let mut back = grads.values().to_vec();
    back.extend(dx);
    for slot in 0..state.slots() {
        back.extend_from_slice(state.slot(slot));
    }
    (forward, back)
}

fn check<F: Float>(config: &RecurrentConfig) {
    check_batch::<F>(config, 17);
}

fn check_batch<F: Float>(config: &RecurrentConfig, batch: usize) {
    let layer = Recurrent::<F>::new(config, 1).unwrap();
    let lengths: Vec<usize> = (0..batch).map(|i| i * 23 % (SEQ_LEN + 1)).collect();
    let dropout = Some(Key::new(3, Purpose::Dropout));
    let mut caches = [1, 2, 3, 8].map(|threads| {
        let mut cache = StackCache::default();
        cache.set_team(Team::new(threads).unwrap());
        cache
    });
    for (lengths, dropout) in [
        (None, None),
        (Some(&lengths[..]), None),
        (Some(&lengths[..]), dropout),
    ] {
        let pass = Pass {
            lengths,
            dropout,
            ..Pass::default()
        };
        let expected = run(&layer, batch, &pass, &mut StackCache::default());
        for cache in &mut caches {
            assert!(run(&layer, batch, &pass, cache) == expected, "{config:?}");
            let inference = Pass {
                inference: true,
                ..pass
            };
            let (forward, _) = run(&layer, batch, &inference, cache);
            assert!(forward == expected.0, "{config:?}");
        }
    }
}

/// Rows too few to be divided: threads divide the units of a step.
#[test]
fn units_of_few_rows() {
    for kind in CellKind::ALL {
        let mut config = RecurrentConfig::new(kind, 31, 323);
        config.stack.bidirectional = true;
        check_batch::<f32>(&config, 1);
        check_batch::<f32>(&config, 2);
    }
    let mut projected = RecurrentConfig::new(CellKind::Lstm, 31, 323);
    projected.proj_size = 65;
    check_batch::<f32>(&projected, 2);
}

#[test]
fn threads_and_inference_change_no_bit() {
    for kind in CellKind::ALL {
        let mut config = RecurrentConfig::new(kind, 3, 81);
        check::<f32>(&config);
        config.stack.num_layers = 2;
        config.stack.bidirectional = true;
        config.stack.dropout = 0.25;
        config.stack.recurrent_dropout = 0.25;
        check::<f64>(&config);
        config.stack.merge = Merge::Product;
        config.stack.zoneout_hidden = 0.25;
        config.options.reset_before = kind == CellKind::Gru;
        config.options.peepholes = kind == CellKind::Lstm;
        check::<f32>(&config);
    }
    let mut projected = RecurrentConfig::new(CellKind::Lstm, 65, 64);
    projected.proj_size = 17;
    check::<f32>(&projected);
    projected.stack.learn_initial_state = true;
    check::<f64>(&projected);
}

/// What decays ends at zero and not among the numbers that are too small to be
/// normal.
#[test]
fn decay_ends_at_zero() {
    fn check<F: Float>(steps: usize) {
        let config = RecurrentConfig::new(CellKind::Rnn, 1, 9);
        let mut layer = Recurrent::<F>::new(&config, 0).unwrap();
        let weights = layer.params_mut().values_mut();
        weights.fill(F::zero());
        for j in 0..9 {
            weights[9 + j * 9 + j] = F::lit(0.5);
        }
        let mut state = layer.stack().start(4);
        state.slot_mut(0).fill(F::lit(0.5));
        let x = Array3::<F>::zeros((steps, 4, 1));
        let (y, _) = layer.forward(x.view(), None, Some(state)).unwrap();
        let normal = |y: &F| *y == F::zero() || y.is_normal();
        assert!(y.iter().all(normal));
        assert!(y.iter().skip((steps - 1) * 36).all(|y| *y == F::zero()));
    }
    check::<f32>(200);
    check::<f64>(1200);
}
