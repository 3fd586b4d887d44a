//! Initial values are PyTorch's after `torch.manual_seed`, bit for bit.

mod common;

use common::{Case, Fixtures};
use elman::Float;
use elman::cell::{Bias, CellKind};
use elman::layer::{Linear, Recurrent, RecurrentConfig};
use elman::params::{Layout, Params};
use elman::rng::TorchRng;
use std::collections::BTreeSet;

#[test]
fn same_seed_same_weights() {
    let fixtures = Fixtures::open("init.safetensors");
    let mut seen = BTreeSet::new();
    for case in fixtures.cases() {
        if case.options["dtype"] == "f64" {
            check::<f64>(&case);
        } else {
            check::<f32>(&case);
        }
        let option = |name: &str| case.options[name].to_string();
        seen.insert((option("cell"), option("dtype"), option("seed")));
    }
    assert_eq!(seen.len(), 4 * 2 * 3, "{seen:?}");
}

/// What PyTorch would draw for `bias_hh` is drawn and dropped.
#[test]
fn a_single_bias_moves_nothing() {
    let mut config = RecurrentConfig::new(CellKind::Lstm, 2, 3);
    config.proj_size = 2;
    config.stack.bidirectional = true;
    let both = Recurrent::<f32>::new(&config, 1).unwrap();
    config.bias = Bias::Single;
    let single = Recurrent::<f32>::new(&config, 1).unwrap();
    let entries = single.params().layout().entries();
    assert_eq!(entries.len(), 2 * 4);
    for entry in entries {
        assert_eq!(
            single.params().get(&entry.name),
            both.params().get(&entry.name)
        );
    }
}

fn check<F: Float>(case: &Case<'_>) {
    let params = initial::<F>(case);
    let entries = params.layout().entries();
    let mut names: Vec<_> = entries.iter().map(|e| e.name.clone()).collect();
    names.sort();
    let mut expected = case.names("param.");
    expected.sort();
    assert_eq!(names, expected, "{}", case.name);
    for name in &names {
        let (got, expected) = (
            params.get(name).unwrap(),
            case.need(&format!("param.{name}")),
        );
        assert_eq!(got.shape(), expected.shape());
        let bits = |v: &F| v.f64().to_bits();
        let differ = got
            .iter()
            .zip(&expected)
            .position(|(a, b)| bits(a) != bits(b));
        assert_eq!(differ, None, "{} {name}", case.name);
    }
}

/// The parameters of a new layer, named as the layer alone has them.
fn initial<F: Float>(case: &Case<'_>) -> Params<F> {
    let options = case.options;
    let size = |name: &str| options[name].as_u64().unwrap() as usize;
    let bias = options["bias"] != false;
    let seed = options["seed"].as_u64().unwrap();
    if options["cell"] == "linear" {
        let mut layout = Layout::new();
        let (inputs, outputs) = (size("in_features"), size("out_features"));
        let linear = Linear::new(&mut layout, "", inputs, outputs, bias).unwrap();
        let mut params = Params::zeros(layout.into());
        let mut rng = TorchRng::new(seed);
        linear.init(&mut params, &mut |a, b| rng.uniform(a, b));
        return params;
    }
    let cell = options["cell"].as_str().unwrap().parse().unwrap();
    let mut config = RecurrentConfig::new(cell, size("input_size"), size("hidden_size"));
    config.stack.num_layers = options["num_layers"].as_u64().unwrap_or(1) as usize;
    config.proj_size = options["proj_size"].as_u64().unwrap_or(0) as usize;
    config.stack.bidirectional = options["bidirectional"] == true;
    config.bias = if bias { Bias::Both } else { Bias::None };
    Recurrent::new(&config, seed).unwrap().params().clone()
}
