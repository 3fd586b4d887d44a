//! Cells that PyTorch lacks against their definition in its tensors: every
//! output, state and gradient of every fixture, 1e-12 in f64 and 1e-5 in f32,
//! by the cell that the options choose, by the plain loop, and by definition.

use crate::common::{Case, Fixtures, error};
use elman::Float;
use elman::cell::{AnyCell, Cell, Plain};
use elman::layer::{Pass, RecurrentConfig, Stack, StackCache};
use elman::ndarray::{Array3, Ix3};
use elman::params::{Layout, Params};
use serde_json::json;
use std::collections::BTreeSet;

#[test]
fn as_defined() {
    let mut seen = [0, 0];
    let mut kernels = 0;
    let mut options = BTreeSet::new();
    for case in Fixtures::open("variants.safetensors").cases() {
        if case.options["dtype"] == "f64" {
            kernels += usize::from(check_forms::<f64>(&case, 1e-12));
            seen[0] += 1;
        } else {
            kernels += usize::from(check_forms::<f32>(&case, 1e-5));
            seen[1] += 1;
        }
        for (name, value) in case.options["options"].as_object().unwrap() {
            options.insert(name.clone());
            let names = value.as_array().into_iter().flatten();
            options.extend(names.map(|a| a.as_str().unwrap().to_owned()));
        }
    }
    assert_eq!((seen, kernels), ([38, 6], 30));
    // Six options and ten activations.
    assert_eq!(options.len(), 6 + 10, "{options:?}");
}

/// Whether the cell goes through the kernels.
fn check_forms<F: Float>(case: &Case<'_>, bar: f64) -> bool {
    let of = config(case);
    let chosen = |i| of.cell(i, of.hidden_size).unwrap();
    check::<F, _>(case, bar, &of, chosen);
    check::<F, _>(case, bar, &of, |i| Plain(chosen(i)));
    check::<F, _>(case, bar, &of, |i| {
        AnyCell::by_definition(&of.cell_config(i, of.hidden_size)).unwrap()
    });
    Cell::<F>::kernels(&chosen(1))
}

/// The options as a model file has them.
fn config(case: &Case<'_>) -> RecurrentConfig {
    let of = |name: &str| &case.options[name];
    let config = json!({
        "cell": of("cell"),
        "input_size": of("input_size"),
        "hidden_size": of("hidden_size"),
        "bias": of("bias"),
        "nonlinearity": "tanh",
        "proj_size": of("proj_size"),
        "options": of("options"),
        "stack": {
            "num_layers": of("num_layers"),
            "bidirectional": of("bidirectional"),
            "batch_first": false,
            "dropout": 0.0,
        },
    });
    serde_json::from_value(config).unwrap()
}

fn check<F: Float, C: Cell<F>>(
    case: &Case<'_>,
    bar: f64,
    config: &RecurrentConfig,
    cell: impl Fn(usize) -> C,
) {
    let mut layout = Layout::new();
    let stack_config = config.stack.clone();
    let cell = |_, input_size| cell(input_size);
    let stack = Stack::new::<F>(&mut layout, "", stack_config, config.input_size, cell).unwrap();
    let mut params = Params::<F>::zeros(layout.into());
    let layout = params.layout().clone();
    let mut names: Vec<_> = layout.entries().iter().map(|e| e.name.clone()).collect();
    for name in &names {
        let value = case.need::<F>(&format!("param.{name}"));
        assert_eq!(value.shape(), layout.find(name).unwrap().shape, "{name}");
        params.set(name, value.as_slice().unwrap()).unwrap();
    }
    names.sort();
    let mut expected = case.names("param.");
    expected.sort();
    assert_eq!(names, expected, "{}", case.name);

    let three = |name: &str| -> Array3<F> {
        let array = case.need(name);
        array.into_dimensionality::<Ix3>().unwrap()
    };
    let equal = |name: &str, got: Array3<F>| {
        let e = error(got.view(), three(name).view());
        assert!(e <= bar, "{} {name}: {e:e}", case.name);
    };
    let input = three("input");
    let dim = input.dim();
    let lengths = case.lengths();
    let (mut state, mut d_state) = (stack.start(dim.1), stack.start(dim.1));
    let parts: &[&str] = if state.has("c") { &["h", "c"] } else { &["h"] };
    for part in parts {
        state.set(part, three(&format!("{part}_0")).view()).unwrap();
        let d = three(&format!("d_{part}_n"));
        d_state.set(part, d.view()).unwrap();
    }
    let mut cache = StackCache::default();
    let mut output = Array3::from_elem((dim.0, dim.1, stack.output_size()), F::nan());
    let pass = Pass {
        lengths: lengths.as_deref(),
        ..Pass::default()
    };
    let view = output.view_mut();
    stack
        .forward(&params, input.view(), &pass, &mut state, &mut cache, view)
        .unwrap();
    equal("output", output);

    let d_output = three("d_output");
    let mut grads = Params::zeros(layout);
    let mut d_input = Array3::zeros(dim);
    let view = Some(d_input.view_mut());
    let d = Some(d_output.view());
    stack
        .backward(&params, &mut cache, d, &mut d_state, &mut grads, view)
        .unwrap();
    equal("d_input", d_input);
    for part in parts {
        equal(&format!("{part}_n"), state.get(part).unwrap());
        equal(&format!("d_{part}_0"), d_state.get(part).unwrap());
    }
    for name in &names {
        let expected = case.need(&format!("d_param.{name}"));
        let e = error(grads.get(name).unwrap(), expected.view());
        assert!(e <= bar, "{} d_{name}: {e:e}", case.name);
    }
}
