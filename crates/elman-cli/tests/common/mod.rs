//! The program, run in a folder, and what it leaves there.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

pub fn elman(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_elman"));
    command.current_dir(folder).args(args).output().unwrap()
}

pub fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Refused with one message of one line that has these parts; no file appears,
/// changes or goes.
#[allow(dead_code)] // not every test file refuses
pub fn assert_refused_once(folder: &Path, args: &[&str], parts: &[&str]) {
    let before = contents(folder);
    let output = elman(folder, args);
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{args:?}: {message}");
    assert_eq!(text(&output.stdout), "", "{args:?}");
    assert!(message.starts_with("error: "), "{message}");
    assert_eq!(message.lines().count(), 1, "{message}");
    for part in parts {
        assert!(message.contains(part), "{part:?} in {message}");
    }
    assert!(contents(folder) == before, "{args:?} changed the folder");
}

/// Every file of a folder.
pub fn contents(folder: &Path) -> BTreeMap<String, Option<Vec<u8>>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).ok())
        })
        .collect()
}

/// The paths that docs/src/json.md tells.
#[allow(dead_code)] // not every test file looks into documents
pub fn told() -> BTreeSet<String> {
    let chapter = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src/json.md");
    let chapter = fs::read_to_string(chapter).unwrap();
    let rows = chapter.lines().filter_map(|l| l.strip_prefix("| `/"));
    let paths = rows.map(|row| format!("/{}", row.split('`').next().unwrap()));
    paths.collect()
}

/// The paths of a document's keys, `[]` for each entry of a list.
#[allow(dead_code)] // as above
pub fn paths(document: &Value) -> BTreeSet<String> {
    fn walk(value: &Value, path: &str, all: &mut BTreeSet<String>) {
        match value {
            Value::Object(keys) => {
                for (key, value) in keys {
                    let path = format!("{path}/{key}");
                    all.insert(path.clone());
                    walk(value, &path, all);
                }
            }
            Value::Array(entries) => {
                for value in entries {
                    walk(value, &format!("{path}[]"), all);
                }
            }
            _ => {}
        }
    }
    let mut all = BTreeSet::new();
    walk(document, "", &mut all);
    all
}

/// The paths of a document that are not told, by themselves, by what they stand in
/// or by what stands in them.
#[allow(dead_code)] // as above
pub fn untold(document: &Value) -> BTreeSet<String> {
    let told = told();
    let inside = |outer: &str, path: &str| {
        let rest = path.strip_prefix(outer);
        rest.is_some_and(|r| r.is_empty() || r.starts_with('/') || r.starts_with("[]"))
    };
    let mut all = paths(document);
    all.retain(|p| !told.iter().any(|t| inside(t, p) || inside(p, t)));
    all
}
