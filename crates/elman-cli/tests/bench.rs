//! `elman bench`: what it prints, and what it refuses. Nothing here depends on
//! how fast the machine is.

mod common;

use common::{assert_refused_once, contents, elman, text};
use serde_json::Value;

fn bench(args: &[&str]) -> std::process::Output {
    let folder = tempfile::tempdir().unwrap();
    let output = elman(folder.path(), &[&["bench"], args].concat());
    assert!(contents(folder.path()).is_empty(), "{args:?} left files");
    output
}

fn json(args: &[&str]) -> Value {
    let output = bench(&[args, &["--json", "--quiet"]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "");
    serde_json::from_slice(&output.stdout).unwrap()
}

const TINY: [&str; 8] = [
    "--seq-len",
    "3",
    "--batch",
    "4",
    "--input-size",
    "1",
    "--hidden-size",
    "2",
];

fn assert_measured(row: &Value) {
    for name in ["seconds", "gflops", "peak_gflops", "share_of_peak", "flops"] {
        assert!(row[name].as_f64().is_some_and(|x| x > 0.0), "{name}: {row}");
    }
}

#[test]
fn a_row_of_ones_own_is_one_object() {
    // Steps of all rows: 3 of 4 rows, or 1 + 1 + 2 + 3 three times over.
    for (mode, steps) in [("infer", 12.0), ("train", 36.0), ("packed", 21.0)] {
        let args = ["--cell", "gru", "--mode", mode, "--runs", "3"];
        let row = json(&[&TINY[..], &args, &["--threads", "2"]].concat());
        assert_measured(&row);
        assert_eq!(row["flops"], steps * 2.0 * 3.0 * 2.0 * 3.0);
        assert_eq!((&row["row"], &row["mode"]), (&Value::Null, &mode.into()));
        assert_eq!((&row["runs"], &row["threads"]), (&3.into(), &2.into()));
        assert_eq!((&row["layers"], &row["batch"]), (&1.into(), &4.into()));
    }
    let args = ["--cell", "rnn", "--mode", "infer", "--runs", "1"];
    let deep = ["--layers", "2", "--bidirectional", "--threads", "1"];
    let row = json(&[&TINY[..], &args, &deep].concat());
    let layers = [1.0, 4.0].map(|i: f64| 12.0 * 2.0 * 2.0 * 2.0 * (i + 2.0));
    assert_eq!(row["flops"], layers.iter().sum::<f64>());
    assert_eq!(row["bidirectional"], true);
}

#[test]
fn rows_of_the_grid_are_chosen() {
    let one = ["--row", "tiny", "--cell", "lstm", "--mode", "packed"];
    let row = json(&[&one[..], &["--runs", "2"]].concat());
    assert_measured(&row);
    assert_eq!(
        (&row["row"], &row["cell"]),
        (&"tiny".into(), &"lstm".into())
    );

    let row = json(&["--row", "end-to-end", "--runs", "1", "--threads", "2"]);
    assert_measured(&row);
    let sizes = ["seq_len", "batch", "input_size", "hidden_size"].map(|name| &row[name]);
    assert_eq!(sizes, [64, 32, 64, 256].map(Value::from).each_ref());

    let one = ["--row", "tiny", "--cell", "rnn", "--weights", "int8"];
    let row = json(&[&one[..], &["--runs", "2"]].concat());
    assert_measured(&row);
    assert_eq!(
        (&row["mode"], &row["weights"]),
        (&"infer".into(), &"int8".into())
    );

    let many = json(&["--row", "tiny,small", "--mode", "train", "--quick"]);
    assert_eq!(many["roof"], Value::Null);
    let rows = many["rows"].as_array().unwrap();
    rows.iter().for_each(assert_measured);
    let names = rows.iter().map(|row| (&row["row"], &row["cell"]));
    let names: Vec<_> = names.map(|(r, c)| format!("{r} {c}")).collect();
    let expected = ["tiny", "small"]
        .iter()
        .flat_map(|row| ["rnn", "gru", "lstm"].map(|cell| format!("\"{row}\" \"{cell}\"")));
    assert_eq!(names, expected.collect::<Vec<_>>());
}

#[test]
fn people_get_a_table() {
    let args = [
        "--row",
        "tiny",
        "--cell",
        "gru",
        "--runs",
        "2",
        "--threads",
        "1",
    ];
    let output = bench(&args);
    assert!(output.status.success());
    let (table, said) = (text(&output.stdout), text(&output.stderr));
    for part in ["on one thread", "GFLOP/s", "tiny gru packed"] {
        assert!(table.contains(part), "{table}");
    }
    assert_eq!(table.lines().count(), 5, "{table}");
    assert!(said.contains("measuring tiny gru infer"), "{said}");
    let quiet = bench(&[&args[..], &["--quiet"]].concat());
    assert_eq!(text(&quiet.stderr), "");
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let own = |more: &[&'static str]| [&TINY[..], more].concat();
    let with = |flag: &str, value: &'static str| {
        let mut args = own(&["--cell", "gru", "--mode", "packed", "--layers", "1"]);
        let at = args.iter().position(|arg| *arg == flag).unwrap();
        args[at + 1] = value;
        args
    };
    let cases: [(Vec<&str>, &[&str]); 19] = [
        (
            vec!["--row", "tiny", "--mode", "train", "--weights", "bf16"],
            &["--weights bf16", "--mode infer"],
        ),
        (own(&["--mode", "infer"]), &["--cell is missing", "--batch"]),
        (own(&["--cell", "gru"]), &["--mode is missing", "--cell"]),
        (
            vec!["--batch", "3", "--cell", "gru", "--mode", "infer"],
            &["--seq-len is missing"],
        ),
        (
            vec!["--layers", "3", "--cell", "gru", "--mode", "infer"],
            &["--seq-len is missing"],
        ),
        (
            vec!["--bidirectional", "--cell", "gru"],
            &["--mode is missing"],
        ),
        (own(&["--row", "tiny"]), &["--seq-len", "tiny", "--row"]),
        (
            vec!["--row", "tiny", "--layers", "2"],
            &["--layers", "tiny"],
        ),
        (with("--seq-len", "0"), &["--seq-len 0", "1 or more"]),
        (with("--batch", "0"), &["--batch 0", "1 or more"]),
        (with("--layers", "2000"), &["--layers 2000", "at most 1024"]),
        (
            with("--hidden-size", "18446744073709551615"),
            &["choose smaller sizes"],
        ),
        (with("--seq-len", "900000000000"), &["choose smaller sizes"]),
        (
            vec!["--row", "end-to-end", "--cell", "gru"],
            &["--row", "lstm"],
        ),
        (
            vec!["--row", "long", "--mode", "packed"],
            &["--row", "never packed"],
        ),
        (vec!["--runs", "0"], &["--runs 0", "1 or more"]),
        (vec!["--runs", "1000001"], &["--runs 1000001", "at most"]),
        (vec!["--runs", "1", "--quick"], &["--quick", "--runs"]),
        (vec!["--threads", "0"], &["--threads 0", "1 or more"]),
    ];
    for (args, parts) in cases {
        let folder = tempfile::tempdir().unwrap();
        let args = [&["bench"], &args[..]].concat();
        assert_refused_once(folder.path(), &args, parts);
    }
    for args in [["--row", "giant"], ["--mode", "fast"], ["--cell", "qrnn"]] {
        let output = bench(&args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(text(&output.stderr).contains(args[1]), "{args:?}");
    }
}
