//! Single cells against PyTorch's `RNNCell`, `GRUCell` and `LSTMCell`, and
//! against the stack's step.

use crate::common::{Case, Fixtures, error};
use elman::Error;
use elman::Float;
use elman::cell::{Bias, Cell, CellKind, Nonlinearity};
use elman::layer::{GruCell, LstmCell, RecurrentConfig, RnnCell, StackCache, StepCell};
use elman::ndarray::{Array2, ArrayD, IxDyn};
use elman::params::{Layout, Params};

#[test]
fn as_pytorch() {
    let mut seen = 0;
    for case in Fixtures::open("cells.safetensors").cases() {
        match case.options["dtype"].as_str() {
            Some("f64") => check_kind::<f64>(&case, 1e-12),
            _ => check_kind::<f32>(&case, 1e-5),
        }
        seen += 1;
    }
    assert_eq!(seen, 6 + 5 + 5 + 3);
}

fn check_kind<F: Float>(case: &Case<'_>, bar: f64) {
    let options = case.options;
    let size = |name: &str| options[name].as_u64().unwrap() as usize;
    let (i, h) = (size("input_size"), size("hidden_size"));
    let seed = options["seed"].as_u64().unwrap();
    let bias = if options["bias"] == true {
        Bias::Both
    } else {
        Bias::None
    };
    match options["cell"].as_str().unwrap() {
        "rnn" => {
            let act = options["nonlinearity"].as_str().unwrap().parse().unwrap();
            let cell = RnnCell::<F>::new(i, h, bias, act, seed).unwrap();
            check(case, cell, ["h"], bar);
        }
        "gru" => check(
            case,
            GruCell::<F>::new(i, h, bias, seed).unwrap(),
            ["h"],
            bar,
        ),
        _ => {
            let cell = LstmCell::<F>::new(i, h, bias, seed).unwrap();
            check(case, cell, ["h", "c"], bar);
        }
    }
}

fn check<F: Float, C: Cell<F>, const N: usize>(
    case: &Case<'_>,
    mut cell: StepCell<F, C, N>,
    parts: [&str; N],
    bar: f64,
) {
    let layout = cell.params().layout().clone();
    let mut names: Vec<_> = layout.entries().iter().map(|e| e.name.clone()).collect();
    for name in &names {
        let drawn = case.need::<F>(&format!("initial.{name}"));
        assert_eq!(cell.params().get(name).unwrap(), drawn, "{}", case.name);
        let value = case.need::<F>(&format!("param.{name}"));
        cell.params_mut()
            .set(name, value.as_slice().unwrap())
            .unwrap();
    }
    let mut expected = case.names("param.");
    names.sort();
    expected.sort();
    assert_eq!(names, expected);

    let equal = |name: &str, got: &ArrayD<F>| {
        let e = error(got.view(), case.need(name).view());
        assert!(e <= bar, "{} {name}: {e:e}", case.name);
    };
    let input = case.need::<F>("input");
    let given = parts.map(|part| case.get::<F>(part));
    let states = given[0].is_some().then(|| {
        let of = |i: usize| given[i].as_ref().unwrap().view();
        std::array::from_fn(of)
    });
    let next = cell.forward(input.view(), states.clone()).unwrap();
    let d_next = parts.map(|part| case.need::<F>(&format!("d_{part}_next")));
    let d_views = d_next.each_ref().map(|d| d.view());
    let (d_input, d_states, grads) = cell.backward(input.view(), states, d_views).unwrap();
    equal("d_input", &d_input);
    for (i, part) in parts.into_iter().enumerate() {
        equal(&format!("{part}_next"), &next[i]);
        if given[i].is_some() {
            equal(&format!("d_{part}"), &d_states[i]);
        }
    }
    for name in &names {
        let grad = grads.get(name).unwrap().to_owned();
        equal(&format!("d_param.{name}"), &grad);
    }
}

/// A cell has the bits of a stack's step.
#[test]
fn as_the_stack() {
    let config = RecurrentConfig::new(CellKind::Lstm, 3, 9);
    let mut layout = Layout::new();
    let stack = config.stack(&mut layout, "").unwrap();
    let cell = LstmCell::<f32>::new(3, 9, Bias::Both, 5).unwrap();
    let mut params = Params::zeros(layout.into());
    params.values_mut().copy_from_slice(cell.params().values());
    let mut state = stack.start(4);
    let mut cache = StackCache::default();
    let mut y = Array2::zeros((4, 9));
    let mut states = None;
    for t in 0..3 {
        let x = Array2::from_shape_fn((4, 3), |(b, i)| (t + b * 3 + i) as f32 * 0.1 - 0.5);
        stack
            .step(&params, x.view(), &mut state, &mut cache, y.view_mut())
            .unwrap();
        let before = states
            .as_ref()
            .map(|s: &[Array2<f32>; 2]| s.each_ref().map(|a| a.view()));
        let next = cell.forward(x.view(), before).unwrap();
        assert_eq!(next[0], y);
        states = Some(next);
    }
    let [_, c] = states.unwrap();
    assert_eq!(
        c,
        state.get("c").unwrap().remove_axis(elman::ndarray::Axis(0))
    );
}

#[test]
fn what_is_wrong_is_named() {
    let check = |error: Error, words: &str| {
        assert!(error.to_string().contains(words), "{error}");
    };
    let zeros = |shape: &[usize]| ArrayD::<f64>::zeros(IxDyn(shape));
    let gru = GruCell::<f64>::new(2, 3, Bias::Both, 0).unwrap();
    let lstm = LstmCell::<f64>::new(2, 3, Bias::Single, 0).unwrap();
    let one = |input: &[usize], h: &[usize]| {
        let (input, h) = (zeros(input), zeros(h));
        let forward = gru.forward(input.view(), Some([h.view()])).unwrap_err();
        let d = zeros(&[4, 3]);
        let back = gru.backward(input.view(), Some([h.view()]), [d.view()]);
        assert_eq!(back.unwrap_err(), forward);
        forward
    };
    let two = |h: &[usize], c: &[usize]| {
        let (input, h, c) = (zeros(&[4, 2]), zeros(h), zeros(c));
        lstm.forward(input.view(), Some([h.view(), c.view()]))
            .unwrap_err()
    };
    for rank in [0, 3] {
        let text = format!("GRUCell: Expected input to be 1D or 2D, got {rank}D instead");
        check(one(&[2, 2, 2][..rank], &[4, 3]), &text);
    }
    check(
        one(&[4, 2], &[3]),
        "GRUCell: Expected 2D hidden0 as the input is, but got 1D tensor",
    );
    check(
        one(&[2], &[1, 3]),
        "Expected 1D hidden0 as the input is, but got 2D tensor",
    );
    check(
        one(&[4, 3], &[4, 3]),
        "input has inconsistent input_size: got 3 expected 2",
    );
    check(
        two(&[5, 3], &[4, 3]),
        "Input batch size 4 doesn't match hidden0 batch size 5",
    );
    check(
        two(&[4, 3], &[4, 4]),
        "hidden1 has inconsistent hidden_size: got 4, expected 3",
    );
    let (input, d) = (zeros(&[4, 2]), zeros(&[5, 3]));
    check(
        gru.backward(input.view(), None, [d.view()]).unwrap_err(),
        "Input batch size 4 doesn't match d_hidden0 batch size 5",
    );
    check(
        GruCell::<f64>::new(0, 3, Bias::Both, 0).unwrap_err(),
        "input_size must be greater than zero",
    );
    check(
        RnnCell::<f64>::new(3, 0, Bias::Both, Nonlinearity::Tanh, 0).unwrap_err(),
        "hidden_size must be greater than zero",
    );
    check(
        LstmCell::<f64>::new(3, usize::MAX, Bias::Both, 0).unwrap_err(),
        "more than memory can hold",
    );
    // No rows are legal.
    let (none, d) = (zeros(&[0, 2]), zeros(&[0, 3]));
    let [h] = gru.forward(none.view(), None).unwrap();
    assert_eq!(h.shape(), [0, 3]);
    let (d_input, _, grads) = gru.backward(none.view(), None, [d.view()]).unwrap();
    assert_eq!(d_input.shape(), [0, 2]);
    assert!(grads.values().iter().all(|g| *g == 0.0));
}
