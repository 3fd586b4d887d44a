//! Known answers of Keras' own tests: constant weights, `x = arange(72)` as
//! (3, 6, 4), three units, the last output.
//!
//! Keras lays kernels out as the transpose of PyTorch's, with the gates z, r, h
//! (GRU) and i, f, c, o (LSTM) side by side; its GRU with `reset_after` false is
//! `reset_before` here, and has one bias.

use elman::cell::{Bias, CellKind};
use elman::layer::{Recurrent, RecurrentConfig};
use elman::ndarray::Array3;

const UNITS: usize = 3;
const FEATURES: usize = 4;

/// A constant for the biases of every gate in Keras' order.
struct Case {
    cell: CellKind,
    /// Keras' place of each of PyTorch's gates.
    gates: &'static [usize],
    bias: Option<&'static [f64]>,
    /// The recurrent bias beside the input's, as `reset_after` has it.
    recurrent_bias: bool,
    reset_before: bool,
    expected: [f64; 3],
}

#[test]
fn known_answers() {
    let lstm = |bias, expected| Case {
        cell: CellKind::Lstm,
        gates: &[0, 1, 2, 3],
        bias,
        recurrent_bias: false,
        reset_before: false,
        expected,
    };
    let gru = |bias, expected| Case {
        cell: CellKind::Gru,
        gates: &[1, 0, 2],
        bias,
        recurrent_bias: true,
        reset_before: false,
        expected,
    };
    let reset_before = Case {
        recurrent_bias: false,
        reset_before: true,
        ..gru(Some(&[0.03; 3]), [0.51447755, 0.6426879, 0.40208298])
    };
    for case in [
        lstm(Some(&[0.03; 4]), [0.57019705, 0.8661914, 0.9459622]),
        lstm(
            Some(&[0.03, 1.0, 0.03, 0.03]),
            [0.6288687, 0.86899155, 0.9460773],
        ),
        lstm(None, [0.54986924, 0.86226785, 0.9443936]),
        gru(Some(&[0.03; 3]), [0.5217289, 0.6371659, 0.39384964]),
        gru(None, [0.49988455, 0.64701194, 0.4103359]),
        reset_before,
    ] {
        check(&case);
    }
}

fn check(case: &Case) {
    let mut config = RecurrentConfig::new(case.cell, FEATURES, UNITS);
    config.stack.batch_first = true;
    config.options.reset_before = case.reset_before;
    config.bias = match case.bias {
        Some(_) if case.recurrent_bias => Bias::Both,
        Some(_) => Bias::Single,
        None => Bias::None,
    };
    let columns = UNITS * case.gates.len();
    let mut params = Recurrent::<f64>::new(&config, 0).unwrap().params().clone();
    let kernel = transposed(&vec![0.01; FEATURES * columns], case.gates);
    params.set("weight_ih_l0", &kernel).unwrap();
    let recurrent = transposed(&vec![0.02; UNITS * columns], case.gates);
    params.set("weight_hh_l0", &recurrent).unwrap();
    if let Some(bias) = case.bias {
        let bias: Vec<_> = bias.iter().flat_map(|b| [*b; UNITS]).collect();
        let bias = transposed(&bias, case.gates);
        params.set("bias_ih_l0", &bias).unwrap();
        if case.recurrent_bias {
            params.set("bias_hh_l0", &bias).unwrap();
        }
    }
    let layer = Recurrent::with_params(&config, params).unwrap();
    let input = Array3::from_shape_fn((3, 6, FEATURES), |(b, t, i)| {
        (b * 24 + t * FEATURES + i) as f64
    });
    let (output, _) = layer.forward(input.view(), None, None).unwrap();
    for (row, expected) in case.expected.iter().enumerate() {
        for unit in 0..UNITS {
            // The answers are f32 numbers, and below 1.
            let got = output[[row, 5, unit]];
            let bar = f64::from(f32::EPSILON);
            assert!((got - expected).abs() <= bar, "{got} {expected}");
        }
    }
}

/// From Keras' (rows, gates * units) to PyTorch's (gates * units, rows).
fn transposed(keras: &[f64], gates: &[usize]) -> Vec<f64> {
    let columns = UNITS * gates.len();
    let rows = keras.len() / columns;
    let mut out = Vec::with_capacity(keras.len());
    for gate in gates {
        for unit in 0..UNITS {
            out.extend((0..rows).map(|row| keras[row * columns + gate * UNITS + unit]));
        }
    }
    out
}
