//! The book's numbers are the engine's. Its chapters (docs/src) hold them in
//! the text, where any reader of Markdown sees them, between marks:
//!
//! - `<!--= h^2[1] -->-0.3859<!--/-->` is a number of the trace by its label, or a
//!   whole value by its symbol; `<!--= = h^2[1] -->` its formula with the numbers
//!   in it; `<!--= /about/loss -->` what a JSON pointer finds;
//! - `<!-- elman explain ARGS -->` before a fenced block: that command and what it
//!   prints;
//!   `:: A :: B` at its end keeps the lines from the one with A to the next one
//!   with B, `:: A :: < B` to the one before that, `:: A` to the end; `:: code` is
//!   the PyTorch code;
//! - `<!-- model: ARGS -->` says which model the numbers after it are of.
//!
//! The test fails where text and engine differ, and where a decimal stands
//! outside of such marks. `ELMAN_BOOK=write` writes what the engine says.

mod common;

use common::{elman, paths, text, told, untold};
use elman_explain::text::short;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn book() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src")
}

/// Words as a shell has them, with double quotes.
fn words(line: &str) -> Vec<String> {
    let parts = line.split('"').enumerate();
    let words = parts.flat_map(|(i, part)| match i % 2 {
        0 => part.split_whitespace().map(str::to_owned).collect(),
        _ => vec![part.to_owned()],
    });
    words.collect()
}

/// What the program says, each command once.
#[derive(Default)]
struct Engine {
    printed: BTreeMap<String, String>,
    traces: BTreeMap<String, Value>,
}

impl Engine {
    fn run(&mut self, args: &str) -> String {
        let run = || {
            let args = words(args);
            let args: Vec<&str> = ["explain"]
                .into_iter()
                .chain(args.iter().map(String::as_str))
                .collect();
            let output = elman(&book(), &args);
            assert!(
                output.status.success(),
                "{args:?}: {}",
                text(&output.stderr)
            );
            text(&output.stdout).to_owned()
        };
        let printed = self.printed.entry(args.to_owned());
        printed.or_insert_with(run).clone()
    }

    fn trace(&mut self, model: &str) -> &Value {
        if !self.traces.contains_key(model) {
            let json = self.run(&format!("{model} --json"));
            let trace = serde_json::from_str(&json).unwrap();
            self.traces.insert(model.to_owned(), trace);
        }
        &self.traces[model]
    }

    /// What stands for an expression in the text.
    fn value(&mut self, model: &str, what: &str) -> String {
        let trace = self.trace(model);
        let show = |x: &Value| match x {
            Value::String(text) => text.clone(),
            Value::Number(n) if n.is_u64() => n.to_string(),
            other => short(
                other
                    .as_f64()
                    .unwrap_or_else(|| panic!("{what} is no number")),
            ),
        };
        if let Some(pointer) = what.strip_prefix('/') {
            // Of a list the element with a place or a name.
            let part = |found: &'_ Value, part: &str| match found {
                Value::Array(all) => match part.parse::<usize>() {
                    Ok(i) => all.get(i).cloned(),
                    Err(_) => all.iter().find(|x| x["name"] == part).cloned(),
                },
                other => other.get(part).cloned(),
            };
            let mut parts = pointer.split('/');
            let found = parts.try_fold(trace.clone(), |found, p| part(&found, p));
            return show(&found.unwrap_or_else(|| panic!("{what}: nothing is there")));
        }
        let (filled, label) = match what.strip_prefix("= ") {
            Some(label) => (true, label),
            None => (false, what),
        };
        for v in trace["values"].as_array().unwrap() {
            let labels = v["labels"].as_array().unwrap();
            if let Some(i) = labels.iter().position(|l| l == label) {
                return match filled {
                    true => show(&v["filled"][i]),
                    false => show(&v["numbers"][i]),
                };
            }
            if v["symbol"] == label {
                let numbers = v["numbers"].as_array().unwrap();
                let numbers: Vec<String> = numbers.iter().map(show).collect();
                let columns = v["shape"][1].as_u64().unwrap() as usize;
                let rows = numbers.chunks(columns).map(|row| row.join("  "));
                return format!("[{}]", rows.collect::<Vec<_>>().join("; "));
            }
        }
        panic!("{what} is no value of `elman explain {model}`");
    }

    /// A fenced block.
    fn block(&mut self, command: &str) -> String {
        let mut parts = command.split(" :: ").map(str::trim);
        let args = parts.next().unwrap().strip_prefix("elman explain").unwrap();
        let (from, to) = (parts.next(), parts.next());
        if from == Some("code") {
            return self.trace(args.trim())["code"].as_str().unwrap().to_owned();
        }
        let args = args.trim();
        let printed = self.run(args);
        let shown = format!("$ elman explain {args}").trim_end().to_owned();
        let Some(from) = from else {
            return format!("{shown}\n{printed}");
        };
        let lines: Vec<&str> = printed.lines().collect();
        let find = |part: &str, after: usize| {
            let found = lines[after..].iter().position(|l| l.contains(part));
            after + found.unwrap_or_else(|| panic!("`{part}` is not printed by {command}"))
        };
        let first = find(from, 0);
        let end = match to.map(|to| (to, to.strip_prefix("< "))) {
            None => lines.len(),
            Some((_, Some(before))) => find(before, first + 1),
            Some((to, None)) => find(to, first) + 1,
        };
        // A heading stands with what is below it.
        let heading = |line: &&&str| line.starts_with(' ') && !line.starts_with("  ");
        let kept = &lines[first..end];
        let headings = kept.iter().rev().take_while(heading).count();
        let kept = &kept[..kept.len() - headings];
        format!("{shown}\n{}\n", kept.join("\n").trim_end())
    }

    /// A chapter with the engine's numbers in it.
    fn filled(&mut self, chapter: &str) -> String {
        let (mut out, mut rest, mut model) = (String::new(), chapter, String::new());
        while let Some((before, after)) = rest.split_once("<!--") {
            out.push_str(before);
            let (inside, after) = after.split_once("-->").expect("a comment ends");
            out.push_str(&format!("<!--{inside}-->"));
            rest = after;
            let inline = !out.is_empty() && !out.ends_with('\n');
            assert!(
                inline || !inside.starts_with('='),
                "a line that begins with a comment is HTML: {inside}"
            );
            if let Some(args) = inside.trim().strip_prefix("model:") {
                model = args.trim().to_owned();
            } else if let Some(what) = inside.strip_prefix('=') {
                let (_, after) = after.split_once("<!--/-->").expect("a number ends");
                out.push_str(&self.value(&model, what.trim()));
                out.push_str("<!--/-->");
                rest = after;
            } else if inside.trim().starts_with("elman explain") {
                let (fence, after) = after.split_once("```").expect("a block begins");
                assert_eq!(fence.trim(), "", "{inside}");
                let (language, after) = after.split_once('\n').unwrap();
                let (_, after) = after.split_once("\n```").expect("a block ends");
                let block = self.block(inside.trim());
                out.push_str(&format!("{fence}```{language}\n{block}```"));
                rest = after;
            } else {
                panic!("<!--{inside}--> is no mark of the book");
            }
        }
        out + rest
    }
}

/// What a chapter says without the engine.
fn own(chapter: &str) -> String {
    let (mut out, mut rest) = (String::new(), chapter);
    while let Some((before, after)) = rest.split_once("<!--") {
        out.push_str(before);
        let (inside, after) = after.split_once("-->").unwrap();
        rest = match inside {
            _ if inside.starts_with('=') => after.split_once("<!--/-->").unwrap().1,
            _ if inside.trim().starts_with("elman explain") => {
                after.splitn(3, "```").nth(2).unwrap()
            }
            _ => after,
        };
    }
    out + rest
}

/// Whether two lines say the same. How far finite differences are off is rounding,
/// which the instructions of a processor decide; elsewhere only its size is held.
fn same(ours: &str, engines: &str) -> bool {
    let number = |word: &str| {
        let word = word
            .split("-->")
            .last()
            .unwrap()
            .split("<!")
            .next()
            .unwrap();
        word.replace('−', "-").parse::<f64>().ok()
    };
    let rounding = |word: &str| number(word).is_some_and(|x| x.abs() < 1e-8);
    // In one way of writing the minus, though.
    let minus = |word: &str| word.contains('−');
    let [ours, engines] = [ours, engines].map(|l| l.split_whitespace().collect::<Vec<_>>());
    let pairs = || ours.iter().zip(&engines);
    ours.len() == engines.len()
        && pairs().all(|(a, b)| a == b || (rounding(a) && rounding(b) && minus(a) == minus(b)))
}

fn chapters() -> BTreeMap<String, String> {
    let files = fs::read_dir(book()).unwrap().map(|f| f.unwrap().path());
    let files = files.filter(|f| f.extension().is_some_and(|e| e == "md"));
    let read = |f: PathBuf| {
        let name = f.file_name().unwrap().to_str().unwrap().to_owned();
        (name, fs::read_to_string(&f).unwrap().replace("\r\n", "\n"))
    };
    files.map(read).collect()
}

#[test]
fn every_number_of_the_book_is_the_engines() {
    let write = std::env::var("ELMAN_BOOK").is_ok_and(|v| v == "write");
    let (mut engine, mut marks) = (Engine::default(), 0);
    for (name, chapter) in chapters() {
        let filled = engine.filled(&chapter);
        marks += chapter.matches("<!--=").count();
        let pairs = || chapter.lines().zip(filled.lines());
        let differs = pairs().find(|(ours, engines)| !same(ours, engines));
        let cut = chapter.lines().count() != filled.lines().count();
        match differs {
            // Rounding alone is left as it is.
            _ if write && (differs.is_some() || cut) => {
                fs::write(book().join(&name), &filled).unwrap();
            }
            Some((ours, engines)) => panic!(
                "docs/src/{name} has\n{ours}\nthe engine\n{engines}\ndocs/build writes what the engine says"
            ),
            None => assert!(
                !cut,
                "docs/src/{name} is shorter or longer than the engine has it"
            ),
        }
        let own = own(&chapter);
        let decimal = own
            .as_bytes()
            .windows(3)
            .position(|w| w[0].is_ascii_digit() && w[1] == b'.' && w[2].is_ascii_digit());
        if let Some(at) = decimal {
            let from = own[..at].rfind('\n').map_or(0, |i| i + 1);
            let line = own[from..].lines().next().unwrap();
            panic!("docs/src/{name}: a number that is not the engine's: {line}");
        }
    }
    assert!(marks > 60, "{marks}");
}

/// A changed number is told: the test above is no formality.
#[test]
fn a_wrong_number_is_found() {
    let mut engine = Engine::default();
    let wrong = "It is <!--= ŷ -->0.5<!--/-->\n<!-- elman explain :: ŷ = -->\n```text\n0.5\n```\n";
    let right = engine.filled(wrong);
    assert!(
        right.contains("<!--= ŷ -->0.0230") && right.contains("ŷ = H W_y + b_y"),
        "{right}"
    );
    assert_eq!(engine.filled(&right), right);
    assert_eq!(own(wrong).trim(), "It is");
    let formula = engine.filled("It is <!--= = h^1[2] --><!--/-->");
    assert!(formula.contains("tanh(−0.1811"), "{formula}");
    let gru = engine.filled("<!-- model: --cell gru --><!--= r^2 --><!--/-->");
    assert!(gru.contains("[0.62") && gru.contains("  0.60"), "{gru}");
}

#[test]
fn every_chapter_is_in_the_summary_and_every_link_leads_somewhere() {
    let chapters = chapters();
    let mut listed = BTreeSet::new();
    for (name, chapter) in &chapters {
        for (_, link) in chapter
            .match_indices("](")
            .map(|(i, _)| chapter[i + 2..].split_once(')').unwrap())
            .map(|(link, _)| ((), link))
        {
            let file = link.split('#').next().unwrap();
            if file.is_empty() || link.starts_with("http") {
                continue;
            }
            assert!(book().join(file).is_file(), "docs/src/{name}: {link}");
            if name == "SUMMARY.md" {
                listed.insert(file.to_owned());
            }
        }
    }
    let all: BTreeSet<String> = chapters.into_keys().filter(|n| n != "SUMMARY.md").collect();
    assert_eq!(listed, all);
}

/// The chapter on the JSON tells every key there is, and none that is not.
#[test]
fn the_schema_is_the_documents() {
    let mut engine = Engine::default();
    let mut there = BTreeSet::new();
    for model in [
        "",
        "--cell lstm --layers 2 --hidden 1 --bidirectional",
        "--configuration one-to-many",
        "--cell gru --hidden 24",
    ] {
        let document = engine.trace(model);
        assert_eq!(untold(document), BTreeSet::new(), "elman explain {model}");
        there.extend(paths(document));
    }
    // Those of files are looked for where there are files.
    let of_files = |path: &String| {
        let begin = [
            "/about/forecast/",
            "/connectivity/beside/",
            "/about/notes",
            "/shapes[]/stored",
        ];
        begin.iter().any(|b| path.starts_with(b))
    };
    let mut none = told();
    none.retain(|path| !of_files(path) && !there.contains(path));
    assert_eq!(none, BTreeSet::new());
    assert!(told().len() > 150);
}

/// A key that no chapter tells is found.
#[test]
fn a_key_that_is_not_told_is_found() {
    let mut document = Engine::default().trace("").clone();
    document["values"][0]["new"] = 1.into();
    let expected = BTreeSet::from(["/values[]/new".to_owned()]);
    assert_eq!(untold(&document), expected);
}
