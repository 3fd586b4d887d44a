//! `elman explain`: what it prints and writes, and what it refuses.

mod common;

use common::{assert_refused_once, elman, paths, text, told, untold};
use elman::cell::CellKind;
use elman::layer::{Pass, RecurrentConfig};
use elman::ndarray::{Array3, ArrayD};
use elman::network::{
    ChainConfig, ChainLayer, EncoderDecoderConfig, Inputs, NamedLayer, Network, NetworkConfig,
    Readout, Sequence, SequenceCache, SequenceConfig,
};
use elman::params::Params;
use elman::weights::{Model, TensorFile, write_tensors};
use serde_json::Value;
use std::collections::BTreeSet;
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
    let large = elman(folder.path(), &["explain", "--lr", "1e300"]);
    assert!(text(&large.stdout).contains("W_x − 1e300 dL/dW_x"));
    assert!(!text(&large.stdout).contains("00000000"));
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
    let quiet = elman(folder.path(), &["explain", "--html", "page.html", "-q"]);
    assert!(quiet.status.success() && quiet.stdout.is_empty() && quiet.stderr.is_empty());
    let again = elman(folder.path(), &["explain", "--html", "page.html"]);
    assert!(again.status.success());
}

#[test]
fn wrong_input_is_refused_in_one_line_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mine.html"), "mine").unwrap();
    fs::write(folder.path().join("words.txt"), "10 ten").unwrap();
    let cases: [(&[&str], &[&str]); 19] = [
        (&["--layers", "65"], &["--layers: expected 1 to 64, got 65"]),
        (&["--lr", "-1e300"], &["--lr: ", "got -1e300"]),
        (
            &["--input", "1, 2 3", "--target", "1"],
            &["step 2: expected 1 feature as in step 1, got 2"],
        ),
        (
            &["--target", "40 50"],
            &["--target: expected 1 number (1 predicted step of 1 feature), got 2"],
        ),
        (
            &["--input", "", "--target", "1"],
            &["--input: expected numbers", "got nothing"],
        ),
        (
            &["--set", "W_x=0.5"],
            &[
                "--set W_x: expected row and column",
                "up to W_x[1,2], got no index",
            ],
        ),
        (
            &["--set", "W_x[1,1]=1e400"],
            &["--set W_x[1,1]: expected a finite number, got 1e400"],
        ),
        (
            &["--input", "1 2, 3", "--target", "1"],
            &["--input", "step 2", "got 1"],
        ),
        (
            &["--input", "1 2;;3 4", "--target", "1"],
            &["--input: expected a number before each `;`, got none before number 2"],
        ),
        (
            &["--target", "40,,50"],
            &["--target: expected a number before each `,`, got none before number 2"],
        ),
        (
            &[
                "--configuration",
                "one-to-many",
                "--input",
                "1 2 3; 4 5 6",
                "--target",
                "1",
            ],
            &[
                "--input: a one-to-many network reads one vector",
                "got 2 steps of 3",
            ],
        ),
        (&["--input", "1 2 3"], &["--target is missing"]),
        (
            &["--input", "absent.txt", "--target", "1"],
            &["absent.txt", "check the path"],
        ),
        (&["--input", "words.txt", "--target", "1"], &["`ten`"]),
        (&["--set", "weight=1"], &["rnn.weight_ih_l0", "head.bias"]),
        (&["--set", "weight_hh_l0[9,9]=1"], &["[2, 2]"]),
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
    // Files of PyTorch's that hold no recurrent layer.
    let file = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    file("empty.pt", b"");
    file("none.safetensors", b"\x02\0\0\0\0\0\0\0{}");
    let linear = [("weight", vec![3, 2]), ("bias", vec![3])];
    let linear = linear.map(|(name, shape)| (name.to_owned(), ArrayD::<f32>::zeros(shape)));
    let views = linear.iter().map(|(name, a)| (name.clone(), a.view()));
    file("linear.safetensors", &write_tensors(views, None).unwrap());
    for (name, parts) in [
        (
            "empty.pt",
            &["empty.pt: the file is empty", "write it again"][..],
        ),
        (
            "none.safetensors",
            &["holds no tensor", "torch.save(model.state_dict()"],
        ),
        (
            "linear.safetensors",
            &[
                "expected one recurrent layer",
                "alone: one without a name",
                "torch.save",
            ],
        ),
    ] {
        let args = ["explain", name, "--input", "1 2;", "--target", "1 1 1"];
        assert_refused_once(folder.path(), &args, parts);
    }
    // What the terminal alone can show less of, or of a small model.
    let terminal: [(&[&str], &[&str]); 4] = [
        (
            &["--hidden", "30", "--full"],
            &["--full", "heat maps", "smaller, like --hidden 1"],
        ),
        (
            &["--check", "--only", "forward"],
            &["--only: --check shows", "leave one out"],
        ),
        (
            &["--check", "--full"],
            &["--full: --check shows", "leave one out"],
        ),
        (&["--step", "9"], &["--step", "1 to 3"]),
    ];
    for (flags, parts) in terminal {
        assert_refused_once(folder.path(), &[&["explain"], flags].concat(), parts);
    }
}

/// A table of rows and columns is a sequence of so many steps and features; the
/// names of its columns are shown.
#[test]
fn a_table_is_a_sequence_of_steps_with_features() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("three.csv"),
        "load,wind\n1,2\n3,4\n5,6\n",
    )
    .unwrap();
    let json = |args: &[&str]| -> Value {
        let shown = elman(folder.path(), &[&["explain", "--json"], args].concat());
        assert!(shown.status.success(), "{}", text(&shown.stderr));
        serde_json::from_slice(&shown.stdout).unwrap()
    };
    let about = json(&["--input", "three.csv", "--target", "1"])["about"].clone();
    assert_eq!(
        about["input"],
        serde_json::json!([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    );
    assert_eq!(about["feature_names"], serde_json::json!(["load", "wind"]));
    let about = json(&["--input", "1 2;", "--target", "1", "--scale", "1"])["about"].clone();
    assert_eq!(about["input"], serde_json::json!([[1.0, 2.0]]));
    // What a file of PyTorch's reads.
    let model = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../fixtures/torch/files/gru.pt"
    );
    let read = json(&[model, "--input", "three.csv", "--target", "1 1 1"]);
    assert_eq!(read["about"]["steps"], 3);
    fs::write(folder.path().join("one.csv"), "load\n1\n3\n").unwrap();
    fs::write(folder.path().join("none.csv"), "load,wind\n").unwrap();
    fs::write(folder.path().join("bits.csv"), [0x80, 0x02, 0, 1]).unwrap();
    for (file, parts) in [
        (
            "one.csv",
            &[
                "axis 1 (features of a step)",
                "expected 2",
                "got 1",
                "each column",
            ][..],
        ),
        (
            "none.csv",
            &[
                "none.csv: line 1 has the names `load`, `wind`",
                "add one for each step",
            ],
        ),
        ("bits.csv", &["bits.csv: this is no text", "UTF-8"]),
    ] {
        let args = ["explain", model, "--input", file, "--target", "1 1 1"];
        assert_refused_once(folder.path(), &args, parts);
    }
}

/// Shapes take no time, however large the network is, and are those of a trace.
#[test]
fn shapes_take_no_work() {
    let folder = tempfile::tempdir().unwrap();
    let shapes = |args: &[&str]| {
        let shown = elman(
            folder.path(),
            &[&["explain", "--only", "shapes"], args].concat(),
        );
        assert!(shown.status.success(), "{}", text(&shown.stderr));
        text(&shown.stdout).to_owned()
    };
    for own in [
        "--cell lstm --layers 2 --bidirectional --two-biases",
        "--cell gru --configuration one-to-many --layers 2",
        "--cell rnn --configuration many-to-many",
    ] {
        let args: Vec<&str> = own.split(' ').collect();
        let whole = elman(folder.path(), &[&["explain"], args.as_slice()].concat());
        assert!(text(&whole.stdout).contains(&shapes(&args)), "{own}");
    }
    let start = std::time::Instant::now();
    let huge = "--cell lstm --hidden 1024 --layers 8 --set W_hi_l7[1024,1]=1";
    let huge = shapes(&huge.split(' ').collect::<Vec<_>>());
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
    for part in [
        "h_0 8 × 1 × 1024",
        "rnn.weight_hh_l7 4096 × 1024 rows 1–1024 W_hi_l7",
    ] {
        let flat = huge.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains(part), "{part}: {huge}");
    }
    for (flag, value) in [("--step", Some("1")), ("--full", None)] {
        let args = ["explain", "--only", "shapes", flag];
        let args: Vec<&str> = args.into_iter().chain(value).collect();
        assert_refused_once(folder.path(), &args, &[flag, "leave one out"]);
    }
}

/// Work that takes more than a second says what it does, beside the result.
#[test]
fn long_work_shows_how_far_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let args = [
        "explain", "--cell", "lstm", "--hidden", "512", "--layers", "2",
    ];
    let shown = elman(folder.path(), &args);
    assert!(shown.status.success());
    assert!(
        text(&shown.stderr).contains("explaining: "),
        "{}",
        text(&shown.stderr)
    );
    assert!(!text(&shown.stdout).contains("explaining: "));
    assert_eq!(
        text(&elman(folder.path(), &["explain", "--only", "shapes"]).stderr),
        ""
    );
}

/// A flag that would change nothing is refused, and no file is written.
#[test]
fn no_flag_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let flags: [&[&str]; 4] = [
        &["--step", "2"],
        &["--full"],
        &["--only", "forward"],
        &["--check"],
    ];
    for flag in flags {
        let json = [&["explain", "--json"], flag].concat();
        let parts = [&format!("{}: ", flag[0]), "--json always prints all of it"];
        assert_refused_once(folder.path(), &json, &parts);
        if flag == ["--check"] {
            continue;
        }
        let html = [&["explain", "--html", "new.html"], flag].concat();
        let parts = [&format!("{}: ", flag[0]), "--html always has all of it"];
        assert_refused_once(folder.path(), &html, &parts);
    }
    // The page and the check go together.
    let both = elman(folder.path(), &["explain", "--html", "new.html", "--check"]);
    assert!(both.status.success(), "{}", text(&both.stderr));
    let lines: Vec<&str> = text(&both.stdout).lines().collect();
    assert_eq!(lines[0], "wrote new.html");
    let last = lines[lines.len() - 1];
    assert!(last.starts_with("largest relative difference: "), "{last}");
    assert!(folder.path().join("new.html").is_file());
    // Another seed draws other parameters; a model file draws none.
    let drawn = |seed: &str| {
        let shown = elman(folder.path(), &["explain", "--json", "--seed", seed]);
        let trace: Value = serde_json::from_slice(&shown.stdout).unwrap();
        (
            trace["about"]["seed"].clone(),
            trace["about"]["loss"].clone(),
        )
    };
    assert_eq!(drawn("7").0, 7);
    assert_ne!(drawn("7").1, drawn("0").1);
    let model = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../fixtures/torch/files/gru.pt"
    );
    let args = [
        "explain", model, "--seed", "0", "--input", "1", "--target", "1",
    ];
    assert_refused_once(folder.path(), &args, &["--seed: the model file"]);
}

/// Training that leaves the finite numbers says so, in the terminal and the page.
#[test]
fn steps_that_end_early_say_why() {
    let folder = tempfile::tempdir().unwrap();
    let shown = elman(folder.path(), &["explain", "--lr", "1e10"]);
    assert!(shown.status.success(), "{}", text(&shown.stderr));
    let flat = text(&shown.stdout).split_whitespace().collect::<Vec<_>>();
    let flat = flat.join(" ");
    assert!(flat.contains("Training ends after "), "{flat}");
    assert!(flat.contains("A smaller --lr goes on."), "{flat}");
    let json = elman(folder.path(), &["explain", "--lr", "1e10", "--json"]);
    let trace: Value = serde_json::from_slice(&json.stdout).unwrap();
    let note = &trace["about"]["notes"][0];
    assert_eq!(note["key"], "note_ended");
    let recorded = trace["training"].as_array().unwrap().len();
    assert_eq!(note["values"]["n"], (recorded - 1).to_string());
}

/// Every number and step of --full has one minus sign, as many digits as can be
/// read, and brackets where it is negative inside of a formula.
#[test]
fn full_shows_all_of_it_in_readable_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let steps: Vec<String> = (1..=30).map(|x| (10 + x * 7 % 50).to_string()).collect();
    let args = ["explain", "--hidden", "1", "--input", &steps.join(" ")];
    let args = [&args[..], &["--target", "40", "--readout", "last-state"]].concat();
    let short = elman(folder.path(), &args);
    assert!(text(&short.stdout).contains("One of 2 steps is shown; --full shows all 30."));
    let full = elman(folder.path(), &[&args[..], &["--full"]].concat());
    let full = text(&full.stdout);
    assert!(!full.contains("steps is shown"));
    let rows = full
        .lines()
        .filter(|l| l.contains("   healthy") || l.contains("   vanishing"));
    assert_eq!(rows.count(), 30);
    assert_eq!(
        full.lines().filter(|l| l.starts_with("  after ")).count(),
        61
    );
    for line in full.lines() {
        // Names of flags and PyTorch's names have hyphens.
        if !line.contains("--") && !line.contains("many-to-one") {
            assert!(!line.contains('-'), "{line}");
        }
        for bare in ["+ −", "· −", "− −"] {
            assert!(!line.contains(bare), "{line}");
        }
        for word in line.split([' ', '(', ')', '[', ']']) {
            let digits = word.chars().filter(char::is_ascii_digit).count();
            assert!(digits <= 8 || word.parse::<f64>().is_err(), "{line}");
        }
    }
}

/// Networks whose numbers are not explained: what they are, and the way to one
/// layer of them.
#[test]
fn other_networks_are_refused_with_a_way_to_one_layer() {
    let folder = tempfile::tempdir().unwrap();
    let recurrent = RecurrentConfig::new(CellKind::Gru, 1, 2);
    let encoder = NetworkConfig::EncoderDecoder(EncoderDecoderConfig {
        recurrent: recurrent.clone(),
        known: 0,
        outputs: 1,
        steps: 2,
    });
    let layer = |prefix: &str, layer| NamedLayer {
        prefix: prefix.to_owned(),
        layer,
    };
    let chain = NetworkConfig::Chain(ChainConfig {
        layers: vec![
            layer("memory", ChainLayer::Recurrent(recurrent)),
            layer(
                "last",
                ChainLayer::Linear {
                    in_features: 2,
                    out_features: 1,
                    bias: true,
                },
            ),
        ],
    });
    for (config, what, prefix) in [
        (encoder, "an encoder and a decoder", "encoder."),
        (chain, "a chain of layers", "memory."),
    ] {
        let params: Params<f32> = config.clone().build().unwrap().init(1);
        let model = Model::new(config, vec![params], Value::Null).unwrap();
        let path = folder.path().join("model.safetensors");
        fs::write(path, model.to_bytes().unwrap()).unwrap();
        let args = ["explain", "model.safetensors", "--input", "1 2", "--target"];
        let args = [&args[..], &["1 2"]].concat();
        let mend = format!("n.removeprefix(\"{prefix}\")");
        assert_refused_once(folder.path(), &args, &[what, &mend, "layer.safetensors"]);
        // What the mend writes is explained.
        let bytes = fs::read(folder.path().join("model.safetensors")).unwrap();
        let file = TensorFile::read(&bytes).unwrap();
        let own = file.names().into_iter().filter_map(|name| {
            let short = name.strip_prefix(prefix)?.to_owned();
            Some((short, file.get::<f32>(name).unwrap().unwrap()))
        });
        let own: Vec<(String, ArrayD<f32>)> = own.collect();
        let views = own.iter().map(|(name, array)| (name.clone(), array.view()));
        let layer = write_tensors(views, None).unwrap();
        fs::write(folder.path().join("layer.safetensors"), layer).unwrap();
        let args = [
            "explain",
            "layer.safetensors",
            "--input",
            "1 2",
            "--target",
            "1 2",
        ];
        let shown = elman(folder.path(), &args);
        assert!(shown.status.success(), "{}", text(&shown.stderr));
    }
}

/// A forecaster over the newest window of a table whose next steps are known:
/// it predicts there what `elman predict` says of the rows before them.
#[test]
fn a_forecaster_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let table = |rows: usize, missing: Option<usize>| {
        let value = |i: usize| 50.0 + 20.0 * (i as f64 / 2.0).sin() + (i % 5) as f64;
        let rows = (0..rows).map(|i| match missing == Some(i) {
            true => format!("{i},\n"),
            false => format!("{i},{}\n", value(i)),
        });
        format!("t,y\n{}", rows.collect::<String>())
    };
    fs::write(folder.path().join("all.csv"), table(120, None)).unwrap();
    let quick = "--horizon 3 --look-back 6 --hidden-size 8 --epochs 2 --members 1 --loss huber";
    let quick: Vec<&str> = quick.split(' ').collect();
    let args = [&["forecast", "all.csv", "--target", "y"], quick.as_slice()].concat();
    let made = elman(folder.path(), &args);
    assert!(made.status.success(), "{}", text(&made.stderr));
    // Where the newest value is missing, the newest window ends a step earlier.
    for (missing, origin) in [(None, 117), (Some(119), 116)] {
        fs::write(folder.path().join("new.csv"), table(120, missing)).unwrap();
        fs::write(folder.path().join("before.csv"), table(origin, None)).unwrap();
        let explain = ["explain", "model.safetensors", "--input", "new.csv"];
        let shown = elman(folder.path(), &[&explain[..], &["--json"]].concat());
        assert!(shown.status.success(), "{}", text(&shown.stderr));
        let trace: Value = serde_json::from_slice(&shown.stdout).unwrap();
        // The chapter on the JSON tells what is there.
        assert_eq!(untold(&trace), BTreeSet::new());
        let there = paths(&trace);
        let of_files = ["/about/forecast/", "/connectivity/beside/", "/about/notes"];
        let known = told().into_iter();
        let mut known = known.filter(|p| of_files.iter().any(|b| p.starts_with(b)));
        assert_eq!(known.find(|p| !there.contains(p)), None);
        let about = &trace["about"];
        assert_eq!(about["step_names"][6], origin.to_string());
        assert_eq!(trace["heat"].as_array().unwrap().len(), 5);
        assert_eq!(trace["norms"][0]["steps"].as_array().unwrap().len(), 9);
        let connectivity = &trace["connectivity"];
        assert_eq!(connectivity["rows"][2].as_array().unwrap().len(), 9);
        assert_eq!(connectivity["outputs"][0], "ŷ^7");
        let beside = &connectivity["beside"];
        assert_eq!(
            beside["rows"][0].as_array().unwrap().len(),
            beside["names"].as_array().unwrap().len()
        );
        let notes: Vec<&str> = about["notes"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|n| n["text"].as_str())
            .collect();
        assert!(notes.iter().any(|n| n.contains("loss huber")), "{notes:?}");
        let units = notes.iter().find_map(|n| n.split_once("(y − ")).unwrap().1;
        let (centre, spread) = units.trim_end_matches('.').split_once(") / ").unwrap();
        let (centre, spread): (f64, f64) = (centre.parse().unwrap(), spread.parse().unwrap());
        let forecast = &about["forecast"];
        assert_eq!(forecast["name"], "y");
        for (name, x) in [("centre", centre), ("spread", spread)] {
            let own = forecast[name].as_f64().unwrap();
            assert!((own - x).abs() <= 1e-4 * x.abs(), "{name}: {own}, {x}");
        }
        let known = forecast["known"].as_array().unwrap();
        assert_eq!(
            known.len() + 3,
            about["step_names"].as_array().unwrap().len()
        );
        let predict = ["predict", "model.safetensors", "before.csv", "--json"];
        let predicted = elman(folder.path(), &predict);
        let predicted: Value = serde_json::from_slice(&predicted.stdout).unwrap();
        for k in 0..3 {
            let own = about["prediction"][k].as_f64().unwrap();
            let value = predicted["forecast"][k]["value"].as_f64().unwrap();
            assert!((own - value).abs() < 1e-3, "{own}, predict {value}");
        }
    }
    let page = elman(
        folder.path(),
        &[
            "explain",
            "model.safetensors",
            "--input",
            "new.csv",
            "--html",
            "page.html",
        ],
    );
    assert!(page.status.success(), "{}", text(&page.stderr));
    let terminal = elman(
        folder.path(),
        &["explain", "model.safetensors", "--input", "new.csv"],
    );
    for part in [
        "% saturated",
        "dL/dh: ",
        "through the skip connection",
        "Steps 1 to 6 are the window that is known, from 110 to 115",
    ] {
        assert!(text(&terminal.stdout).contains(part), "{part}");
    }
    fs::write(folder.path().join("few.csv"), table(8, None)).unwrap();
    let refused: [(&[&str], &[&str]); 4] = [
        (&[], &["--input", "column y"]),
        (&["--input", "1 2"], &["--input", "column y"]),
        (
            &["--input", "new.csv", "--target", "1"],
            &["--target", "leave it out"],
        ),
        (&["--input", "few.csv"], &["few.csv", "too few rows"]),
    ];
    for (flags, parts) in refused {
        let args = [&["explain", "model.safetensors"], flags].concat();
        assert_refused_once(folder.path(), &args, parts);
    }
}

/// What PyTorch saves: a layer alone, whose last state is the prediction, and a
/// layer with a head, whatever they are called.
#[test]
fn pytorchs_layers_are_explained() {
    let folder = tempfile::tempdir().unwrap();
    let files = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/torch/files");
    let json = |args: &[&str]| -> Value {
        let shown = elman(folder.path(), &[&["explain", "--json"], args].concat());
        assert!(shown.status.success(), "{}", text(&shown.stderr));
        serde_json::from_slice(&shown.stdout).unwrap()
    };
    let input = ["--input", "0.1 0.2, 0.3 -0.1, -0.2 0.5"];
    let x =
        ArrayD::from_shape_vec(vec![3, 1, 2], vec![0.1_f32, 0.2, 0.3, -0.1, -0.2, 0.5]).unwrap();
    let arrays = write_tensors([("input".to_owned(), x.view())], None).unwrap();
    for name in ["gru.pt", "rnn.pt", "deep.pt"] {
        let path = format!("{files}/{name}");
        let model = fs::read(&path).unwrap();
        let ran = elman::run::run(&model, &arrays, &Default::default()).unwrap();
        let ran = TensorFile::read(&ran.bytes).unwrap();
        let get = |name: &str| ran.get::<f32>(name).unwrap().unwrap();
        // The last layer's final states; output[-1] has another one of the reverse
        // direction.
        let (width, h_n) = (get("output").shape()[2], get("h_n"));
        let last: Vec<f32> = h_n.iter().copied().skip(h_n.len() - width).collect();
        let target = vec!["1"; last.len()].join(" ");
        let trace = json(&[&[path.as_str()], &input[..], &["--target", &target]].concat());
        for (k, state) in last.iter().enumerate() {
            let own = trace["about"]["prediction"][k].as_f64().unwrap();
            assert!(
                (own - f64::from(*state)).abs() < 1e-6,
                "{name}: {own} {state}"
            );
        }
        assert!(
            trace["about"]["notes"][0]["text"]
                .as_str()
                .unwrap()
                .contains("the prediction is the last state itself")
        );
        // No head is trained, nor has it parameters; the layer's are.
        for part in ["shapes", "code", "landscape", "values"] {
            assert!(!trace[part].to_string().contains("head"), "{name} {part}");
        }
        let own = trace["shapes"].as_array().unwrap().iter();
        let own = own.filter(|s| s["name"].as_str().unwrap().starts_with("rnn."));
        let numbers = |s: &Value| {
            let sides = s["shape"].as_array().unwrap().iter();
            sides.map(|n| n.as_u64().unwrap()).product::<u64>()
        };
        let parameters = own.map(numbers).sum::<u64>();
        assert_eq!(trace["about"]["parameters"], parameters, "{name}");
        let loss = |k: usize| trace["training"][k]["loss"].as_f64().unwrap();
        assert!(loss(60) < loss(0), "{name}");
    }
    // A layer and its head as a module of one's own names them.
    let config = RecurrentConfig::new(CellKind::Lstm, 2, 3);
    let layer = elman::layer::Recurrent::<f32>::new(&config, 3).unwrap();
    let layout = layer.params().layout().clone();
    let own = |columns: usize, extra: bool| {
        let mut tensors: Vec<(String, ArrayD<f32>)> = Vec::new();
        for entry in layout.entries() {
            let values = layer.params().values()[entry.range.clone()].to_vec();
            let array = ArrayD::from_shape_vec(entry.shape.clone(), values).unwrap();
            tensors.push((format!("encoder.{}", entry.name), array));
        }
        tensors.push(("fc.weight".into(), ArrayD::from_elem(vec![1, columns], 0.5)));
        if extra {
            tensors.push(("norm.running_mean".into(), ArrayD::zeros(vec![3])));
        }
        let views = tensors
            .iter()
            .map(|(name, array)| (name.clone(), array.view()));
        fs::write(
            folder.path().join("own.safetensors"),
            write_tensors(views, None).unwrap(),
        )
        .unwrap();
    };
    for (columns, said) in [(3, "last state"), (9, "all steps")] {
        own(columns, false);
        let args = [&["own.safetensors"], &input[..], &["--target", "1"]].concat();
        let notes = json(&args)["about"]["notes"].to_string();
        assert!(notes.contains(said) && notes.contains("no bias"), "{notes}");
    }
    // The head reads every step where that is asked for; so do states without one.
    let many = ["--configuration", "many-to-many"];
    own(3, false);
    let args = [
        &["own.safetensors"],
        &input[..],
        &many,
        &["--target", "1; 2; 3"],
    ]
    .concat();
    let trace = json(&args);
    assert_eq!(trace["about"]["configuration"], "many-to-many");
    assert_eq!(trace["about"]["prediction"].as_array().unwrap().len(), 3);
    assert!(trace["code"].as_str().unwrap().contains("head(output[0])"));
    let gru = format!("{files}/gru.pt");
    let target = "0 0 0; 0 0 0; 0 0 0";
    let wide = json(&[&[gru.as_str()], &input[..], &many, &["--target", target]].concat());
    let model = fs::read(&gru).unwrap();
    let ran = elman::run::run(&model, &arrays, &Default::default()).unwrap();
    let output = TensorFile::read(&ran.bytes).unwrap();
    let output = output.get::<f32>("output").unwrap().unwrap();
    let predicted = wide["about"]["prediction"].as_array().unwrap();
    assert_eq!(predicted.len(), output.len());
    for (own, state) in predicted.iter().zip(&output) {
        assert!((own.as_f64().unwrap() - f64::from(*state)).abs() < 1e-6);
    }
    let refused = |args: &[&str], parts: &[&str]| {
        let args = [&["explain"], args, &input[..], &["--target", "1"]].concat();
        assert_refused_once(folder.path(), &args, parts);
    };
    own(5, false);
    refused(
        &["own.safetensors"],
        &["fc.weight", "axis 1", "expected 3", "3 * 3", "got 5"],
    );
    refused(
        &["own.safetensors", many[0], many[1]],
        &["fc.weight", "axis 1", "expected 3", "every step", "got 5"],
    );
    refused(
        &["own.safetensors", many[0], "one-to-many"],
        &["--configuration: expected many-to-one or many-to-many"],
    );
    own(3, true);
    refused(&["own.safetensors"], &["norm.running_mean", "elman run"]);
    refused(
        &["own.safetensors", "--nonlinearity", "relu"],
        &["--nonlinearity"],
    );
    let several = format!("{files}/../../../examples/checkpoint/model.pt");
    refused(
        &[&several],
        &[
            "`encoder`, `rnn`, `decoder`",
            "elman run",
            "torch.save(model.rnn.state_dict(), \"rnn.pt\")",
        ],
    );
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

/// Weights of two bytes and of one: the numbers explained are those that the file
/// stands for, and the code makes them of it.
#[test]
fn weights_in_fewer_bytes_are_explained_as_what_they_stand_for() {
    let folder = tempfile::tempdir().unwrap();
    let config = NetworkConfig::Sequence(SequenceConfig {
        recurrent: RecurrentConfig::new(CellKind::Gru, 1, 32),
        readout: Readout::LastState,
        outputs: 1,
        head_dropout: 0.0,
        skip: None,
    });
    let params: Params<f32> = config.clone().build().unwrap().init(7);
    let model = Model::new(config, vec![params], Value::Null).unwrap();
    let bytes = model.to_bytes().unwrap();
    fs::write(folder.path().join("full.safetensors"), bytes).unwrap();
    for (dtype, near, scaled) in [("bf16", 1e-2, false), ("int8", 1e-1, true)] {
        let own = format!("{dtype}.safetensors");
        let args = ["convert", "full.safetensors", &own, "--dtype", dtype];
        let made = elman(folder.path(), &args);
        assert!(made.status.success(), "{}", text(&made.stderr));
        // The same numbers in f32.
        let wide = format!("{dtype}_wide.safetensors");
        let args = ["convert", &own, &wide, "--dtype", "f32"];
        let made = elman(folder.path(), &args);
        assert!(made.status.success(), "{}", text(&made.stderr));
        let json = |file: &str| -> Value {
            let args = [
                "explain", file, "--input", "0.1 0.2", "--target", "0.4", "--json",
            ];
            let shown = elman(folder.path(), &args);
            assert!(shown.status.success(), "{}", text(&shown.stderr));
            serde_json::from_slice(&shown.stdout).unwrap()
        };
        let [few, same, full] = [own.as_str(), &wide, "full.safetensors"].map(json);
        assert_eq!(few["about"]["loss"], same["about"]["loss"], "{dtype}");
        assert_eq!(few["heat"], same["heat"], "{dtype}");
        let prediction = |t: &Value| t["about"]["prediction"][0].as_f64().unwrap();
        assert!(
            (prediction(&few) - prediction(&full)).abs() < near,
            "{dtype}"
        );
        assert_ne!(prediction(&few), prediction(&full), "{dtype}");
        let code = few["code"].as_str().unwrap();
        let line = match scaled {
            true => "        p.copy_(scaled(name if name in weights else \"0.\" + name))\n",
            false => "        p.copy_(weights[name if name in weights else \"0.\" + name])\n",
        };
        assert!(code.contains(line), "{code}");
        let times = "weights[name].float() * scale[:, None]";
        assert_eq!(code.contains(times), scaled, "{code}");
    }
}

/// Where the parameters are too many to be spelled out, the code reads them from
/// the file that was given, by the file's own names.
#[test]
fn the_code_of_a_large_model_reads_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let code = |args: &[&str]| -> String {
        let shown = elman(folder.path(), &[&["explain", "--json"], args].concat());
        assert!(shown.status.success(), "{}", text(&shown.stderr));
        let trace: Value = serde_json::from_slice(&shown.stdout).unwrap();
        trace["code"].as_str().unwrap().to_owned()
    };
    let config = RecurrentConfig::new(CellKind::Gru, 1, 32);
    let layer = elman::layer::Recurrent::<f32>::new(&config, 3).unwrap();
    let tensors: Vec<(String, ArrayD<f32>)> = layer
        .params()
        .layout()
        .entries()
        .iter()
        .map(|e| {
            let values = layer.params().values()[e.range.clone()].to_vec();
            let array = ArrayD::from_shape_vec(e.shape.clone(), values).unwrap();
            (format!("encoder.{}", e.name), array)
        })
        .collect();
    let views = tensors.iter().map(|(name, a)| (name.clone(), a.view()));
    let bytes = write_tensors(views, None).unwrap();
    fs::write(folder.path().join("wide.safetensors"), bytes).unwrap();
    let converted = elman(folder.path(), &["convert", "wide.safetensors", "wide.pt"]);
    assert!(converted.status.success(), "{}", text(&converted.stderr));
    let target = vec!["1"; 32].join(" ");
    let given = ["--input", "0.1 0.2", "--target", &target];
    let own = code(
        &[
            &["wide.safetensors"],
            &given[..],
            &["--set", "weight_hh_l0[1,2]=0.5"],
        ]
        .concat(),
    );
    for part in [
        "load_file(\"wide.safetensors\")",
        "params[\"rnn.weight_hh_l0\"].copy_(weights[\"encoder.weight_hh_l0\"])",
        "prediction = h_n[-1]\n",
        "params[\"rnn.weight_hh_l0\"][1, 2] = 0.5\n",
    ] {
        assert!(own.contains(part), "{part}: {own}");
    }
    // The file's own names set numbers, counted from 0 as PyTorch's, and are shown.
    let set = "encoder.weight_hh_l0[1,2]=0.5";
    let again = code(&[&["wide.safetensors"], &given[..], &["--set", set]].concat());
    assert_eq!(own, again);
    let shapes = ["explain", "wide.safetensors", "--only", "shapes"];
    let shown = elman(folder.path(), &[&shapes[..], &given].concat());
    assert!(text(&shown.stdout).contains("      in the file encoder.weight_hh_l0\n"));
    let unknown = [
        &["explain", "wide.safetensors"],
        &given[..],
        &["--set", "x=1"],
    ]
    .concat();
    let parts = ["W_hz", "by the file's names encoder.weight_ih_l0, encoder"];
    assert_refused_once(folder.path(), &unknown, &parts);
    let torchs = code(&[&["wide.pt"], &given[..]].concat());
    assert!(torchs.contains("torch.load(\"wide.pt\", "), "{torchs}");
    assert!(!torchs.contains("load_file"), "{torchs}");
    // PyTorch draws all but the number that was set.
    let drawn = code(&["--hidden", "64", "--set", "weight_hh_l0[1,2]=0.5"]);
    assert!(
        drawn.contains("torch.manual_seed(0)") && !drawn.contains("load"),
        "{drawn}"
    );
    assert!(
        drawn.contains("params[\"rnn.weight_hh_l0\"][1, 2] = 0.5\n"),
        "{drawn}"
    );
}
