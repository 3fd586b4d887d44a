//! Recurrent layers against PyTorch: every output, state and gradient of every
//! fixture, 1e-12 in f64 and 1e-5 in f32, with the kernels and with the plain
//! loop.

mod common;

use common::{Case, Fixtures, error};
use elman::Float;
use elman::cell::{AnyCell, Bias, Cell, CellKind, Nonlinearity, Plain};
use elman::layer::{Pass, Stack, StackCache, StackConfig};
use elman::ndarray::{Array3, ArrayD, Axis, Ix3};
use elman::params::{Layout, Params};

fn check_file(file: &str) {
    let fixtures = Fixtures::open(file);
    let mut seen = [0, 0];
    for case in fixtures.cases() {
        if case.options["dtype"] == "f64" {
            check::<f64, _>(&case, 1e-12, |cell| cell);
            check::<f64, _>(&case, 1e-12, Plain);
            seen[0] += 1;
        } else {
            check::<f32, _>(&case, 1e-5, |cell| cell);
            check::<f32, _>(&case, 1e-5, Plain);
            seen[1] += 1;
        }
    }
    assert!(seen[0] >= 30 && seen[1] >= 5, "{seen:?}");
}

#[test]
fn rnn() {
    check_file("rnn.safetensors");
}

#[test]
fn gru() {
    check_file("gru.safetensors");
}

#[test]
fn lstm() {
    check_file("lstm.safetensors");
}

fn check<F: Float, C: Cell<F>>(case: &Case<'_>, bar: f64, wrap: impl Fn(AnyCell) -> C) {
    let option = |name: &str| &case.options[name];
    let size = |name: &str| option(name).as_u64().unwrap() as usize;
    let yes = |name: &str| option(name).as_bool().unwrap();
    let kind: CellKind = option("cell").as_str().unwrap().parse().unwrap();
    let bias = if yes("bias") { Bias::Both } else { Bias::None };
    let nonlinearity = match option("nonlinearity").as_str() {
        Some("relu") => Nonlinearity::Relu,
        _ => Nonlinearity::Tanh,
    };
    let config = StackConfig {
        num_layers: size("num_layers"),
        bidirectional: yes("bidirectional"),
        batch_first: yes("batch_first"),
        dropout: 0.0,
    };
    let unbatched = yes("unbatched");
    // An unbatched array gets the batch axis that it lacks.
    let batch_axis = usize::from(!config.batch_first);
    let three = |a: ArrayD<F>, axis: usize| -> Array3<F> {
        let a = if unbatched {
            a.insert_axis(Axis(axis))
        } else {
            a
        };
        a.into_dimensionality::<Ix3>().unwrap()
    };

    let mut layout = Layout::new();
    let stack = Stack::new::<F>(&mut layout, "", config, size("input_size"), |input_size| {
        wrap(AnyCell::new(
            kind,
            input_size,
            size("hidden_size"),
            bias,
            nonlinearity,
            size("proj_size"),
        ))
    })
    .unwrap();
    let mut params = Params::<F>::zeros(layout.into());
    let layout = params.layout().clone();
    let mut names: Vec<_> = layout.entries().iter().map(|e| e.name.clone()).collect();
    for name in &names {
        let value = case.need::<F>(&format!("param.{name}"));
        assert_eq!(value.shape(), layout.find(name).unwrap().shape);
        params.set(name, value.as_slice().unwrap()).unwrap();
    }
    names.sort();
    let mut expected = case.names("param.");
    expected.sort();
    assert_eq!(names, expected, "{}", case.name);

    let input = three(case.need("input"), batch_axis);
    let lengths = case.lengths();
    let batch = input.len_of(Axis(batch_axis));
    let mut state = stack.start(batch);
    let mut d_state = stack.start(batch);
    let parts: &[&str] = if kind == CellKind::Lstm {
        &["h", "c"]
    } else {
        &["h"]
    };
    for part in parts {
        if let Some(a) = case.get(&format!("{part}_0")) {
            state.set(part, three(a, 1).view()).unwrap();
        }
        if let Some(a) = case.get(&format!("d_{part}_n")) {
            d_state.set(part, three(a, 1).view()).unwrap();
        }
    }

    let equal = |name: &str, got: Array3<F>, axis: usize| {
        let e = error(got.view(), three(case.need(name), axis).view());
        assert!(e <= bar, "{} {name}: {e:e}", case.name);
    };
    let mut cache = StackCache::default();
    let dim = input.dim();
    let mut output = Array3::from_elem((dim.0, dim.1, stack.output_size()), F::nan());
    let pass = Pass {
        lengths: lengths.as_deref(),
        ..Pass::default()
    };
    let view = output.view_mut();
    stack
        .forward(&params, input.view(), &pass, &mut state, &mut cache, view)
        .unwrap();
    equal("output", output, batch_axis);
    for part in parts {
        equal(&format!("{part}_n"), state.get(part).unwrap(), 1);
    }

    let d_output = case.get("d_output").map(|a| three(a, batch_axis));
    let d_output = d_output.as_ref().map(|a| a.view());
    let mut grads = Params::zeros(layout);
    let mut d_input = Array3::zeros(dim);
    let view = Some(d_input.view_mut());
    stack
        .backward(
            &params,
            &mut cache,
            d_output,
            &mut d_state,
            &mut grads,
            view,
        )
        .unwrap();
    equal("d_input", d_input, batch_axis);
    for part in parts {
        if case.get::<F>(&format!("d_{part}_0")).is_some() {
            equal(&format!("d_{part}_0"), d_state.get(part).unwrap(), 1);
        }
    }
    for name in &names {
        let e = error(
            grads.get(name).unwrap(),
            case.need(&format!("d_param.{name}")).view(),
        );
        assert!(e <= bar, "{} d_{name}: {e:e}", case.name);
    }
}
