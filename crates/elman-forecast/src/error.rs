//! One error type for forecasting: either the input is wrong, and the message
//! says where and how to mend it, or the work failed.

use std::fmt;

/// What went wrong, in words meant for the person who can mend it: the place
/// (file, line, column, flag), what was expected, what came, the mend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    input: bool,
    message: String,
}

/// The result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The table, a flag or a model file is wrong.
    pub fn input(message: impl Into<String>) -> Self {
        Self {
            input: true,
            message: message.into(),
        }
    }

    /// The input was fine, and the work failed all the same.
    pub fn failed(message: impl Into<String>) -> Self {
        Self {
            input: false,
            message: message.into(),
        }
    }

    /// Says where it happened: `place: message`.
    #[must_use]
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }

    /// True where the input has to be mended; false where the work failed.
    pub fn is_input(&self) -> bool {
        self.input
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<elman::Error> for Error {
    fn from(e: elman::Error) -> Self {
        Self {
            input: !e.is_numeric(),
            message: e.to_string(),
        }
    }
}
