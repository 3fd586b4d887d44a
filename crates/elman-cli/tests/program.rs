//! The program as its users meet it: arguments, exit codes, files, JSON.

use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// Flags that make a forecast quick.
const QUICK: [&str; 12] = [
    "--target",
    "y",
    "--horizon",
    "3",
    "--epochs",
    "1",
    "--members",
    "1",
    "--hidden-size",
    "4",
    "--test-rows",
    "30",
];

const OWN: [&str; 3] = ["forecast.csv", "model.safetensors", "report.html"];

fn elman(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_elman"));
    command.current_dir(folder).args(args);
    command
}

fn run(folder: &Path, args: &[&str]) -> Output {
    elman(folder, args).output().unwrap()
}

fn quick(folder: &Path, table: &str, more: &[&str]) -> Output {
    run(folder, &[&["forecast", table], &QUICK[..], more].concat())
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn assert_done(output: &Output) {
    assert_eq!(code(output), Some(0), "{}", text(&output.stderr));
}

/// Exit code 2, nothing on standard output, and a message with these parts.
fn assert_refused(output: &Output, parts: &[&str]) {
    let message = text(&output.stderr);
    assert_eq!(code(output), Some(2), "{message}");
    assert_eq!(text(&output.stdout), "");
    for part in parts {
        assert!(message.contains(part), "{part:?} in {message}");
    }
}

/// A folder with `table.csv`: so many days with a weekly pattern.
fn folder_with(days: u64) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let row = |day: u64| {
        let seconds = 1_420_070_400 + day * 86_400;
        format!(
            "{seconds},{},{}\n",
            20 + day % 7 * 3 + day * 31 % 5,
            day % 3
        )
    };
    let table: String = std::iter::once("time,y,other\n".into())
        .chain((0..days).map(row))
        .collect();
    fs::write(folder.path().join("table.csv"), table).unwrap();
    folder
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn help_and_version_are_answers() {
    let folder = folder_with(0);
    let version = run(folder.path(), &["--version"]);
    assert_done(&version);
    let expected = concat!("elman ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(text(&version.stdout), expected);
    for (args, part) in [
        (&["--help"][..], "elman inspect model.safetensors"),
        (&["forecast", "--help"], "--target kwh --horizon 7"),
        (&["predict", "--help"], "without training"),
        (&["inspect", "--help"], "any safetensors file"),
        (&["run", "--help"], "`d_output`"),
    ] {
        let help = run(folder.path(), args);
        assert_done(&help);
        assert!(text(&help.stdout).contains(part), "{args:?}");
    }
    assert_refused(&run(folder.path(), &[]), &["Usage: elman"]);
}

#[test]
fn a_wrong_command_line_is_refused() {
    let forecast = |flags: &[&'static str]| [&["forecast", "table.csv"], flags].concat();
    let with = |flags: &[&'static str]| {
        [
            &["forecast", "table.csv", "--target", "y", "--horizon", "3"],
            flags,
        ]
        .concat()
    };
    let cases: [(Vec<&str>, &[&str]); 25] = [
        (vec!["forecats"], &["forecats", "'forecast'"]),
        (vec!["forecast"], &["<FILE>"]),
        (forecast(&["--horizon", "3"]), &["--target", "y", "other"]),
        (forecast(&[]), &["--target", "y", "other"]),
        (
            forecast(&["--target", "y"]),
            &["--horizon", "like --horizon 7"],
        ),
        (
            forecast(&["--target", "y", "--horizon", "0"]),
            &["--horizon 0", "1 or more"],
        ),
        (
            forecast(&["--target", "y", "--horizon", "-3"]),
            &["'-3'", "--horizon", "1 or more"],
        ),
        (
            forecast(&["--target", "y", "--horizon", "x"]),
            &["'x'", "--horizon", "whole number"],
        ),
        (
            forecast(&["--target", "y", "--horizont", "3"]),
            &["--horizont", "'--horizon'"],
        ),
        (
            with(&["--cell", "gur"]),
            &["gur", "--cell", "rnn, gru, lstm"],
        ),
        (
            with(&["--strategy", "both"]),
            &["both", "direct, recursive"],
        ),
        (
            with(&["--gaps", "interpolated"]),
            &["interpolated", "'interpolate'"],
        ),
        (
            with(&["--hidden-size", "9999"]),
            &["--hidden-size 9999", "at most 4096"],
        ),
        (
            with(&["--epochs", "18446744073709551615"]),
            &["--epochs 18446744073709551615", "at most"],
        ),
        (with(&["--look-back", "0"]), &["--look-back 0", "1 or more"]),
        (with(&["--dropout", "1"]), &["--dropout 1", "below 1"]),
        (with(&["--dropout", "-0.1"]), &["--dropout -0.1", "from 0"]),
        (with(&["--dropout", "nan"]), &["--dropout NaN", "from 0"]),
        (
            with(&["--learning-rate", "fast"]),
            &["'fast'", "--learning-rate"],
        ),
        (with(&["--seed", "-1"]), &["'-1'", "--seed", "from 0"]),
        (with(&["--threads", "0"]), &["--threads 0", "1 or more"]),
        (vec!["predict", "m", "t", "--force"], &["--out <DIR>"]),
        (vec!["run", "m", "--input", "i"], &["--output <OUT>"]),
        (
            vec![
                "run",
                "m",
                "--input",
                "i",
                "--output",
                "o",
                "--cell",
                "gru",
                "--nonlinearity",
                "relu",
            ],
            &["--nonlinearity", "gru"],
        ),
        (
            vec![
                "run",
                "table.csv",
                "--input",
                "i",
                "--output",
                "./table.csv",
            ],
            &["--output ./table.csv", "MODEL"],
        ),
    ];
    let folder = folder_with(100);
    for (args, parts) in cases {
        assert_refused(&run(folder.path(), &args), parts);
        assert_eq!(names(folder.path()), ["table.csv"], "{args:?}");
    }
}

#[test]
fn vectors_that_are_none_are_refused() {
    let folder = folder_with(30);
    for (name, known) in [
        ("avx2", true),
        ("portable", true),
        ("AVX2", false),
        ("", false),
    ] {
        let mut command = elman(folder.path(), &["inspect", "table.csv"]);
        let output = command.env("ELMAN_VECTORS", name).output().unwrap();
        let message = text(&output.stderr);
        assert_eq!(message.contains("ELMAN_VECTORS"), !known, "{message}");
        if !known {
            assert_refused(
                &output,
                &[&format!("`{name}`"), "portable, avx2 and avx512"],
            );
        }
    }
}

#[test]
fn a_missing_file_is_named() {
    let folder = folder_with(0);
    let quick = [&["forecast", "missing.csv"], &QUICK[..]].concat();
    for args in [
        &quick[..],
        &["predict", "missing.safetensors", "table.csv"],
        &["inspect", "missing.safetensors"],
        &["inspect", "."],
    ] {
        assert_refused(&run(folder.path(), args), &[args[1]]);
        assert_eq!(names(folder.path()), ["table.csv"]);
    }
}

#[test]
fn only_own_files_are_replaced() {
    for name in OWN {
        let folder = folder_with(400);
        let path = folder.path().join(name);
        fs::write(&path, "time,value\nmine,1\n").unwrap();
        let refused = quick(folder.path(), "table.csv", &[]);
        assert_refused(&refused, &[name, "--force", "--out"]);
        assert_eq!(fs::read(&path).unwrap(), b"time,value\nmine,1\n");
        assert_eq!(names(folder.path()).len(), 2);

        assert_done(&quick(folder.path(), "table.csv", &["--force"]));
        assert_ne!(fs::read(&path).unwrap(), b"time,value\nmine,1\n");
        assert_done(&quick(folder.path(), "table.csv", &[]));
    }
}

#[test]
fn an_input_is_never_replaced() {
    let folder = folder_with(400);
    fs::rename(
        folder.path().join("table.csv"),
        folder.path().join("forecast.csv"),
    )
    .unwrap();
    for force in [&[][..], &["--force"]] {
        let refused = quick(folder.path(), "forecast.csv", force);
        assert_refused(&refused, &["forecast.csv", "--out"]);
        assert_eq!(names(folder.path()), ["forecast.csv"]);
    }
}

#[test]
fn the_folder_is_made_where_it_can_be() {
    let folder = folder_with(400);
    fs::create_dir(folder.path().join("report.html")).unwrap();
    for (out, part) in [
        ("table.csv", "not a folder"),
        ("table.csv/sub/sub", "not a folder"),
        (".", "folder is in the way"),
    ] {
        let refused = quick(folder.path(), "table.csv", &["--out", out, "--force"]);
        assert_refused(&refused, &[part]);
        assert_eq!(names(folder.path()), ["report.html", "table.csv"]);
    }
    assert_done(&quick(folder.path(), "table.csv", &["--out", "new/folder"]));
    assert_eq!(names(&folder.path().join("new/folder")), OWN);
}

#[test]
fn json_is_one_object_and_agrees_with_the_files() {
    let folder = folder_with(400);
    for more in [&["--json"][..], &["--json", "--quiet"]] {
        let output = quick(folder.path(), "table.csv", more);
        assert_done(&output);
        assert_eq!(output.stderr.is_empty(), more.contains(&"--quiet"));
        let object: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(object["target"], "y");
        assert_eq!(object["horizon"], 3);
        assert_eq!(object["seed"], 0);
        assert_eq!(object["interrupted"], false);
        for (key, name) in [("forecast", 0), ("model", 1), ("report", 2)] {
            assert_eq!(object["files"][key], OWN[name]);
        }
        assert!(object["backtest"]["elman"]["mae"].is_number());

        let rows = object["forecast"].as_array().unwrap();
        let keys = ["time", "value", "lo_80", "hi_80", "lo_95", "hi_95"];
        let field = |row: &Value, key: &str| match &row[key] {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            number => number.to_string(),
        };
        let expected: Vec<_> = rows
            .iter()
            .map(|row| keys.map(|k| field(row, k)).join(","))
            .collect();
        let csv = fs::read_to_string(folder.path().join("forecast.csv")).unwrap();
        let mut lines = csv.lines();
        assert_eq!(lines.next(), Some(&*keys.join(",")));
        assert_eq!(lines.collect::<Vec<_>>(), expected);
        assert_eq!(expected.len(), 3);
    }
}

#[test]
fn threads_change_nothing_and_the_seed_does() {
    let folder = folder_with(400);
    let files = |more: &[&str]| {
        assert_done(&quick(folder.path(), "table.csv", more));
        OWN.map(|name| fs::read(folder.path().join(name)).unwrap())
    };
    let one = files(&["--seed", "5", "--threads", "1"]);
    for threads in ["2", "3"] {
        assert!(files(&["--seed", "5", "--threads", threads]) == one);
    }
    let other = files(&["--seed", "6"]);
    assert!(other[0] != one[0] && other[1] != one[1]);
}

#[test]
fn a_saved_model_predicts_and_can_be_inspected() {
    let folder = folder_with(400);
    assert_done(&quick(folder.path(), "table.csv", &[]));
    let forecast = fs::read(folder.path().join("forecast.csv")).unwrap();
    let predict = [
        "predict",
        "model.safetensors",
        "table.csv",
        "--json",
        "--out",
        "next",
    ];
    let output = run(folder.path(), &predict);
    assert_done(&output);
    let object: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(object["forecast"].as_array().map(Vec::len), Some(3));
    assert_eq!(names(&folder.path().join("next")), ["forecast.csv"]);
    let again = fs::read(folder.path().join("next/forecast.csv")).unwrap();
    assert!(again == forecast);

    let output = run(folder.path(), &["inspect", "model.safetensors", "--json"]);
    assert_done(&output);
    let object: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(object["model"]["horizon"], 3);
    assert!(object["model"]["parameters"].as_u64() > Some(100));
    assert_eq!(
        object["layers"][0]["options"]["recurrent"]["hidden_size"],
        4
    );
    assert!(!object["tensors"].as_array().unwrap().is_empty());

    let output = run(folder.path(), &["inspect", "model.safetensors"]);
    assert_done(&output);
    assert!(text(&output.stdout).contains("Tensors\n"));
    assert!(!text(&output.stdout).contains('\u{1b}'));
}

#[test]
fn any_safetensors_file_can_be_inspected_and_nothing_else() {
    let folder = folder_with(0);
    let header = r#"{"weight":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend([0; 8]);
    fs::write(folder.path().join("foreign.safetensors"), bytes).unwrap();
    let output = run(folder.path(), &["inspect", "foreign.safetensors"]);
    assert_done(&output);
    let found = text(&output.stdout).lines().any(|line| {
        line.split_whitespace()
            .eq(["weight", "(2,", "1)", "F32", "2"])
    });
    assert!(found, "{}", text(&output.stdout));
    let refused = run(folder.path(), &["inspect", "table.csv"]);
    assert_refused(&refused, &["table.csv", "not a safetensors file"]);
}

#[test]
fn a_broken_pipe_is_no_error() {
    let folder = folder_with(400);
    assert_done(&quick(folder.path(), "table.csv", &[]));
    for args in [
        &["inspect", "model.safetensors"][..],
        &["inspect", "model.safetensors", "--json"],
        &["predict", "model.safetensors", "table.csv"],
        &["--help"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = elman(folder.path(), args).stdout(writer).output().unwrap();
        assert_done(&output);
        assert!(!text(&output.stderr).contains("error"), "{args:?}");
    }
}

/// Starts a training too long to wait for, and presses Ctrl-C so many times,
/// each after the program has said the next of its lines.
#[cfg(unix)]
fn interrupted(times: usize) -> (TempDir, Option<i32>, String) {
    let folder = folder_with(1500);
    let long = [
        "forecast",
        "table.csv",
        "--target",
        "y",
        "--horizon",
        "3",
        "--json",
        "--members",
        "1",
        "--epochs",
        "100000",
        "--patience",
        "100000",
        "--look-back",
        "60",
        "--hidden-size",
        "96",
        "--threads",
        "1",
    ];
    let mut child = elman(folder.path(), &long)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    for line in ["training the ", "stopping after this epoch"]
        .iter()
        .take(times)
    {
        lines
            .find(|said| said.as_ref().unwrap().starts_with(line))
            .unwrap()
            .unwrap();
        let id = child.id().to_string();
        let kill = Command::new("kill").args(["-INT", &id]).status().unwrap();
        assert!(kill.success());
    }
    let mut stdout = String::new();
    let mut pipe = child.stdout.take().unwrap();
    // Read on, so that the program is never held up by a full pipe.
    let rest = std::thread::spawn(move || lines.count());
    pipe.read_to_string(&mut stdout).unwrap();
    rest.join().unwrap();
    (folder, child.wait().unwrap().code(), stdout)
}

#[cfg(unix)]
#[test]
fn ctrl_c_keeps_the_best_network() {
    let (folder, code, stdout) = interrupted(1);
    assert_eq!(code, Some(0));
    let object: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(object["interrupted"], true);
    assert_eq!(names(folder.path())[..3], OWN);
}

#[cfg(unix)]
#[test]
fn ctrl_c_twice_quits_at_once() {
    let (folder, code, stdout) = interrupted(2);
    assert_eq!((code, &*stdout), (Some(130), ""));
    assert_eq!(names(folder.path()), ["table.csv"]);
}
