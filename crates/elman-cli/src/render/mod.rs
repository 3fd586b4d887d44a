//! How results look: to people in a terminal, to programs as JSON. Nothing is
//! computed here but places on the page.

mod bench;
mod forecast;
pub mod json;
mod number;
mod plot;
#[cfg(test)]
mod sample;
mod table;
mod weights;

pub use bench::report;
pub use forecast::{outcome, outcome_in_brief, prediction};
pub use number::significant;
pub use weights::{inspection, proof, tensors, verdict};

use std::borrow::Cow;

/// What the terminal can show.
#[derive(Debug, Clone, Copy)]
pub struct Paint {
    pub colour: bool,
    /// Columns of text.
    pub width: u16,
}

impl Paint {
    fn style(self) -> console::Style {
        console::Style::new().force_styling(self.colour)
    }

    fn heading(self, text: &str) -> String {
        self.style().cyan().bold().apply_to(text).to_string()
    }

    fn strong(self, text: &str) -> String {
        self.style().bold().apply_to(text).to_string()
    }

    fn faint(self, text: &str) -> String {
        self.style().dim().apply_to(text).to_string()
    }
}

/// The text without the characters that steer a terminal or turn the direction
/// of writing; a table may hold any.
pub fn printable(text: &str) -> Cow<'_, str> {
    let turns = |c| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let steers = |c: char| c.is_control() && c != '\n' || turns(c);
    if text.contains(steers) {
        Cow::Owned(text.replace(steers, " "))
    } else {
        Cow::Borrowed(text)
    }
}

/// A text that grows by titled sections.
struct Page {
    text: String,
    paint: Paint,
}

impl Page {
    fn new(paint: Paint) -> Self {
        Self {
            text: String::new(),
            paint,
        }
    }

    /// Adds a section, unless there is nothing to say.
    fn section(&mut self, title: &str, body: &str) {
        if !body.is_empty() {
            self.block(&format!("{}\n{body}", self.paint.heading(title)));
        }
    }

    /// Adds a paragraph of its own.
    fn block(&mut self, body: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.text.push_str(body);
        if !body.ends_with('\n') {
            self.text.push('\n');
        }
    }
}
