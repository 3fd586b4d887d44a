//! Every shown value against PyTorch, 1e-12: forward, backward, after the
//! update; and the code that is shown is the code that PyTorch has run.

use elman::cell::CellKind;
use elman::weights::TensorFile;
use elman_explain::setup::{Configuration, Request, RnnActivation};
use elman_explain::trace::Trace;
use elman_explain::trace::graph::Role;
use serde_json::Value;
use std::path::Path;

fn request(flags: &Value) -> Request {
    let mut request = Request::default();
    let flags: Vec<&str> = flags
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let mut flags = flags.into_iter();
    while let Some(flag) = flags.next() {
        let mut next = || flags.next().unwrap();
        match flag {
            "--cell" => request.cell = next().parse::<CellKind>().unwrap(),
            "--hidden" => request.hidden = next().parse().unwrap(),
            "--layers" => request.layers = next().parse().unwrap(),
            "--seed" => request.seed = next().parse().unwrap(),
            "--lr" => request.lr = next().parse().unwrap(),
            "--set" => request.set.push(next().to_owned()),
            "--bidirectional" => request.bidirectional = true,
            "--two-biases" => request.two_biases = true,
            "--readout" => request.last_state = next() == "last-state",
            "--nonlinearity" => {
                request.nonlinearity = match next() {
                    "relu" => RnnActivation::Relu,
                    "linear" => RnnActivation::Linear,
                    other => panic!("{other}"),
                }
            }
            "--configuration" => {
                request.configuration = match next() {
                    "many-to-many" => Configuration::ManyToMany,
                    "one-to-many" => Configuration::OneToMany,
                    other => panic!("{other}"),
                }
            }
            other => panic!("{other}"),
        }
    }
    request
}

fn assert_near(name: &str, ours: &[f64], torch: &[f64]) {
    assert_eq!(ours.len(), torch.len(), "{name}");
    let largest = torch.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
    let bar = 1e-12 * if largest == 0.0 { 1.0 } else { largest };
    for (a, b) in ours.iter().zip(torch) {
        assert!((a - b).abs() <= bar, "{name}: {ours:?}, PyTorch {torch:?}");
    }
}

#[test]
fn every_value_is_pytorchs() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/torch/explain.safetensors");
    let bytes = std::fs::read(path).unwrap();
    let file = TensorFile::read(&bytes).unwrap();
    let cases: Value = serde_json::from_str(file.metadata("cases").unwrap()).unwrap();
    let mut compared = 0;
    for (case, about) in cases.as_object().unwrap() {
        let trace = Trace::new(&request(&about["flags"]).subject().unwrap()).unwrap();
        assert_eq!(
            trace.code,
            about["code"].as_str().unwrap(),
            "{case}: the code"
        );
        for name in file.names() {
            let Some(what) = name.strip_prefix(&format!("{case}/")) else {
                continue;
            };
            let torch: Vec<f64> = file
                .get::<f64>(name)
                .unwrap()
                .unwrap()
                .iter()
                .copied()
                .collect();
            let (kind, of) = what.split_once('.').unwrap();
            if kind == "value" {
                let value = trace.values.iter().find(|v| v.symbol == of);
                // PyTorch's own step has states that this cell does not have.
                let Some(value) = value else {
                    assert!(
                        of.contains('c') || of.ends_with("^0"),
                        "{case}: {of} is not shown"
                    );
                    continue;
                };
                assert_near(name, &value.numbers, &torch);
                compared += 1;
                continue;
            }
            let mut ours = vec![f64::NAN; torch.len()];
            for value in &trace.values {
                let role = match kind {
                    "stepped" => Role::Updated,
                    _ => Role::Parameter,
                };
                let Some(source) = value
                    .source
                    .as_ref()
                    .filter(|s| s.name == of && value.role == role)
                else {
                    continue;
                };
                let numbers = match kind {
                    "d_param" => {
                        let is = |g: &&elman_explain::trace::document::Value| {
                            g.of == Some(value.id) && g.role == Role::Gradient
                        };
                        &trace.values.iter().find(is).unwrap().numbers
                    }
                    _ => &value.numbers,
                };
                for (i, x) in source.index.iter().zip(numbers) {
                    ours[*i] = *x;
                }
            }
            assert_near(name, &ours, &torch);
            compared += 1;
        }
        if case == "worked" {
            every_value_is_compared(&trace, &file.names());
        }
    }
    assert!(compared > 500, "{compared}");
}

/// No value of the worked example is left out: PyTorch has it by its symbol, or
/// by the parameter's name that it, its gradient, or what it becomes has.
fn every_value_is_compared(trace: &Trace, names: &[&str]) {
    let has = |name: String| names.contains(&format!("worked/{name}").as_str());
    for v in &trace.values {
        let parameter = match (v.role, v.of) {
            (Role::Gradient, Some(of)) => trace.values[of].source.as_ref(),
            _ => v.source.as_ref(),
        };
        let kind = match v.role {
            Role::Updated => "stepped",
            Role::Gradient => "d_param",
            _ => "param",
        };
        let found = parameter.is_some_and(|p| has(format!("{kind}.{}", p.name)));
        assert!(found || has(format!("value.{}", v.symbol)), "{}", v.symbol);
    }
}
