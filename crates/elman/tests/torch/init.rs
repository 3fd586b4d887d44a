//! Initial values are PyTorch's after `torch.manual_seed`, bit for bit, and
//! have the properties that options ask for.

use crate::common::{Case, Fixtures};
use elman::Float;
use elman::cell::{Bias, CellKind};
use elman::layer::{Linear, Recurrent, RecurrentConfig};
use elman::ndarray::{Axis, Ix2};
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

/// The parameters of a layer, as constructed.
fn drawn<F: Float>(config: &RecurrentConfig) -> Params<F> {
    Recurrent::new(config, 4).unwrap().params().clone()
}

/// Rows of a gate of a bias, both biases together.
fn total(config: &RecurrentConfig, gate: usize) -> Vec<f64> {
    let params = drawn::<f64>(config);
    let h = config.hidden_size;
    let mut total = vec![0.0; h];
    for name in ["bias_ih_l0", "bias_hh_l0"] {
        if let Some(bias) = params.get(name) {
            let of_gate = bias.iter().skip(gate * h);
            total.iter_mut().zip(of_gate).for_each(|(t, b)| *t += b);
        }
    }
    total
}

#[test]
fn forget_bias() {
    for bias in [Bias::Both, Bias::Single] {
        let mut config = RecurrentConfig::new(CellKind::Lstm, 2, 5);
        config.bias = bias;
        let before = drawn::<f64>(&config);
        config.options.init.forget_bias = Some(1.5);
        assert_eq!(total(&config, 1), [1.5; 5]);
        // Nothing else has moved.
        let after = drawn::<f64>(&config);
        let forget = 5..10;
        for entry in before.layout().entries() {
            let (a, b) = (before.get(&entry.name), after.get(&entry.name));
            for (i, (a, b)) in a.unwrap().iter().zip(b.unwrap()).enumerate() {
                let set = entry.name.starts_with("bias") && forget.contains(&i);
                assert_eq!(a != b, set, "{} {i}", entry.name);
            }
        }
    }
}

/// `exp` of the bias is uniform on (1, T - 1): its quantiles, and the sign of
/// each gate.
#[test]
fn chrono() {
    let quantiles = |logs: &[f64], steps: usize| {
        let longest = steps as f64 - 1.0;
        let mut shares: Vec<_> = (logs.iter())
            .map(|log| (log.exp() - 1.0) / (longest - 1.0))
            .collect();
        shares.sort_by(f64::total_cmp);
        let n = shares.len() as f64;
        for (i, share) in shares.iter().enumerate() {
            let expected = (i as f64 + 0.5) / n;
            // Kolmogorov's bound, exceeded once in a million draws.
            assert!((share - expected).abs() < 2.7 / n.sqrt(), "{share} {i}");
        }
    };
    let minus = |values: &[f64]| -> Vec<f64> { values.iter().map(|v| -v).collect() };
    for steps in [3, 100, 10_000] {
        for bias in [Bias::Both, Bias::Single] {
            let mut config = RecurrentConfig::new(CellKind::Lstm, 1, 200);
            config.bias = bias;
            config.options.init.chrono = Some(steps);
            let forget = total(&config, 1);
            quantiles(&forget, steps);
            assert_eq!(total(&config, 0), minus(&forget));
            config.options.coupled = true;
            quantiles(&minus(&total(&config, 0)), steps);
            config.options.coupled = false;
            config.cell = CellKind::Gru;
            quantiles(&total(&config, 1), steps);
        }
    }
}

/// The columns of every gate's block are orthonormal, `Q' Q = 1`, and so are
/// its rows where it is square; whatever else there is stays as drawn.
#[test]
fn orthogonal() {
    for (kind, proj_size) in [
        (CellKind::Rnn, 0),
        (CellKind::Gru, 0),
        (CellKind::Lstm, 0),
        (CellKind::Lstm, 4),
    ] {
        for hidden_size in [1, 5, 65] {
            let mut config = RecurrentConfig::new(kind, 2, hidden_size);
            config.proj_size = if hidden_size > 4 { proj_size } else { 0 };
            let before = drawn::<f64>(&config);
            config.options.init.orthogonal = true;
            check_orthogonal::<f64>(&config, 1e-14);
            check_orthogonal::<f32>(&config, 1e-6);
            let after = drawn::<f64>(&config);
            for entry in before.layout().entries() {
                let same = before.get(&entry.name) == after.get(&entry.name);
                assert_eq!(same, entry.name != "weight_hh_l0", "{}", entry.name);
            }
        }
    }
}

fn check_orthogonal<F: Float>(config: &RecurrentConfig, bar: f64) {
    let params = drawn::<F>(config);
    let weight = params.get("weight_hh_l0").unwrap();
    let weight = weight.into_dimensionality::<Ix2>().unwrap();
    let mut mean = 0.0;
    for block in weight.axis_chunks_iter(Axis(0), config.hidden_size) {
        let q = block.mapv(F::f64);
        let mut products = vec![q.t().dot(&q)];
        if q.is_square() {
            products.push(q.dot(&q.t()));
        }
        for product in products {
            for ((i, j), v) in product.indexed_iter() {
                let one = f64::from(u8::from(i == j));
                assert!((v - one).abs() <= bar, "{config:?} {i} {j} {v}");
            }
        }
        mean += q.mean().unwrap() / config.cell.gates() as f64;
    }
    // No preferred direction: Gram and Schmidt's first column has both signs.
    let n = (config.hidden_size * weight.ncols()) as f64;
    assert!(n < 4.0 || mean.abs() < 4.0 / n.sqrt(), "{mean}");
}

/// Gains begin at 1, offsets at 0, and neither draws: what PyTorch has is as
/// without them, and peepholes come after it.
#[test]
fn what_options_add() {
    let mut config = RecurrentConfig::new(CellKind::Lstm, 2, 3);
    let pytorchs = drawn::<f32>(&config);
    config.options.peepholes = true;
    let peepholes = drawn::<f32>(&config);
    config.options.layer_norm = true;
    let all = drawn::<f32>(&config);
    for (before, after) in [(&pytorchs, &peepholes), (&peepholes, &all)] {
        let values = before.values();
        assert_eq!(values, &after.values()[..values.len()]);
    }
    let bound = 1.0 / 3.0_f32.sqrt();
    let mut names = Vec::new();
    for entry in &all.layout().entries()[4..] {
        let values = &all.values()[entry.range.clone()];
        names.push(entry.name.as_str());
        match entry.name.strip_prefix("norm_") {
            Some(name) if name.contains("weight") => assert!(values.iter().all(|v| *v == 1.0)),
            Some(_) => assert!(values.iter().all(|v| *v == 0.0)),
            None => assert!(values.iter().all(|v| v.abs() <= bound && *v != 0.0)),
        }
    }
    assert_eq!(
        names,
        [
            "weight_ci_l0",
            "weight_cf_l0",
            "weight_co_l0",
            "norm_ih_weight_l0",
            "norm_ih_bias_l0",
            "norm_hh_weight_l0",
            "norm_hh_bias_l0",
            "norm_c_weight_l0",
            "norm_c_bias_l0"
        ]
    );
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
