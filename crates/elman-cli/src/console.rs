//! Where words go: results to standard output, everything else to standard
//! error.

use crate::args::Common;
use crate::failure::Failure;
use crate::render::{Paint, printable};
use console::Term;
use serde::Serialize;
use std::io::{self, Write};

/// The widest text that reads well.
const WIDEST: u16 = 100;

/// How this run talks.
#[derive(Debug, Clone, Copy)]
pub struct Console {
    pub json: bool,
    pub quiet: bool,
    pub paint: Paint,
}

impl Console {
    pub fn new(common: &Common) -> Self {
        // Where the output is no terminal, it is 80 columns wide.
        let width = Term::stdout().size_checked().map_or(80, |(_, width)| width);
        Self {
            json: common.json,
            quiet: common.quiet,
            paint: Paint {
                colour: console::colors_enabled(),
                width: width.clamp(20, WIDEST),
            },
        }
    }

    /// Prints a result meant for people.
    pub fn print(&self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())
            .and_then(|()| out.flush())
            .map_err(Failure::printing)
    }

    /// Prints a result meant for programs: one object on one line. Numbers
    /// that are not finite become `null`.
    pub fn print_json(&self, object: &impl Serialize) -> Result<(), Failure> {
        let mut line =
            serde_json::to_string(object).map_err(|e| Failure::Work(format!("--json: {e}")))?;
        line.push('\n');
        self.print(&line)
    }

    /// Says something beside the result, unless quiet was asked for.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            say(&printable(text));
        }
    }
}

/// Says why the program stops, in one line.
pub fn complain(message: &str) {
    let label = console::Style::new().for_stderr().red().bold();
    say(&format!(
        "{} {}",
        label.apply_to("error:"),
        one_line(message)
    ));
}

/// The text in one line of a length that can be read: a name in a file may have
/// any length, and line breaks.
fn one_line(text: &str) -> String {
    const HALF: usize = 800;
    let text = printable(text).replace('\n', " ");
    let start = text.char_indices().nth(HALF);
    let end = text.char_indices().nth_back(HALF);
    match (start, end) {
        (Some((start, _)), Some((end, _))) if start < end => {
            format!("{} .. {}", &text[..start], &text[end..])
        }
        _ => text,
    }
}

/// A closed standard error is no reason to stop.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::one_line;

    #[test]
    fn a_message_is_one_line_of_bounded_length() {
        assert_eq!(one_line("a\nb\u{1b}[31m\u{202e}c"), "a b [31m c");
        for length in [1599, 1600, 1601] {
            assert_eq!(one_line(&"ü".repeat(length)).chars().count(), length);
        }
        let long = format!("start{}end", "ü".repeat(1_000_000));
        let line = one_line(&long);
        assert!(line.starts_with("start") && line.ends_with("end"), "{line}");
        assert!(line.chars().count() < 1700);
    }
}
