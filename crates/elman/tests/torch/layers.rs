//! Recurrent layers against PyTorch: every output, state and gradient of every
//! fixture, 1e-12 in f64 and 1e-5 in f32, with the kernels and with the plain
//! loop.

use crate::common::{Case, Fixtures, error};
use elman::Float;
use elman::cell::{AnyCell, Bias, Cell, CellKind, Nonlinearity, Plain};
use elman::layer::{Pass, Recurrent, RecurrentConfig, Stack, StackCache, StackConfig, State};
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
    let mut of = RecurrentConfig::new(kind, size("input_size"), size("hidden_size"));
    of.bias = if yes("bias") { Bias::Both } else { Bias::None };
    if option("nonlinearity") == "relu" {
        of.nonlinearity = Nonlinearity::Relu;
    }
    of.proj_size = size("proj_size");
    let config = StackConfig {
        num_layers: size("num_layers"),
        bidirectional: yes("bidirectional"),
        batch_first: yes("batch_first"),
        ..StackConfig::default()
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
    let stack = Stack::new::<F>(&mut layout, "", config, of.input_size, |_, input_size| {
        wrap(of.cell(input_size, of.hidden_size).unwrap())
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

/// The layer that owns its parameters takes arrays of two or three axes, as
/// PyTorch's does.
#[test]
fn arrays_as_they_are() {
    let mut ranks = [0; 4];
    for file in ["rnn.safetensors", "gru.safetensors", "lstm.safetensors"] {
        for case in Fixtures::open(file).cases() {
            if case.options["dtype"] == "f64" {
                ranks[case.view("input").shape().len()] += 1;
                check_wrapper(&case);
            }
        }
    }
    assert!(ranks[2] >= 3 * 2 && ranks[3] >= 3 * 29, "{ranks:?}");
}

fn check_wrapper(case: &Case<'_>) {
    let options = case.options;
    let size = |name: &str| options[name].as_u64().unwrap() as usize;
    let cell = options["cell"].as_str().unwrap().parse().unwrap();
    let mut config = RecurrentConfig::new(cell, size("input_size"), size("hidden_size"));
    config.proj_size = size("proj_size");
    config.stack.num_layers = size("num_layers");
    config.stack.bidirectional = options["bidirectional"] == true;
    config.stack.batch_first = options["batch_first"] == true;
    if options["bias"] == false {
        config.bias = Bias::None;
    }
    if options["nonlinearity"] == "relu" {
        config.nonlinearity = Nonlinearity::Relu;
    }
    let mut layer = Recurrent::<f64>::new(&config, 0).unwrap();
    for entry in layer.params().layout().clone().entries() {
        let value = case.need::<f64>(&format!("param.{}", entry.name));
        let value = value.as_slice().unwrap();
        layer.params_mut().set(&entry.name, value).unwrap();
    }
    let input = case.need::<f64>("input");
    let mut state = layer.start(&input.view()).unwrap();
    let mut d_state = state.clone();
    let parts: &[&str] = if state.has("c") { &["h", "c"] } else { &["h"] };
    for part in parts {
        for (state, name) in [(&mut state, "0"), (&mut d_state, "n")] {
            let before = if name == "n" { "d_" } else { "" };
            if let Some(value) = case.get::<f64>(&format!("{before}{part}_{name}")) {
                state.set(part, value.view()).unwrap();
            }
        }
    }
    let equal = |name: &str, got: ArrayD<f64>| {
        let e = error(got.view(), case.need(name).view());
        assert!(e <= 1e-12, "{} {name}: {e:e}", case.name);
    };
    let of = |state: &State<f64>, part: &str| match input.ndim() {
        2 => state.row(part, 0).unwrap().into_dyn(),
        _ => state.get(part).unwrap().into_dyn(),
    };
    let mut cache = StackCache::default();
    let lengths = case.lengths();
    let output = layer
        .forward_with(input.view(), lengths.as_deref(), &mut state, &mut cache)
        .unwrap();
    equal("output", output);
    let d_output = case.get::<f64>("d_output");
    let d_output = d_output.as_ref().map(|d| d.view());
    let dim = input.raw_dim();
    let (d_input, grads) = layer
        .backward(&mut cache, d_output, &mut d_state, dim)
        .unwrap();
    equal("d_input", d_input);
    for part in parts {
        equal(&format!("{part}_n"), of(&state, part));
        if case.get::<f64>(&format!("{part}_0")).is_some() {
            equal(&format!("d_{part}_0"), of(&d_state, part));
        }
    }
    for entry in grads.layout().entries() {
        let grad = grads.get(&entry.name).unwrap().to_owned();
        equal(&format!("d_param.{}", entry.name), grad);
    }
}
