//! One error type for the engine.
//!
//! A message names the thing, what was expected, what came, and the likely
//! mend: `input: expected 3 features = input_size, got 4`.

use std::fmt;

/// What went wrong, in words meant for the person who can mend it.
///
/// The kind is private; ask with the predicates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    kind: Kind,
    message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Shape,
    Option,
    File,
    Numeric,
}

/// The engine's result.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An array, a slice or a tensor has the wrong shape.
    pub fn shape(message: impl Into<String>) -> Self {
        Self::new(Kind::Shape, message)
    }

    /// An option has a value that is not legal, or two options contradict
    /// each other.
    pub fn option(message: impl Into<String>) -> Self {
        Self::new(Kind::Option, message)
    }

    /// A file is missing, malformed, or holds something else than expected.
    pub fn file(message: impl Into<String>) -> Self {
        Self::new(Kind::File, message)
    }

    /// A computation left the finite numbers.
    pub fn numeric(message: impl Into<String>) -> Self {
        Self::new(Kind::Numeric, message)
    }

    fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    /// Says where it happened: `place: message`.
    #[must_use]
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }

    /// True where a shape did not fit.
    pub fn is_shape(&self) -> bool {
        self.kind == Kind::Shape
    }

    /// True where an option was refused.
    pub fn is_option(&self) -> bool {
        self.kind == Kind::Option
    }

    /// True where a file was at fault.
    pub fn is_file(&self) -> bool {
        self.kind == Kind::File
    }

    /// True where a number left the finite range.
    pub fn is_numeric(&self) -> bool {
        self.kind == Kind::Numeric
    }
}

/// Refuses an option that is not what it should be.
pub(crate) fn expect(ok: bool, name: &str, expected: &str, got: impl fmt::Display) -> Result<()> {
    if ok {
        return Ok(());
    }
    Err(Error::option(format!(
        "{name}: expected {expected}, got {got}"
    )))
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn place_comes_before_the_message() {
        let e = Error::shape("expected 3, got 4").at("input");
        assert!(e.is_shape() && !e.is_file());
        assert_eq!(e.to_string(), "input: expected 3, got 4");
    }
}
