//! Options of a stack beyond PyTorch's, against the same made of PyTorch's own
//! layers: every output, state and gradient, 1e-12.

use crate::common::{Case, Fixtures, error};
use elman::cell::{AnyCell, Cell, CellConfig, Plain};
use elman::layer::{Pass, Stack, StackCache, StackConfig, State};
use elman::ndarray::{Array2, Array3, Ix2, Ix3};
use elman::params::{Layout, Params};
use serde_json::{Map, Value};

#[test]
fn stacks_of_torch_layers() {
    let fixtures = Fixtures::open("stack_options.safetensors");
    let mut cases = 0;
    for case in fixtures.cases() {
        check(&case, |cell| cell);
        check(&case, Plain);
        cases += 1;
    }
    assert_eq!(cases, 16);
}

/// The options of the case that a stack has, under the same names.
fn config(options: &Value) -> StackConfig {
    let mut fields = Map::new();
    fields.insert("batch_first".into(), false.into());
    fields.insert("dropout".into(), 0.0.into());
    for (name, value) in options.as_object().unwrap() {
        if !["cell", "input_size", "hidden_sizes"].contains(&name.as_str()) {
            fields.insert(name.clone(), value.clone());
        }
    }
    serde_json::from_value(fields.into()).unwrap()
}

fn check<C: Cell<f64>>(case: &Case<'_>, wrap: impl Fn(AnyCell) -> C) {
    let options = case.options;
    let kind = options["cell"].as_str().unwrap().parse().unwrap();
    let sizes: Vec<_> = options["hidden_sizes"].as_array().unwrap().iter().collect();
    let mut layout = Layout::new();
    let input_size = options["input_size"].as_u64().unwrap() as usize;
    let cell = |layer: usize, input_size| {
        let hidden_size = sizes[layer].as_u64().unwrap() as usize;
        wrap(AnyCell::new(&CellConfig::new(kind, input_size, hidden_size)).unwrap())
    };
    let stack = Stack::new::<f64>(&mut layout, "", config(options), input_size, cell).unwrap();
    let mut params = Params::<f64>::zeros(layout.into());
    let layout = params.layout().clone();
    let mut names: Vec<_> = layout.entries().iter().map(|e| e.name.clone()).collect();
    for name in &names {
        let value = case.need::<f64>(&format!("param.{name}"));
        assert_eq!(value.shape(), layout.find(name).unwrap().shape);
        params.set(name, value.as_slice().unwrap()).unwrap();
    }
    names.sort();
    let mut expected = case.names("param.");
    expected.sort();
    assert_eq!(names, expected, "{}", case.name);

    let three = |name: &str| -> Array3<f64> {
        let array = case.need::<f64>(name);
        array.into_dimensionality::<Ix3>().unwrap()
    };
    let input = three("input");
    let (steps, batch, _) = input.dim();
    let lengths = case.lengths();
    let resets = (case.names("").contains(&"resets".to_owned())).then(|| {
        let view = case.view("resets");
        let marks = view.data().chunks_exact(8).map(|mark| mark[0] == 1);
        Array2::from_shape_vec((steps, batch), marks.collect()).unwrap()
    });
    let mut state: State<f64> = stack.start(batch);
    let mut d_state = stack.start(batch);
    let parts: &[&str] = if state.has("c") { &["h", "c"] } else { &["h"] };
    let places: Vec<_> = (0..state.slots())
        .flat_map(|slot| parts.iter().map(move |part| (slot, *part)))
        .collect();
    for (slot, part) in &places {
        let put = |state: &mut State<f64>, name: String| {
            if let Some(value) = case.get::<f64>(&name) {
                let value = value.into_dimensionality::<Ix2>().unwrap();
                state.set_part(*slot, part, value.view()).unwrap();
            }
        };
        put(&mut state, format!("{part}_0.{slot}"));
        put(&mut d_state, format!("d_{part}_n.{slot}"));
    }

    let equal = |name: &str, e: f64| assert!(e <= 1e-12, "{} {name}: {e:e}", case.name);
    let pass = Pass {
        lengths: lengths.as_deref(),
        resets: resets.as_ref().map(|r| r.view()),
        ..Pass::default()
    };
    let mut cache = StackCache::default();
    let mut output = Array3::from_elem((steps, batch, stack.output_size()), f64::NAN);
    let (x, y) = (input.view(), output.view_mut());
    stack
        .forward(&params, x, &pass, &mut state, &mut cache, y)
        .unwrap();
    equal("output", error(output.view(), three("output").view()));
    let equal_states = |state: &State<f64>, before: &str, when: &str| {
        for (slot, part) in &places {
            let name = format!("{before}{part}_{when}.{slot}");
            if let Some(expected) = case.get::<f64>(&name) {
                let got = state.part(*slot, part).unwrap().into_dyn();
                equal(&name, error(got.view(), expected.view()));
            }
        }
    };
    equal_states(&state, "", "n");

    let mut grads = Params::zeros(layout.clone());
    let mut d_input = Array3::zeros(input.dim());
    let d_output = three("d_output");
    let (dy, dx) = (Some(d_output.view()), Some(d_input.view_mut()));
    stack
        .backward(&params, &mut cache, dy, &mut d_state, &mut grads, dx)
        .unwrap();
    equal("d_input", error(d_input.view(), three("d_input").view()));
    equal_states(&d_state, "d_", "0");
    for name in &names {
        let expected = case.need::<f64>(&format!("d_param.{name}"));
        equal(name, error(grads.get(name).unwrap(), expected.view()));
    }
}
