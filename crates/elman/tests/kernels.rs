//! Passes go through the kernels: so many products, and none for a cell that
//! is run by its definition.

#![cfg(debug_assertions)]

use elman::cell::{AnyCell, Cell, CellKind, Plain};
use elman::kernel::count;
use elman::layer::{Pass, RecurrentConfig, Stack, StackCache};
use elman::ndarray::Array3;
use elman::params::{Layout, Params};

const SEQ_LEN: usize = 5;
const BATCH: usize = 4;

/// Products of a pass forward and of its way back.
fn products<C: Cell<f32>>(input_size: usize, cell: impl Fn(usize, usize) -> C) -> (u64, u64) {
    let mut layout = Layout::new();
    let config = RecurrentConfig::new(CellKind::Rnn, input_size, 9).stack;
    let stack = Stack::new::<f32>(&mut layout, "", config, input_size, cell).unwrap();
    let params = Params::zeros(layout.into());
    let mut grads = params.clone();
    let mut cache = StackCache::default();
    let (mut state, mut d_state) = (stack.start(BATCH), stack.start(BATCH));
    let x = Array3::ones((SEQ_LEN, BATCH, input_size));
    let mut y = Array3::zeros((SEQ_LEN, BATCH, 9));
    let mut dx = x.clone();
    let (pass, before) = (Pass::default(), count::products());
    let view = y.view_mut();
    stack
        .forward(&params, x.view(), &pass, &mut state, &mut cache, view)
        .unwrap();
    let middle = count::products();
    let (dy, view) = (Some(y.view()), Some(dx.view_mut()));
    stack
        .backward(&params, &mut cache, dy, &mut d_state, &mut grads, view)
        .unwrap();
    (middle - before, count::products() - middle)
}

#[test]
fn passes_go_through_the_kernels() {
    let cell = |kind| {
        move |_, input_size| {
            let config = RecurrentConfig::new(kind, input_size, 9);
            config.cell(input_size, 9).unwrap()
        }
    };
    let steps = SEQ_LEN as u64;
    for (kind, gates) in [(CellKind::Rnn, 1), (CellKind::Gru, 3), (CellKind::Lstm, 4)] {
        // An input with many weights: one product for all inputs, one a step. One
        // with few: two a step.
        for (input_size, expected) in [(500, 1 + steps), (12, 2 * steps), (3, 2 * steps)] {
            let (forward, back) = products(input_size, cell(kind));
            assert_eq!(forward, expected, "{kind}");
            // One a step, one for all inputs, two for the gradients of each gate.
            assert_eq!(back, steps + 1 + 2 * gates, "{kind}");
        }
        let plain = products(3, |layer, size| Plain(cell(kind)(layer, size)));
        assert_eq!(plain, (0, 0), "{kind}");
    }
    let config = RecurrentConfig::new(CellKind::Gru, 3, 9);
    let mut config = config.cell_config(3, 9);
    config.options.reset_before = true;
    let general = |_, _| AnyCell::new(&config).unwrap();
    assert_eq!(products(3, general), (0, 0));
}
