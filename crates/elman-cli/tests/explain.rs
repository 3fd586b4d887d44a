//! `elman explain`: what it prints and writes, and what it refuses.

mod common;

use common::{assert_refused_once, elman, text};
use elman::cell::CellKind;
use elman::layer::{Pass, RecurrentConfig};
use elman::ndarray::Array3;
use elman::network::{
    Inputs, Network, NetworkConfig, Readout, Sequence, SequenceCache, SequenceConfig,
};
use elman::params::Params;
use elman::weights::Model;
use serde_json::Value;
use std::fs;

#[test]
fn the_worked_example_needs_no_argument() {
    let folder = tempfile::tempdir().unwrap();
    let shown = elman(folder.path(), &["explain"]);
    assert!(shown.status.success(), "{}", text(&shown.stderr));
    for part in [
        "h^3 = tanh(a^3)",
        "[10 20 30] → [40]",
        "from the next step",
        "W_h′",
    ] {
        assert!(text(&shown.stdout).contains(part), "{part}");
    }
    let check = elman(folder.path(), &["explain", "--check"]);
    let last = text(&check.stdout).lines().last().unwrap().to_owned();
    let figure = last.strip_prefix("largest relative difference: ").unwrap();
    assert!(figure.parse::<f64>().unwrap() < 1e-6, "{last}");
    let json = elman(folder.path(), &["explain", "--json"]);
    let trace: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(trace["format"], "elman explain 1");
    let page = elman(folder.path(), &["explain", "--html", "page.html"]);
    assert!(page.status.success());
    assert_eq!(text(&page.stdout), "wrote page.html\n");
    let page = fs::read(folder.path().join("page.html")).unwrap();
    assert!(page.starts_with(b"<!DOCTYPE html>"));
    // Its own page may be replaced.
    let again = elman(folder.path(), &["explain", "--html", "page.html"]);
    assert!(again.status.success());
}

#[test]
fn wrong_input_is_refused_in_one_line_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mine.html"), "mine").unwrap();
    fs::write(folder.path().join("words.txt"), "10 ten").unwrap();
    let cases: [(&[&str], &[&str]); 12] = [
        (&["--target", "40 50"], &["target", "expected 1", "got 2"]),
        (
            &["--input", "1 2, 3", "--target", "1"],
            &["--input", "step 2", "got 1"],
        ),
        (&["--input", "1 2 3"], &["--target is missing"]),
        (
            &["--input", "absent.txt", "--target", "1"],
            &["absent.txt", "check the path"],
        ),
        (&["--input", "words.txt", "--target", "1"], &["`ten`"]),
        (&["--set", "weight=1"], &["rnn.weight_ih_l0", "head.bias"]),
        (&["--set", "weight_hh_l0[9,9]=1"], &["[2, 2]"]),
        (&["--hidden", "30", "--full"], &["--full", "heat maps"]),
        (&["--step", "9"], &["--step", "1 to 3"]),
        (&["--hidden", "99999"], &["--hidden"]),
        (&["--html", "mine.html"], &["mine.html", "--force"]),
        (
            &["--cell", "gru", "--nonlinearity", "relu"],
            &["--nonlinearity"],
        ),
    ];
    for (flags, parts) in cases {
        assert_refused_once(folder.path(), &[&["explain"], flags].concat(), parts);
        let html = [&["explain", "--html", "new.html"], flags].concat();
        if !flags.contains(&"--html") {
            assert_refused_once(folder.path(), &html, parts);
        }
    }
}

/// A trained model file, in f32: what it predicts is what `elman run` gives.
#[test]
fn a_model_file_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let config = SequenceConfig {
        recurrent: RecurrentConfig::new(CellKind::Gru, 1, 2),
        readout: Readout::LastState,
        outputs: 1,
        head_dropout: 0.0,
        skip: None,
    };
    let network = Sequence::new(&config).unwrap();
    let params: Params<f32> = network.init(7);
    let config = NetworkConfig::Sequence(config);
    let model = Model::new(config, vec![params.clone()], Value::Null).unwrap();
    fs::write(
        folder.path().join("model.safetensors"),
        model.to_bytes().unwrap(),
    )
    .unwrap();
    let args = [
        "explain",
        "model.safetensors",
        "--input",
        "0.1 -0.2 0.3",
        "--target",
        "0.4",
        "--json",
    ];
    let shown = elman(folder.path(), &args);
    assert!(shown.status.success(), "{}", text(&shown.stderr));
    let trace: Value = serde_json::from_slice(&shown.stdout).unwrap();
    let x = Array3::from_shape_vec((3, 1, 1), vec![0.1_f32, -0.2, 0.3]).unwrap();
    let (mut state, mut cache) = (network.start(1), SequenceCache::default());
    let mut y = Array3::zeros((1, 1, 1));
    let (inputs, pass) = (Inputs::sequences(x.view()), Pass::default());
    let out = y.view_mut();
    network
        .forward(&params, &inputs, &pass, &mut state, &mut cache, out)
        .unwrap();
    let predicted = trace["about"]["prediction"][0].as_f64().unwrap();
    assert!((predicted - f64::from(y[[0, 0, 0]])).abs() < 1e-6);
    let refused: [(&[&str], &[&str]); 4] = [
        (&["--input", "1 2"], &["--target is missing"]),
        (
            &["--input", "1 2, 3 4", "--target", "1"],
            &["axis 1", "expected 1", "got 2"],
        ),
        (
            &["--input", "1 2", "--target", "1 2"],
            &["target", "expected 1", "got 2"],
        ),
        (
            &["--cell", "gru", "--input", "1", "--target", "1"],
            &["--cell", "model file"],
        ),
    ];
    for (flags, parts) in refused {
        let args = [&["explain", "model.safetensors"], flags].concat();
        assert_refused_once(folder.path(), &args, parts);
    }
}
