//! Input that is wrong: exit code 2, one message that names the place and the
//! mend, and nothing written.

mod common;

use common::{assert_refused_once, elman, text};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// A forecast as quick as there can be.
const QUICK: [&str; 4] = ["--epochs", "1", "--hidden-size", "2"];

/// So many days with a weekly pattern.
fn days(n: usize) -> String {
    let row = |i: usize| {
        let (month, day) = (i / 28 % 12 + 1, i % 28 + 1);
        // Every month has 28 days here: the rest are absent rows.
        format!(
            "{}-{month:02}-{day:02},{},a\n",
            2020 + i / 336,
            20 + i % 7 * 3
        )
    };
    let rows: String = (0..n).map(row).collect();
    format!("date,kwh,note\n{rows}")
}

/// The steps 1, 2, 3, ... with the values `y`.
fn steps(n: usize) -> String {
    let rows: String = (1..=n).map(|i| format!("{i},{}\n", i % 5)).collect();
    format!("t,y\n{rows}")
}

/// A folder with the files of an earlier run, which are not to be touched.
fn used_folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("good.csv"), steps(60)).unwrap();
    let args = [
        &["forecast", "good.csv", "--target", "y", "--horizon", "3"],
        &QUICK[..],
    ];
    let done = elman(folder.path(), &args.concat());
    assert!(done.status.success(), "{}", text(&done.stderr));
    folder
}

/// Refused with one message of one line that has these parts, in every way of
/// talking; no file appears, changes or goes.
fn assert_refused(folder: &Path, args: &[&str], parts: &[&str]) {
    for how in [
        &[][..],
        &["--json"],
        &["--quiet"],
        &["--out", "new/results"],
    ] {
        if how.contains(&"--out") && args[0] != "forecast" {
            continue;
        }
        assert_refused_once(folder, &[args, how].concat(), parts);
    }
}

#[test]
fn a_table_that_is_none_is_refused() {
    let folder = used_folder();
    let at = folder.path();
    fs::create_dir(at.join("folder.csv")).unwrap();
    let cell = |row: usize, cell: &str| {
        let line = format!("\n{row},{}\n", row % 5);
        steps(40).replace(&line, &format!("\n{row},{cell}\n"))
    };
    let zoned = |second: &str| {
        let winter = (10..29).map(|d| format!("2024-01-{d}T00:00:00+01:00,{d}\n"));
        let summer = (10..29).map(|d| format!("2024-04-{d}T00:00:00{second},{d}\n"));
        format!("time,y\n{}", winter.chain(summer).collect::<String>())
    };
    let blank: String = (1..=40).map(|i| format!("{i},,7\n")).collect();
    let files: [(&str, Vec<u8>, &[&str]); 19] = [
        (
            "empty.csv",
            Vec::new(),
            &["the file is empty", "a header and rows"],
        ),
        (
            "blank_lines.csv",
            b"\n\n\r\n".to_vec(),
            &["the file is empty"],
        ),
        (
            "header.csv",
            b"t,y\n".to_vec(),
            &["a header and no rows", "one row"],
        ),
        (
            "word.csv",
            cell(17, "abc").into(),
            &["line 18", "`y`", "`abc`", "mend the cell"],
        ),
        (
            "thousands.csv",
            cell(17, "\"1,234\"").into(),
            &["line 18", "`y`", "`1,234`", "write 1234.5"],
        ),
        (
            "infinite.csv",
            cell(17, "-inf").into(),
            &["line 18", "`y`", "`-inf`", "mend the cell"],
        ),
        (
            "too_large.csv",
            cell(17, "1e999").into(),
            &["line 18", "`1e999`", "too large"],
        ),
        (
            "no_time.csv",
            cell(17, "3").replace("\n17,", "\n,").into(),
            &["line 18", "`t`", "no time", "leave the row out"],
        ),
        (
            "twice.csv",
            steps(40).replace("\n17,", "\n16,").into(),
            &["lines 17 and 18", "`16`", "keep one row"],
        ),
        (
            "wide.csv",
            cell(17, "3,4").into(),
            &["line 18", "3 cells", "line 1 has 2", "mend the row"],
        ),
        (
            "no_values.csv",
            format!("t,y,z\n{blank}").into(),
            &["`y` has no values", "`z`"],
        ),
        (
            "few.csv",
            steps(8).into(),
            &["too few rows", "8", "at least 12 are needed"],
        ),
        (
            "zones.csv",
            zoned("+02:00").into(),
            &["line 21", "mixed zones", "on line 2", "--zone"],
        ),
        (
            "utc_too.csv",
            zoned("Z").into(),
            &["line 21", "mixed zones", "in UTC"],
        ),
        (
            "latin.csv",
            [steps(40).into_bytes(), b"41,\xe9\n".to_vec()].concat(),
            &["line 42", "0xE9", "UTF-8"],
        ),
        (
            "sheet.csv",
            b"PK\x03\x04\x14\0\x06\0".to_vec(),
            &["spreadsheet", "save it as CSV"],
        ),
        (
            "zeros.csv",
            vec![0; 3000],
            &["zero byte", "expected a CSV file"],
        ),
        (
            "delimiter.csv",
            steps(40).replace(',', "#").into(),
            &["no column holds times", "`t#y`", "semicolons"],
        ),
        (
            "irregular.csv",
            days(60)
                .replace("kwh", "y")
                .replace("2020-01-09,", "2020-01-09 12:30,")
                .into(),
            &["date"],
        ),
    ];
    for (name, bytes, _) in &files {
        fs::write(at.join(name), bytes).unwrap();
    }
    let refused = |name: &str, parts: &[&str]| {
        let args = ["forecast", name, "--target", "y", "--horizon", "3"];
        assert_refused(at, &args, &[parts, &[name]].concat());
    };
    for (name, _, parts) in &files {
        refused(name, parts);
    }
    refused("missing.csv", &["no such file", "check the path"]);
    refused("folder.csv", &["this is a folder", "a CSV file in it"]);
}

#[test]
fn what_the_table_has_not_is_refused() {
    let folder = used_folder();
    let at = folder.path();
    fs::write(at.join("days.csv"), days(100)).unwrap();
    let refused = |flags: &[&str], parts: &[&str]| {
        let args = [&["forecast", "days.csv"], flags].concat();
        assert_refused(at, &args, &[parts, &["days.csv"]].concat());
    };
    let offers = "columns that can be forecast: `kwh`";
    refused(&["--horizon", "3"], &["--target is missing", offers]);
    refused(
        &["--target", "kwk", "--horizon", "3"],
        &["`kwk`", "did you mean `kwh`?", offers],
    );
    refused(
        &["--target", "power", "--horizon", "3"],
        &["`power`", offers],
    );
    refused(
        &["--target", "date", "--horizon", "3"],
        &["`date` holds the times", offers],
    );
    refused(
        &["--target", "note", "--horizon", "3"],
        &["line 2", "`note`", "`a`", "`kwh`"],
    );

    let with = |flags: &[&str], parts: &[&str]| {
        refused(
            &[&["--target", "kwh", "--horizon", "3"], flags].concat(),
            parts,
        );
    };
    with(
        &["--time", "dates"],
        &["--time", "`dates`", "did you mean `date`?"],
    );
    with(
        &["--zone", "Europe/Paris"],
        &["--zone", "no times of day", "leave --zone out"],
    );
    with(
        &["--frequency", "fortnightly"],
        &["--frequency", "`fortnightly`", "2h"],
    );
    with(
        &["--gaps", "refuse"],
        &[
            "column kwh",
            "7 values are missing",
            "2020-01-29",
            "--gaps refuse",
        ],
    );
    with(
        &["--look-back", "90"],
        &["too few rows", "90 to look back on", "--look-back 83"],
    );
    with(
        &["--test-rows", "110"],
        &["too few rows", "110 to test on", "--test-rows 103"],
    );
    with(&["--test-rows", "2"], &["--test-rows 2", "give 3 or more"]);
    with(
        &["--patience", "2", "--look-back", "70"],
        &["--patience 2", "leave it out"],
    );

    let horizon = |n: &str, parts: &[&str]| refused(&["--target", "kwh", "--horizon", n], parts);
    horizon(
        "60",
        &[
            "too few rows",
            "60 to test on",
            "60 to train on",
            "is the longest",
        ],
    );
    horizon("1000000000", &["too few rows", "is the longest"]);
    for (n, part) in [
        ("0", "--horizon 0: expected a whole number, 1 or more"),
        ("1000000001", "at most"),
    ] {
        assert_refused(
            at,
            &["forecast", "days.csv", "--target", "kwh", "--horizon", n],
            &[part],
        );
    }
}

#[test]
fn the_longest_horizon_that_is_told_works() {
    let folder = used_folder();
    let args = |horizon: &'static str| {
        [
            &[
                "forecast",
                "good.csv",
                "--target",
                "y",
                "--horizon",
                horizon,
            ],
            &QUICK[..],
        ]
        .concat()
    };
    assert_refused(folder.path(), &args("40"), &["--horizon 29 is the longest"]);
    assert_refused(folder.path(), &args("30"), &["--horizon 29 is the longest"]);
    let done = elman(folder.path(), &args("29"));
    assert!(done.status.success(), "{}", text(&done.stderr));
}

#[test]
fn unsorted_rows_are_sorted_and_that_is_said() {
    let folder = used_folder();
    let sorted = steps(60);
    let (header, rows) = sorted.split_once('\n').unwrap();
    let mut rows: Vec<&str> = rows.lines().collect();
    let forecast = |rows: &[&str]| {
        let table = format!("{header}\n{}\n", rows.join("\n"));
        fs::write(folder.path().join("rows.csv"), table).unwrap();
        let args = [
            "forecast",
            "rows.csv",
            "--target",
            "y",
            "--horizon",
            "3",
            "--json",
        ];
        let done = elman(folder.path(), &[&args, &QUICK[..]].concat());
        assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
        let object: Value = serde_json::from_slice(&done.stdout).unwrap();
        (object["forecast"].clone(), text(&done.stderr).to_string())
    };
    let (expected, said) = forecast(&rows);
    assert!(!said.contains("sorted"), "{said}");
    rows.swap(3, 40);
    let (swapped, said) = forecast(&rows);
    assert!(said.contains("sorted by time"), "{said}");
    assert_eq!(swapped, expected);
    rows.swap(3, 40);
    rows.reverse();
    let (reversed, said) = forecast(&rows);
    assert!(said.contains("sorted by time"), "{said}");
    assert_eq!(reversed, expected);
}

#[test]
fn predict_refuses_what_does_not_fit() {
    let folder = used_folder();
    let at = folder.path();
    let write = |name: &str, text: String| fs::write(at.join(name), text).unwrap();
    write("other.csv", steps(60).replace("t,y", "t,x"));
    write("time.csv", steps(60).replace("t,y", "step,y"));
    write("few.csv", steps(5));
    write("days.csv", days(60).replace("date,kwh", "t,y"));
    let model = fs::read(at.join("model.safetensors")).unwrap();
    fs::write(at.join("cut.safetensors"), &model[..model.len() - 9]).unwrap();
    let refused = |args: [&str; 2], parts: &[&str]| {
        assert_refused(at, &["predict", args[0], args[1]], parts);
        let out = ["predict", args[0], args[1], "--out", "new"];
        assert_refused(at, &out, parts);
    };
    let own = |table, parts: &[&str]| {
        refused(["model.safetensors", table], &[parts, &[table]].concat());
    };
    own("other.csv", &["no column `y`", "`x`"]);
    own("time.csv", &["the time column", "no column `t`", "`step`"]);
    own("few.csv", &["too few rows: 5", "or more"]);
    own("days.csv", &["`t`", "whole-number steps", "calendar"]);
    own("missing.csv", &["no such file"]);
    refused(
        ["missing.safetensors", "good.csv"],
        &["missing.safetensors", "no such file"],
    );
    refused(
        ["good.csv", "model.safetensors"],
        &["good.csv", "not a safetensors file"],
    );
    refused(["cut.safetensors", "good.csv"], &["cut.safetensors"]);
    refused([".", "good.csv"], &[".: "]);
}

#[test]
fn run_refuses_what_is_no_layer() {
    let folder = used_folder();
    let run = |model, input, parts: &[&str]| {
        let args = [
            "run",
            model,
            "--input",
            input,
            "--output",
            "out.safetensors",
        ];
        assert_refused(folder.path(), &args, parts);
    };
    run(
        "good.csv",
        "model.safetensors",
        &["good.csv: ", "not a safetensors file"],
    );
    run(
        "model.safetensors",
        "good.csv",
        &["good.csv: ", "not a safetensors file"],
    );
    run("missing", "model.safetensors", &["missing", "no such file"]);
    run("model.safetensors", "missing", &["missing", "no such file"]);
    // Beyond what is read of a header, though the format allows it.
    let spaces = [&(2_u64 << 20).to_le_bytes()[..], &vec![b' '; 2 << 20]].concat();
    fs::write(folder.path().join("spaces"), spaces).unwrap();
    run(
        "spaces",
        "model.safetensors",
        &["spaces: ", "2097152 bytes"],
    );
}

/// A pipe is neither waited for nor replaced.
#[cfg(unix)]
#[test]
fn run_leaves_pipes_alone() {
    let (folder, other) = (used_folder(), tempfile::tempdir().unwrap());
    let path = other.path().join("pipe");
    let made = Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    let (own, pipe) = ("model.safetensors", path.to_str().unwrap());
    for [model, input, output] in [[pipe, own, "out"], [own, pipe, "out"], [own, own, pipe]] {
        let args = ["run", model, "--input", input, "--output", output];
        assert_refused(folder.path(), &args, &[pipe, "not a regular file"]);
    }
    assert!(!fs::metadata(&path).unwrap().is_file());
}
