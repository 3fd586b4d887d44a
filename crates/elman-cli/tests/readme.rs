//! Every command of the README that runs the program does so, in its order, in
//! one folder; every example that it names exists.

use elman::kernel::Vectors;
use elman::weights::TensorFile;
use std::path::Path;
use std::process::Command;

#[test]
fn the_commands_of_the_readme_run() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("target")).unwrap();
    for part in ["examples/data", "examples/checkpoint"] {
        let copies = folder.path().join(part);
        std::fs::create_dir_all(&copies).unwrap();
        for entry in std::fs::read_dir(root.join(part)).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), copies.join(entry.file_name())).unwrap();
        }
    }

    // What the README prints below its first command.
    let shown = readme.split("```text\n").nth(1).unwrap();
    let shown = shown.split("```").next().unwrap();
    let (mut programs, mut examples) = (0, 0);
    for line in readme.lines() {
        if let Some(args) = line.strip_prefix("cargo run --release -- ") {
            let output = Command::new(env!("CARGO_BIN_EXE_elman"))
                .args(args.split_whitespace())
                .current_dir(folder.path())
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{line}\n{said}");
            assert!(!output.stdout.is_empty(), "{line}");
            if programs == 0 && same_bits() {
                let printed = String::from_utf8(output.stdout).unwrap();
                let printed: Vec<_> = printed.lines().collect();
                for line in shown.lines() {
                    assert!(printed.contains(&line), "not printed: {line}");
                }
            }
            programs += 1;
        } else if let Some(name) = line.strip_prefix("cargo run --release --example ") {
            let file = format!("examples/{name}.rs");
            let crates = ["crates/elman", "crates/elman-forecast"];
            let there = crates.iter().any(|c| root.join(c).join(&file).is_file());
            assert!(there, "{line}");
            examples += 1;
        }
    }
    assert!(programs >= 5 && examples >= 6, "{programs}, {examples}");
    for file in ["forecast.csv", "report.html", "model.safetensors"] {
        assert!(folder.path().join(file).is_file(), "{file}");
    }

    // What PyTorch makes of the checkpoint.
    let read = |file: &str| std::fs::read(folder.path().join(file)).unwrap();
    let ours = read("target/scores.safetensors");
    let theirs = read("examples/checkpoint/expected.safetensors");
    let output = |bytes: &[u8]| {
        let file = TensorFile::read(bytes).unwrap();
        file.get::<f32>("output").unwrap().unwrap()
    };
    let (ours, theirs) = (output(&ours), output(&theirs));
    assert_eq!(ours.shape(), theirs.shape());
    for (a, b) in ours.iter().zip(&theirs) {
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }
}

/// Whether this machine computes with the instructions of the machine that the
/// README's numbers come from.
fn same_bits() -> bool {
    Vectors::here() != Vectors::Portable
}
