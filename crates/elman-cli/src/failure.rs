//! Why the program stops early, and the exit code that says so.

use std::io;

/// The reason of an early end.
#[derive(Debug)]
pub enum Failure {
    /// The command line or the input is wrong: exit code 2.
    Input(String),
    /// The work failed: exit code 1.
    Work(String),
    /// Whoever read the output has read enough: exit code 0, no message.
    BrokenPipe,
}

impl Failure {
    /// The failure of writing to standard output.
    pub fn printing(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::BrokenPipe,
            _ => Self::Work(format!("standard output: {error}")),
        }
    }

    /// The exit code.
    pub fn code(&self) -> u8 {
        match self {
            Self::BrokenPipe => 0,
            Self::Work(_) => 1,
            Self::Input(_) => 2,
        }
    }

    /// What to say, if anything.
    pub fn message(&self) -> Option<&str> {
        match self {
            Self::Input(message) | Self::Work(message) => Some(message),
            Self::BrokenPipe => None,
        }
    }
}

impl From<elman_forecast::Error> for Failure {
    fn from(error: elman_forecast::Error) -> Self {
        let message = error.to_string();
        if error.is_input() {
            Self::Input(message)
        } else {
            Self::Work(message)
        }
    }
}

impl From<elman::Error> for Failure {
    fn from(error: elman::Error) -> Self {
        elman_forecast::Error::from(error).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_tells_whose_turn_it_is() {
        let broken = io::Error::from(io::ErrorKind::BrokenPipe);
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let cases: [(Failure, u8, bool); 6] = [
            (Failure::printing(broken), 0, false),
            (Failure::printing(full), 1, true),
            (elman_forecast::Error::failed("x").into(), 1, true),
            (elman_forecast::Error::input("x").into(), 2, true),
            (elman::Error::numeric("x").into(), 1, true),
            (elman::Error::file("x").into(), 2, true),
        ];
        for (failure, code, says) in cases {
            assert_eq!((failure.code(), failure.message().is_some()), (code, says));
        }
    }
}
