//! Weights files through the program: run, inspect, convert; what is wrong is
//! refused with one line, and nothing is written.

mod common;

use common::{assert_refused_once, elman, text};
use elman::cell::CellKind;
use elman::layer::RecurrentConfig;
use elman::network::{Network, NetworkConfig, Readout, SequenceConfig};
use elman::weights::Model;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Output;
use tempfile::TempDir;

type Tensors<'a> = Vec<(&'a str, &'a [usize])>;

/// A file of f32 numbers.
fn file(tensors: &Tensors<'_>) -> Vec<u8> {
    let data: Vec<u8> = (0..4096_u16)
        .flat_map(|i| (f32::from(i % 17) / 20.0 - 0.4).to_le_bytes())
        .collect();
    let views = tensors.iter().map(|(name, shape)| {
        let bytes = &data[..4 * shape.iter().product::<usize>()];
        let view = TensorView::new(Dtype::F32, shape.to_vec(), bytes).unwrap();
        (*name, view)
    });
    safetensors::serialize(views, None).unwrap()
}

const NET: &str = "\
[[layer]]
type = \"embedding\"
prefix = \"encoder\"

[[layer]]
type = \"gru\"
prefix = \"rnn\"

[[layer]]
type = \"linear\"
prefix = \"decoder\"
";

/// A folder with a network, what it reads, and a bare layer in a checkpoint.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    let net: Tensors<'_> = vec![
        ("encoder.weight", &[7, 3]),
        ("rnn.weight_ih_l0", &[12, 3]),
        ("rnn.weight_hh_l0", &[12, 4]),
        ("rnn.bias_ih_l0", &[12]),
        ("rnn.bias_hh_l0", &[12]),
        ("decoder.weight", &[7, 4]),
        ("decoder.bias", &[7]),
    ];
    write("net.safetensors", &file(&net));
    write("net.toml", NET.as_bytes());
    let indices: Vec<u8> = [0_i64, 6, 3, 1, 5, 2]
        .iter()
        .flat_map(|n| n.to_le_bytes())
        .collect();
    let indices = TensorView::new(Dtype::I64, vec![3, 2], &indices).unwrap();
    write(
        "in.safetensors",
        &safetensors::serialize([("input", indices)], None).unwrap(),
    );
    write("x.safetensors", &file(&vec![("input", &[4, 1, 2])]));
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/torch/files");
    for name in ["checkpoint.pt", "gru.pt", "attack.pt", "module_legacy.pt"] {
        write(name, &fs::read(fixtures.join(name)).unwrap());
    }
    folder
}

fn done(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout).lines().count(), 1);
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_declared_network_runs() {
    let folder = folder();
    let args = [
        "run",
        "net.safetensors",
        "--network",
        "net.toml",
        "--input",
        "in.safetensors",
    ];
    let run = |more: &[&str]| elman(folder.path(), &[&args, more].concat());
    let object = done(&run(&["--output", "out.safetensors", "--trace", "--json"]));
    assert_eq!(object["notes"], serde_json::json!([]));
    let out = fs::read(folder.path().join("out.safetensors")).unwrap();
    let out = SafeTensors::deserialize(&out).unwrap();
    assert_eq!(out.tensor("output").unwrap().shape(), [3, 2, 7]);
    assert_eq!(out.tensor("h_n").unwrap().shape(), [1, 2, 4]);
    assert_eq!(out.tensor("trace.l0.hn").unwrap().shape(), [3, 2, 4]);
}

#[test]
fn notes_go_to_standard_error() {
    let folder = folder();
    let args = [
        "run",
        "checkpoint.pt",
        "--input",
        "x.safetensors",
        "--output",
        "out.safetensors",
    ];
    for (more, said) in [(&[][..], true), (&["--json"], true), (&["--quiet"], false)] {
        let output = elman(folder.path(), &[&args, more].concat());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let note = "model: the tensors at `model_state_dict` are read";
        assert_eq!(text(&output.stderr).contains(note), said, "{more:?}");
        assert!(!text(&output.stdout).contains(note) || more.contains(&"--json"));
    }
}

#[test]
fn a_converted_file_is_the_same() {
    let folder = folder();
    let at = folder.path();
    let convert = |args: &[&str]| elman(at, &[&["convert"], args].concat());
    let object = done(&convert(&[
        "net.safetensors",
        "net.pt",
        "--network",
        "net.toml",
        "--json",
    ]));
    assert_eq!(object["bit_for_bit"], true);
    assert_eq!(object["tensors"].as_array().unwrap().len(), 7);
    assert_eq!(object["outputs"]["largest_absolute"], 0.0);
    let verdict = "The same: 7 tensors, bit for bit, and so are the outputs.";
    assert_eq!(object["verdict"], verdict);

    // Back: the bytes that it was made of, but for the metadata.
    let output = convert(&["net.pt", "new/back.safetensors", "--network", "net.toml"]);
    assert_eq!(
        text(&output.stdout).lines().last(),
        Some(verdict),
        "{}",
        text(&output.stderr)
    );
    let (ours, theirs) = (
        fs::read(at.join("new/back.safetensors")).unwrap(),
        fs::read(at.join("net.safetensors")).unwrap(),
    );
    let (ours, theirs) = (
        SafeTensors::deserialize(&ours).unwrap(),
        SafeTensors::deserialize(&theirs).unwrap(),
    );
    for (name, tensor) in theirs.tensors() {
        assert_eq!(ours.tensor(&name).unwrap().data(), tensor.data());
    }

    let args = [
        "gru.pt",
        "half.pth",
        "--dtype",
        "bf16",
        "--prefix-add",
        "model.rnn.",
    ];
    let object = done(&convert(&[&args[..], &["--json"]].concat()));
    assert_eq!(object["bit_for_bit"], false);
    assert_eq!(object["tensors"][0]["renamed"], "model.rnn.weight_ih_l0");
    assert_eq!(object["tensors"][0]["to"], "BF16");
    let differs = object["outputs"]["largest_absolute"].as_f64().unwrap();
    assert!(differs > 0.0 && differs < 0.01);
    assert!(
        object["verdict"]
            .as_str()
            .unwrap()
            .starts_with("Rounded: 4 of 4 tensors differ, at the worst by")
    );

    let again = convert(&["gru.pt", "half.pth"]);
    assert_eq!(again.status.code(), Some(2));
    assert!(text(&again.stderr).contains("--force"));
    let forced = convert(&["gru.pt", "half.pth", "--force", "--quiet"]);
    assert_eq!(text(&forced.stdout).lines().count(), 1);
    let wide = convert(&["half.pth", "wide.safetensors", "--dtype", "f32", "--quiet"]);
    assert!(text(&wide.stdout).starts_with("The same: 4 tensors, bit for bit"));
}

#[test]
fn a_forecaster_keeps_its_metadata_where_there_is_a_place() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let rows: String = (1..=80).map(|i| format!("{i},{}\n", i % 5)).collect();
    fs::write(at.join("t.csv"), format!("t,y\n{rows}")).unwrap();
    let forecast = [
        "forecast",
        "t.csv",
        "--target",
        "y",
        "--horizon",
        "3",
        "--epochs",
        "1",
        "--hidden-size",
        "2",
        "--members",
        "2",
        "--layers",
        "2",
        "--quiet",
    ];
    assert!(elman(at, &forecast).status.success());
    // The cost of a forecast: every step of every member's recurrent layers.
    let object = done(&elman(at, &["inspect", "model.safetensors", "--json"]));
    let layers = object["layers"].as_array().unwrap().iter();
    let recurrent = layers.filter(|l| !l["options"]["recurrent"].is_null());
    let a_step: u64 = recurrent
        .map(|l| l["multiply_adds_per_step"].as_u64().unwrap())
        .sum();
    let model = &object["model"];
    let cost = model["multiply_adds"].as_u64().unwrap();
    let steps = cost / a_step;
    assert_eq!(cost % a_step, 0, "{object}");
    assert!(steps > model["look_back"].as_u64().unwrap(), "{object}");
    let copied = elman(at, &["convert", "model.safetensors", "copy.safetensors"]);
    assert!(
        text(&copied.stdout).contains("and so are the outputs"),
        "{}",
        text(&copied.stderr)
    );
    assert!(
        fs::read(at.join("copy.safetensors")).unwrap()
            == fs::read(at.join("model.safetensors")).unwrap()
    );
    let torch = elman(at, &["convert", "model.safetensors", "model.pt"]);
    assert_eq!(torch.status.code(), Some(0));
    assert!(text(&torch.stderr).contains("the metadata `elman` is left out"));
    assert!(text(&torch.stdout).contains("the model's 2 networks"));
    // In fewer bytes it is still a forecaster, and nearly the same.
    let values = |model: &str| {
        let object = done(&elman(at, &["predict", model, "t.csv", "--json"]));
        let forecast = object["forecast"].as_array().unwrap().clone();
        let value = |row: &Value| row["value"].as_f64().unwrap();
        forecast.iter().map(value).collect::<Vec<_>>()
    };
    let full = values("model.safetensors");
    assert_eq!(full.len(), 3);
    for dtype in ["bf16", "int8"] {
        let small = format!("{dtype}.safetensors");
        let convert = ["convert", "model.safetensors", &small, "--dtype", dtype];
        let proof = done(&elman(at, &[&convert[..], &["--json"]].concat()));
        let differs = proof["outputs"]["largest_absolute"].as_f64().unwrap();
        assert!(differs > 0.0 && differs < 0.1, "{proof}");
        let near = values(&small);
        assert_ne!(near, full);
        for (near, full) in near.iter().zip(&full) {
            assert!((near - full).abs() < 0.1, "{near} {full}");
        }
    }
    // Not a forecaster of this version: what can be read is shown.
    let bytes = fs::read(at.join("model.safetensors")).unwrap();
    let changed = String::from_utf8_lossy(&bytes[..40]).into_owned();
    assert!(changed.contains("elman"));
    let key = b"\\\"kind\\\":\\\"forecast\\\"";
    let place = bytes.windows(key.len()).position(|w| w == key).unwrap();
    let mut other = bytes.clone();
    other[place + 11] = b'F';
    fs::write(at.join("other.safetensors"), other).unwrap();
    let shown = elman(at, &["inspect", "other.safetensors", "--json"]);
    assert!(text(&shown.stderr).contains("not read as a forecaster"));
    let object = done(&shown);
    assert!(object["model"].is_null() && object["parameters"].as_u64() > Some(10));
}

#[test]
fn inspect_counts_what_it_can_infer() {
    let folder = folder();
    let object = done(&elman(
        folder.path(),
        &["inspect", "net.safetensors", "--json"],
    ));
    let layers = object["layers"].as_array().unwrap();
    let types: Vec<_> = layers
        .iter()
        .map(|l| (&l["prefix"], &l["type"], &l["multiply_adds_per_step"]))
        .collect();
    let expected = [
        ("encoder", "embedding", 0),
        ("rnn", "gru", 84),
        ("decoder", "linear", 28),
    ];
    for (got, (prefix, kind, cost)) in types.iter().zip(expected) {
        assert_eq!(*got, (&prefix.into(), &kind.into(), &cost.into()));
    }
    assert_eq!(object["parameters"], 21 + 36 + 48 + 24 + 28 + 7);
    assert_eq!(object["multiply_adds_per_step"], 84 + 28);
    let output = elman(folder.path(), &["inspect", "checkpoint.pt"]);
    assert!(
        text(&output.stdout).contains("lstm 2 -> 3"),
        "{}",
        text(&output.stdout)
    );
}

/// A model file with a network of its own kind.
fn own(change: impl Fn(&mut RecurrentConfig)) -> Vec<u8> {
    let mut recurrent = RecurrentConfig::new(CellKind::Lstm, 2, 3);
    change(&mut recurrent);
    let config = NetworkConfig::Sequence(SequenceConfig {
        recurrent,
        readout: Readout::LastState,
        outputs: 1,
        head_dropout: 0.0,
        skip: None,
    });
    let params = vec![config.build().unwrap().init(0)];
    let model = Model::<f32>::new(config, params, Value::Null).unwrap();
    model.to_bytes().unwrap()
}

#[test]
fn inspect_takes_the_layers_of_its_own_files_from_their_metadata() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("own.safetensors");
    let check = |change: &dyn Fn(&mut RecurrentConfig), width: usize, cost: usize| {
        fs::write(&path, own(change)).unwrap();
        let object = done(&elman(
            folder.path(),
            &["inspect", "own.safetensors", "--json"],
        ));
        let layers = &object["layers"];
        let mut config = RecurrentConfig::new(CellKind::Lstm, 2, 3);
        change(&mut config);
        assert_eq!(
            layers[0]["options"]["recurrent"],
            serde_json::to_value(&config).unwrap()
        );
        assert_eq!(
            (&layers[0]["prefix"], &layers[0]["type"]),
            (&"rnn".into(), &"lstm".into())
        );
        assert_eq!(layers[0]["multiply_adds_per_step"], cost);
        assert_eq!(layers[1]["multiply_adds_per_step"], width);
        assert_eq!(layers[2], Value::Null);
        assert_eq!(object["parameters"], object["numbers"]);
    };
    check(&|c| c.options.coupled = true, 3, 3 * 3 * (2 + 3));
    check(&|c| c.stack.reverse = true, 3, 4 * 3 * (2 + 3));
    let sizes = |c: &mut RecurrentConfig| {
        c.hidden_sizes = vec![3, 5];
        c.stack.num_layers = 2;
    };
    check(&sizes, 5, 4 * 3 * (2 + 3) + 4 * 5 * (3 + 5));
}

/// What cannot be run is converted all the same, and that is said.
#[test]
fn a_model_that_cannot_be_run_is_converted() {
    let folder = folder();
    let at = folder.path();
    let bytes = own(|_| {});
    let key = b"\\\"format\\\":1";
    let place = bytes.windows(key.len()).position(|w| w == key).unwrap();
    let mut newer = bytes.clone();
    newer[place + key.len() - 1] = b'2';
    fs::write(at.join("newer.safetensors"), newer).unwrap();
    let mut damaged = bytes;
    damaged[place + 2] = b'F';
    fs::write(at.join("damaged.safetensors"), damaged).unwrap();
    let part: Tensors<'_> = vec![
        ("weight_ih_l0", &[12, 3]),
        ("weight_hh_l0", &[12, 4]),
        ("weight_ih_l1", &[12, 4]),
        ("weight_hh_l1", &[9, 4]),
    ];
    fs::write(at.join("part.safetensors"), file(&part)).unwrap();
    for (name, words) in [
        ("newer", "use the version that wrote the file"),
        ("damaged", "unknown field `Format`"),
        ("part", "weight_hh_l1: expected shape [12, 4], got [9, 4]"),
    ] {
        let (input, output) = (format!("{name}.safetensors"), format!("{name}.pt"));
        let output = elman(at, &["convert", &input, &output, "--json"]);
        let object = done(&output);
        assert_eq!(object["bit_for_bit"], true);
        assert_eq!(object["outputs"], Value::Null);
        let notes = object["notes"].as_array().unwrap();
        let note = notes.last().unwrap().as_str().unwrap();
        assert!(
            note.starts_with("no outputs are compared") && note.contains(words),
            "{note}"
        );
        assert!(text(&output.stderr).contains(words));
    }
    let declared = "[[layer]]\ntype = \"gru\"\nprefix = \"\"\n";
    fs::write(at.join("gru.toml"), declared).unwrap();
    assert_refused(
        at,
        &[
            "convert",
            "part.safetensors",
            "new/out.pt",
            "--network",
            "gru.toml",
        ],
        &[
            "part.safetensors",
            "weight_hh_l1: expected shape [12, 4], got [9, 4]",
        ],
    );
}

/// Refused with one message of one line that has these parts; no file appears,
/// changes or goes.
fn assert_refused(folder: &Path, args: &[&str], parts: &[&str]) {
    for how in [&[][..], &["--json"], &["--quiet"]] {
        assert_refused_once(folder, &[args, how].concat(), parts);
    }
}

#[test]
fn what_is_wrong_is_refused() {
    let folder = folder();
    let at = folder.path();
    let write = |name: &str, bytes: &[u8]| fs::write(at.join(name), bytes).unwrap();
    let cut = fs::read(at.join("net.safetensors")).unwrap();
    write("cut.safetensors", &cut[..cut.len() - 3]);
    write("bad.toml", NET.replace("linear", "conv").as_bytes());
    write(
        "key.toml",
        NET.replace("prefix = \"rnn\"", "prefix = \"rnn\"\nsize = 4")
            .as_bytes(),
    );
    write("near.toml", NET.replace("\"rnn\"", "\"rmn\"").as_bytes());
    write("lstm.toml", NET.replace("gru", "lstm").as_bytes());
    write(
        "less.toml",
        NET.split("\n\n")
            .take(2)
            .collect::<Vec<_>>()
            .join("\n\n")
            .as_bytes(),
    );
    write("latin.toml", b"[[layer]] # \xe9");
    fs::create_dir(at.join("folder.pt")).unwrap();
    let run = |model: &str, network: &str, parts: &[&str]| {
        let args = [
            "run",
            model,
            "--network",
            network,
            "--input",
            "in.safetensors",
            "--output",
            "out.safetensors",
        ];
        assert_refused(at, &args, parts);
    };
    run(
        "net.safetensors",
        "bad.toml",
        &["--network bad.toml: line 10: unknown type `conv`; known are embedding, rnn"],
    );
    run(
        "net.safetensors",
        "key.toml",
        &["key.toml: line 8: unknown field `size`", "`prefix`"],
    );
    run(
        "net.safetensors",
        "near.toml",
        &["rmn.weight_hh_l0", "did you mean prefix = \"rnn\"?"],
    );
    run("net.safetensors", "lstm.toml", &["suggests a GRU"]);
    run(
        "net.safetensors",
        "less.toml",
        &["decoder.", "declare a layer with prefix `decoder`"],
    );
    run(
        "net.safetensors",
        "latin.toml",
        &["latin.toml", "not UTF-8"],
    );
    run(
        "net.safetensors",
        "missing.toml",
        &["missing.toml: there is no such file"],
    );
    run(
        "net.safetensors",
        "folder.pt",
        &["folder.pt: expected a file with a few lines"],
    );
    run(
        "cut.safetensors",
        "net.toml",
        &["cut.safetensors", "was it cut off?"],
    );
    run("attack.pt", "net.toml", &["attack.pt", "os.system"]);
    let bare = [
        "run",
        "net.safetensors",
        "--input",
        "in.safetensors",
        "--output",
        "out.safetensors",
    ];
    assert_refused(
        at,
        &bare,
        &["--network", "{ type = \"gru\", prefix = \"rnn\" }"],
    );
    let flags = [
        "run",
        "net.safetensors",
        "--network",
        "net.toml",
        "--cell",
        "gru",
        "--input",
        "in.safetensors",
        "--output",
        "out.safetensors",
    ];
    assert_refused(at, &flags, &["--cell", "leave the flag out"]);
    let same = [
        "run",
        "net.safetensors",
        "--network",
        "net.toml",
        "--input",
        "in.safetensors",
        "--output",
        "net.toml",
    ];
    assert_refused(at, &same, &["net.toml", "the file of --network"]);

    let convert = |args: &[&str], parts: &[&str]| {
        assert_refused(at, &[&["convert"], args].concat(), parts);
    };
    convert(
        &["net.safetensors", "net.onnx"],
        &["net.onnx", ".safetensors, .pt or .pth"],
    );
    convert(&["net.safetensors", "net"], &["does not tell the format"]);
    convert(&["net.safetensors", "gru.pt"], &["gru.pt", "--force"]);
    convert(
        &["net.safetensors", "net.safetensors", "--force"],
        &["the file of IN"],
    );
    convert(
        &["net.safetensors", "folder.pt", "--force"],
        &["folder.pt", "this is a folder"],
    );
    convert(&["missing.pt", "out.pt"], &["missing.pt", "no such file"]);
    convert(
        &["attack.pt", "out.safetensors"],
        &["attack.pt", "os.system"],
    );
    convert(
        &["module_legacy.pt", "out.safetensors"],
        &["torch.nn.modules.rnn.GRU"],
    );
    convert(&["cut.safetensors", "new/out.pt"], &["was it cut off?"]);
    convert(
        &["net.toml", "out.pt"],
        &["net.toml", "not a safetensors file"],
    );
    convert(
        &["net.safetensors", "out.pt", "--prefix-strip", "model."],
        &["does not begin with `model.`"],
    );
    convert(
        &["net.safetensors", "out.pt", "--network", "near.toml"],
        &["did you mean"],
    );
    convert(&["net.safetensors", "net.toml/out.pt"], &["not a folder"]);
}

/// What a large file begins and ends with is enough to refuse it; no memory
/// would hold these.
#[cfg(unix)]
#[test]
fn large_files_that_are_none_are_refused() {
    let folder = folder();
    let at = folder.path();
    for (name, start, words) in [
        (
            "zip.pt",
            &b"PK\x03\x04"[..],
            "does not end with its directory",
        ),
        ("pickle.pt", b"\x80\x02", "magic number is missing"),
        ("zeros.pt", b"", "not a safetensors file"),
    ] {
        fs::write(at.join(name), start).unwrap();
        let file = fs::OpenOptions::new().write(true).open(at.join(name));
        file.unwrap().set_len(1 << 40).unwrap();
        let output = elman(at, &["inspect", name]);
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.contains(words), "{message}");
    }
}

/// A link to a file stays one; a link to nothing is refused.
#[cfg(unix)]
#[test]
fn an_output_is_written_where_a_link_leads() {
    use std::os::unix::fs::symlink;
    let (folder, other) = (folder(), tempfile::tempdir().unwrap());
    let at = folder.path();
    let target = other.path().join("target");
    fs::write(&target, "old").unwrap();
    symlink(&target, at.join("link.safetensors")).unwrap();
    symlink("nowhere", at.join("dangling.safetensors")).unwrap();
    let to = |out| ["run", "gru.pt", "--input", "x.safetensors", "--output", out];
    let output = elman(at, &to("link.safetensors"));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(at.join("link.safetensors").is_symlink());
    let written = fs::read(&target).unwrap();
    assert!(
        SafeTensors::deserialize(&written)
            .unwrap()
            .tensor("output")
            .is_ok()
    );
    assert_eq!(fs::read_dir(other.path()).unwrap().count(), 1);
    let parts = ["dangling.safetensors", "leads to no file"];
    assert_refused(at, &to("dangling.safetensors"), &parts);
    let convert = ["convert", "gru.pt", "dangling.safetensors"];
    assert_refused(at, &convert, &parts);
}

#[test]
fn inspect_tells_of_the_plain_loop() {
    let folder = tempfile::tempdir().unwrap();
    for layer_norm in [false, true] {
        let mut recurrent = RecurrentConfig::new(CellKind::Gru, 2, 3);
        recurrent.options.layer_norm = layer_norm;
        let config = NetworkConfig::Sequence(SequenceConfig {
            recurrent,
            readout: Readout::LastState,
            outputs: 1,
            head_dropout: 0.0,
            skip: None,
        });
        let params = vec![config.build().unwrap().init(0)];
        let model = Model::<f32>::new(config, params, Value::Null).unwrap();
        let path = folder.path().join("model.safetensors");
        fs::write(path, model.to_bytes().unwrap()).unwrap();
        let object = elman(folder.path(), &["inspect", "model.safetensors", "--json"]);
        let object: Value = serde_json::from_slice(&object.stdout).unwrap();
        assert_eq!(object["plain_loop"], layer_norm);
        let shown = elman(folder.path(), &["inspect", "model.safetensors"]);
        assert_eq!(text(&shown.stdout).contains("plain loop"), layer_norm);
    }
}

#[test]
fn numbers_that_are_none_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let bytes =
        |values: &[f32]| -> Vec<u8> { values.iter().flat_map(|x| x.to_le_bytes()).collect() };
    let mut w_hh = [0.5; 16];
    w_hh[13] = f32::NAN;
    let (w_ih, w_hh) = (bytes(&[0.25; 4]), bytes(&w_hh));
    let view = |shape, data| TensorView::new(Dtype::F32, shape, data).unwrap();
    let tensors = [
        ("weight_ih_l0", view(vec![4, 1], &w_ih)),
        ("weight_hh_l0", view(vec![4, 4], &w_hh)),
    ];
    let file = safetensors::serialize(tensors, None).unwrap();
    fs::write(at.join("nan.safetensors"), file).unwrap();
    let copied = elman(at, &["convert", "nan.safetensors", "copy.safetensors"]);
    let said = text(&copied.stderr);
    assert!(said.contains("outputs are not finite numbers"), "{said}");
    let explain = [
        "explain",
        "nan.safetensors",
        "--input",
        "1 2 3",
        "--target",
        "1 1 1 1",
    ];
    let refused = elman(at, &explain);
    assert_eq!(refused.status.code(), Some(2));
    let said = text(&refused.stderr);
    assert!(said.contains("weight_hh_l0[3,1] is NaN"), "{said}");
}
