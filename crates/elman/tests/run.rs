//! Arrays in, arrays out: the fixtures through files.

mod common;

use common::{Case, Fixtures, error};
use elman::Float;
use elman::cell::{CellKind, Nonlinearity};
use elman::layer::RecurrentConfig;
use elman::ndarray::{ArrayD, array};
use elman::network::{Network, NetworkConfig, Readout, SequenceConfig};
use elman::run::{RunOptions, run};
use elman::weights::{Model, TensorFile, write_tensors};

/// The case's tensors that `keep` names anew, as a file. Lengths are added by
/// hand: `write_tensors` takes floating-point numbers only.
fn file<F: Float>(case: &Case<'_>, keep: impl Fn(&str) -> Option<String>) -> Vec<u8> {
    let tensors: Vec<(String, ArrayD<F>)> = case
        .names("")
        .iter()
        .filter_map(|n| Some((keep(n)?, case.need(n))))
        .collect();
    write_tensors(tensors.iter().map(|(n, a)| (n.clone(), a.view())), None).unwrap()
}

const GIVEN: [&str; 6] = ["input", "h_0", "c_0", "d_output", "d_h_n", "d_c_n"];

#[test]
fn fixtures_through_files() {
    let mut seen = 0;
    for name in ["rnn.safetensors", "gru.safetensors", "lstm.safetensors"] {
        for case in Fixtures::open(name).cases() {
            if case.options["proj_size"] != 0 || case.lengths().is_some() {
                continue;
            }
            if case.options["dtype"] == "f64" {
                check::<f64>(&case, 1e-12);
            } else {
                check::<f32>(&case, 1e-5);
            }
            seen += 1;
        }
    }
    assert!(seen > 60, "{seen}");
}

fn check<F: Float>(case: &Case<'_>, bar: f64) {
    let model = file::<F>(case, |n| n.strip_prefix("param.").map(str::to_owned));
    let input = file::<F>(case, |n| GIVEN.contains(&n).then(|| n.to_owned()));
    let options = RunOptions {
        cell: case.options["cell"].as_str().map(|c| c.parse().unwrap()),
        nonlinearity: (case.options["nonlinearity"] == "relu").then_some(Nonlinearity::Relu),
        batch_first: case.options["batch_first"].as_bool().unwrap(),
        trace: true,
    };
    let out = run(&model, &input, &options).unwrap_or_else(|e| panic!("{}: {e}", case.name));
    let out = TensorFile::read(&out).unwrap();
    for name in case.names("") {
        let got = match name.as_str() {
            n if GIVEN.contains(&n) || n.starts_with("param.") => continue,
            n => n.replacen("d_param.", "d_", 1),
        };
        let got = out
            .get::<F>(&got)
            .unwrap()
            .unwrap_or_else(|| panic!("{}: no {got}", case.name));
        let e = error(got.view(), case.need(&name).view());
        assert!(e <= bar, "{} {name}: {e:e}", case.name);
    }
    let gates: &[&str] = match case.options["cell"].as_str().unwrap() {
        "rnn" => &["h"],
        "gru" => &["h", "n", "r", "z", "hn"],
        _ => &["h", "c", "i", "f", "g", "o"],
    };
    let traces = out
        .names()
        .iter()
        .filter(|n| n.starts_with("trace.l0."))
        .count();
    assert_eq!(traces, gates.len());
    // The last layer's states are the output.
    if case.options["bidirectional"] == false {
        let last = case.options["num_layers"].as_u64().unwrap() - 1;
        let h = out.get::<F>(&format!("trace.l{last}.h")).unwrap().unwrap();
        assert_eq!(h, out.get::<F>("output").unwrap().unwrap());
    }
}

#[test]
fn a_model_file_needs_no_flag() {
    let config = NetworkConfig::Sequence(SequenceConfig {
        recurrent: RecurrentConfig::new(CellKind::Gru, 2, 3),
        readout: Readout::LastState,
        outputs: 4,
        head_dropout: 0.0,
        skip: None,
    });
    let params = vec![config.build().unwrap().init(1)];
    let model = Model::<f64>::new(config, params, serde_json::Value::Null).unwrap();
    let x = array![[[0.1, 0.2]], [[0.3, 0.4]]].into_dyn();
    let dy = array![[[1.0, 0.0, 0.0, 0.0]]].into_dyn();
    let input = [
        ("input".to_owned(), x.view()),
        ("d_output".to_owned(), dy.view()),
    ];
    let input = write_tensors(input, None).unwrap();
    let out = run(&model.to_bytes().unwrap(), &input, &RunOptions::default()).unwrap();
    let out = TensorFile::read(&out).unwrap();
    assert_eq!(out.shape("output"), Some(&[1, 1, 4][..]));
    assert_eq!(out.shape("d_rnn.weight_ih_l0"), Some(&[9, 2][..]));
    assert_eq!(out.shape("d_input"), Some(&[2, 1, 2][..]));
}

#[test]
fn what_is_wrong_is_named() {
    let w = |shape: &[usize]| ArrayD::<f64>::zeros(shape);
    let gru = [
        ("weight_ih_l0", w(&[9, 2])),
        ("weight_hh_l0", w(&[9, 3])),
        ("bias_ih_l0", w(&[9])),
        ("bias_hh_l0", w(&[9])),
    ];
    let good: Vec<(&str, ArrayD<f64>)> = gru.to_vec();
    let x = vec![("input", w(&[4, 1, 2]))];
    let change = |name: &str, to: Option<ArrayD<f64>>| {
        let mut tensors = good.clone();
        tensors.retain(|(n, _)| *n != name);
        tensors.extend(to.map(|a| (Box::leak(name.to_owned().into_boxed_str()) as &str, a)));
        tensors
    };
    let lstm = RunOptions {
        cell: Some(CellKind::Lstm),
        ..RunOptions::default()
    };
    let relu = RunOptions {
        nonlinearity: Some(Nonlinearity::Relu),
        ..RunOptions::default()
    };
    let plain = RunOptions::default();
    let with_x = |extra: &'static str, a: ArrayD<f64>| {
        let mut x = x.clone();
        x.push((extra, a));
        x
    };
    for (model, input, options, words) in [
        (
            change("bias_hh_l0", Some(w(&[8]))),
            x.clone(),
            plain,
            "bias_hh_l0",
        ),
        (change("weight_ih_l0", None), x.clone(), plain, "missing"),
        (change("extra", Some(w(&[8]))), x.clone(), plain, "extra"),
        (
            change("weight_hr_l0", Some(w(&[2, 3]))),
            x.clone(),
            plain,
            "proj_size",
        ),
        (
            change("weight_hh_l0", Some(w(&[10, 3]))),
            x.clone(),
            plain,
            "3 or 4 times",
        ),
        (good.clone(), x.clone(), lstm, "suggests a GRU"),
        (good.clone(), x.clone(), relu, "activation"),
        (good.clone(), vec![], plain, "`input` is missing"),
        (
            good.clone(),
            vec![("input", w(&[4, 1, 3]))],
            plain,
            "Expected 2, got 3",
        ),
        (
            good.clone(),
            vec![("input", w(&[4]))],
            plain,
            "2D or 3D, got 1D",
        ),
        (
            good.clone(),
            with_x("c_0", w(&[1, 1, 3])),
            plain,
            "only an LSTM",
        ),
        (
            good.clone(),
            with_x("h_0", w(&[1, 2, 3])),
            plain,
            "Expected hidden size (1, 1, 3)",
        ),
        (good.clone(), with_x("h_0", w(&[1, 3])), plain, "3-D"),
        (
            good.clone(),
            with_x("other", w(&[1])),
            plain,
            "nothing reads",
        ),
        (
            good.clone(),
            with_x("known", w(&[1, 1, 1])),
            plain,
            "does not read",
        ),
        (good.clone(), with_x("lengths", w(&[1])), plain, "lengths"),
        (
            good.clone(),
            with_x("d_output", w(&[4, 1, 2])),
            plain,
            "d_output",
        ),
    ] {
        let bytes = |tensors: &[(&str, ArrayD<f64>)]| {
            write_tensors(
                tensors.iter().map(|(n, a)| ((*n).to_owned(), a.view())),
                None,
            )
            .unwrap()
        };
        let e = run(&bytes(&model), &bytes(&input), &options).unwrap_err();
        assert!(e.to_string().contains(words), "{words}: {e}");
    }
}
