//! What a forecast is asked for. What is left open (`None`) is chosen from the
//! frequency and the length of the series, and said.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The largest count of steps, rows or epochs: sums and small multiples of it
/// fit every integer.
const LARGEST: usize = 1_000_000_000;

/// A setting that is chosen by name. The names are those of the program's
/// flags, of the model file, and of [`Display`](fmt::Display) and
/// [`FromStr`](std::str::FromStr).
pub trait Named: Copy + Sized + 'static {
    /// The flag that sets it: `--cell`.
    const FLAG: &'static str;
    /// Every value, in the order they are listed to the user.
    const ALL: &'static [Self];
    /// The value's name.
    fn name(self) -> &'static str;
    /// What the value means, in a few words.
    fn meaning(self) -> &'static str;
}

macro_rules! named {
    ($(#[$outer:meta])* $kind:ident, $flag:literal {
        $(#[doc = $meaning:literal] $value:ident = $name:literal,)*
    }) => {
        $(#[$outer])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $kind {
            $(#[doc = $meaning] #[serde(rename = $name)] $value,)*
        }

        impl Named for $kind {
            const FLAG: &'static str = $flag;
            const ALL: &'static [Self] = &[$(Self::$value),*];

            fn name(self) -> &'static str {
                match self { $(Self::$value => $name),* }
            }

            fn meaning(self) -> &'static str {
                match self { $(Self::$value => $meaning.trim_ascii()),* }
            }
        }

        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }

        impl std::str::FromStr for $kind {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                by_name(text)
            }
        }
    };
}

fn by_name<T: Named>(text: &str) -> Result<T> {
    T::ALL
        .iter()
        .copied()
        .find(|value| value.name() == text)
        .ok_or_else(|| {
            let names: Vec<_> = T::ALL.iter().map(|value| value.name()).collect();
            Error::input(format!(
                "{} {text:?}: expected one of {}",
                T::FLAG,
                names.join(", ")
            ))
        })
}

named! {
    /// How missing values inside the series are filled.
    Gaps, "--gaps" {
        /// on a straight line between its neighbours; at the end the last value is carried on
        Interpolate = "interpolate",
        /// with the last known value
        Previous = "previous",
        /// with zero: no row means that nothing happened
        Zero = "zero",
        /// with the value one season before
        Season = "season",
        /// not at all: a gap is an error
        Refuse = "refuse",
    }
}

named! {
    /// How several steps ahead are forecast.
    Strategy, "--strategy" {
        /// all steps at once
        Direct = "direct",
        /// one step at a time, each forecast fed back
        Recursive = "recursive",
    }
}

impl Strategy {
    /// Steps that the network forecasts at once.
    pub(crate) fn steps(self, horizon: usize) -> usize {
        match self {
            Self::Direct => horizon,
            Self::Recursive => 1,
        }
    }
}

named! {
    /// The recurrent cell.
    Cell, "--cell" {
        /// plain recurrent network with tanh
        Rnn = "rnn",
        /// gated recurrent unit
        Gru = "gru",
        /// long short-term memory
        Lstm = "lstm",
    }
}

named! {
    /// What the training minimises.
    Loss, "--loss" {
        /// mean squared error
        Mse = "mse",
        /// mean absolute error
        L1 = "l1",
        /// squared near zero, absolute beyond
        Huber = "huber",
    }
}

named! {
    /// What is subtracted from every window before the network sees it, and
    /// added to the forecast again.
    Scaling, "--scaling" {
        /// the window's last value
        Last = "last",
        /// the window's mean
        Mean = "mean",
        /// nothing
        None = "none",
    }
}

impl From<Cell> for elman::cell::CellKind {
    fn from(cell: Cell) -> Self {
        match cell {
            Cell::Rnn => Self::Rnn,
            Cell::Gru => Self::Gru,
            Cell::Lstm => Self::Lstm,
        }
    }
}

/// What a forecast is asked for.
///
/// ```
/// use elman_forecast::options::{Cell, ForecastOptions};
///
/// let options = ForecastOptions {
///     target: Some("kwh".into()),
///     cell: Some(Cell::Gru),
///     ..ForecastOptions::new(7)
/// };
/// assert!(options.check().is_ok());
///
/// let error = ForecastOptions::new(0).check().unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "--horizon 0: expected a whole number, 1 or more"
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ForecastOptions {
    /// The column to forecast; it has to be named, and a missing name is
    /// answered with the columns it could be.
    pub target: Option<String>,
    /// Steps to forecast, 1 or more.
    pub horizon: usize,
    /// The time column; found where it is not named.
    pub time: Option<String>,
    /// The frequency in words; inferred where it is not given.
    pub frequency: Option<String>,
    /// The time zone of times without one, like `Europe/Paris`.
    pub zone: Option<String>,
    /// Steps of one season, 1 for none.
    pub season: Option<usize>,
    /// How missing values are filled.
    pub gaps: Option<Gaps>,
    /// How several steps are forecast.
    pub strategy: Option<Strategy>,
    /// Steps the network looks back, 1 or more.
    pub look_back: Option<usize>,
    /// The recurrent cell.
    pub cell: Option<Cell>,
    /// Units of a recurrent layer, 1 to 4096.
    pub hidden_size: Option<usize>,
    /// Recurrent layers, 1 to 64.
    pub layers: Option<usize>,
    /// Share of the values dropped in training, from 0 to below 1.
    pub dropout: Option<f64>,
    /// What the training minimises.
    pub loss: Option<Loss>,
    /// What is subtracted from every window.
    pub scaling: Option<Scaling>,
    /// Passes over the training windows, at most; 1 or more.
    pub epochs: Option<usize>,
    /// Windows of one optimiser step, 1 or more.
    pub batch_size: Option<usize>,
    /// Step size of the optimiser, above 0 and at most 1.
    pub learning_rate: Option<f64>,
    /// Networks whose forecasts are averaged, 1 to 1000.
    pub members: Option<usize>,
    /// Epochs without a better validation loss before training stops, 1 or
    /// more. The final model, which has no validation part, is then trained for
    /// as many epochs as the tested one kept.
    pub patience: Option<usize>,
    /// Rows at the end of the table that the backtest is made on, 1 or more.
    pub test_rows: Option<usize>,
    /// Seed of every random number.
    #[serde(default)]
    pub seed: u64,
    /// Threads to train with, 1 to 1024. They change no result, so they are
    /// no part of what is stored.
    #[serde(skip)]
    pub threads: Option<usize>,
}

impl ForecastOptions {
    /// Everything open but the number of steps to forecast.
    pub fn new(horizon: usize) -> Self {
        Self {
            target: None,
            horizon,
            time: None,
            frequency: None,
            zone: None,
            season: None,
            gaps: None,
            strategy: None,
            look_back: None,
            cell: None,
            hidden_size: None,
            layers: None,
            dropout: None,
            loss: None,
            scaling: None,
            epochs: None,
            batch_size: None,
            learning_rate: None,
            members: None,
            patience: None,
            test_rows: None,
            seed: 0,
            threads: None,
        }
    }

    /// Refuses a number outside its range, whatever the table.
    ///
    /// # Errors
    ///
    /// An [input](Error::is_input) error that names the flag, its value and
    /// the range.
    pub fn check(&self) -> Result<()> {
        count("--horizon", Some(self.horizon), LARGEST)?;
        count("--season", self.season, LARGEST)?;
        count("--look-back", self.look_back, LARGEST)?;
        count("--hidden-size", self.hidden_size, 4096)?;
        count("--layers", self.layers, 64)?;
        count("--epochs", self.epochs, LARGEST)?;
        count("--batch-size", self.batch_size, LARGEST)?;
        count("--members", self.members, 1000)?;
        count("--patience", self.patience, LARGEST)?;
        count("--test-rows", self.test_rows, LARGEST)?;
        count("--threads", self.threads, 1024)?;
        number(
            "--dropout",
            self.dropout,
            |x| (0.0..1.0).contains(&x),
            "from 0 to below 1, like 0.2",
        )?;
        number(
            "--learning-rate",
            self.learning_rate,
            |x| x > 0.0 && x <= 1.0,
            "above 0 and at most 1, like 0.003",
        )
    }
}

fn count(flag: &str, value: Option<usize>, most: usize) -> Result<()> {
    match value {
        Some(0) => Err(Error::input(format!(
            "{flag} 0: expected a whole number, 1 or more"
        ))),
        Some(n) if n > most => Err(Error::input(format!("{flag} {n}: expected at most {most}"))),
        _ => Ok(()),
    }
}

fn number(flag: &str, value: Option<f64>, legal: fn(f64) -> bool, words: &str) -> Result<()> {
    match value {
        Some(x) if !legal(x) => Err(Error::input(format!(
            "{flag} {x}: expected a number {words}"
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways() {
        fn check<T: Named + PartialEq + fmt::Debug + Serialize + for<'de> Deserialize<'de>>() {
            for value in T::ALL {
                assert_eq!(by_name::<T>(value.name()), Ok(*value));
                assert!(!value.meaning().is_empty());
                let json = serde_json::to_string(value).unwrap();
                assert_eq!(json, format!("{:?}", value.name()));
                assert_eq!(serde_json::from_str::<T>(&json).unwrap(), *value);
            }
            let error = by_name::<T>("Nothing").unwrap_err();
            assert!(error.is_input());
            for part in [T::FLAG, "\"Nothing\"", T::ALL[0].name()] {
                assert!(error.to_string().contains(part), "{error}");
            }
        }
        check::<Gaps>();
        check::<Strategy>();
        check::<Cell>();
        check::<Loss>();
        check::<Scaling>();
    }

    #[test]
    fn numbers_outside_their_range_are_refused() {
        type Set = fn(&mut ForecastOptions, f64);
        let cases: [(&str, Set, &[f64], &[f64]); 13] = [
            (
                "--horizon",
                |o, x| o.horizon = x as usize,
                &[1.0, 1e9],
                &[0.0, 1e9 + 1.0],
            ),
            (
                "--season",
                |o, x| o.season = Some(x as usize),
                &[1.0, 1e9],
                &[0.0, 1e9 + 1.0],
            ),
            (
                "--look-back",
                |o, x| o.look_back = Some(x as usize),
                &[1.0, 1e9],
                &[0.0, 1e9 + 1.0],
            ),
            (
                "--hidden-size",
                |o, x| o.hidden_size = Some(x as usize),
                &[1.0, 4096.0],
                &[0.0, 4097.0],
            ),
            (
                "--layers",
                |o, x| o.layers = Some(x as usize),
                &[1.0, 64.0],
                &[0.0, 65.0],
            ),
            (
                "--epochs",
                |o, x| o.epochs = Some(x as usize),
                &[1.0, 1e9],
                &[0.0, 1e9 + 1.0],
            ),
            (
                "--batch-size",
                |o, x| o.batch_size = Some(x as usize),
                &[1.0, 1e9],
                &[0.0, 1e9 + 1.0],
            ),
            (
                "--members",
                |o, x| o.members = Some(x as usize),
                &[1.0, 1000.0],
                &[0.0, 1001.0],
            ),
            (
                "--patience",
                |o, x| o.patience = Some(x as usize),
                &[1.0, 1e9],
                &[0.0, 1e9 + 1.0],
            ),
            (
                "--test-rows",
                |o, x| o.test_rows = Some(x as usize),
                &[1.0, 1e9],
                &[0.0, 1e9 + 1.0],
            ),
            (
                "--threads",
                |o, x| o.threads = Some(x as usize),
                &[1.0, 1024.0],
                &[0.0, 1025.0],
            ),
            (
                "--dropout",
                |o, x| o.dropout = Some(x),
                &[0.0, 0.9],
                &[1.0, -0.1, f64::NAN],
            ),
            (
                "--learning-rate",
                |o, x| o.learning_rate = Some(x),
                &[1e-9, 1.0],
                &[0.0, -1.0, 1.5, f64::NAN, f64::INFINITY],
            ),
        ];
        for (flag, set, legal, illegal) in cases {
            let with = |x: f64| {
                let mut options = ForecastOptions::new(1);
                set(&mut options, x);
                options.check()
            };
            for x in legal {
                assert_eq!(with(*x), Ok(()), "{flag} {x}");
            }
            for x in illegal {
                let error = with(*x).unwrap_err();
                let start = format!("{flag} {x}: expected a");
                assert!(
                    error.is_input() && error.to_string().starts_with(&start),
                    "{error}"
                );
            }
        }
    }

    #[test]
    fn threads_are_not_stored() {
        let options = ForecastOptions {
            threads: Some(2),
            loss: Some(Loss::Huber),
            ..ForecastOptions::new(3)
        };
        let json = serde_json::to_string(&options).unwrap();
        assert!(!json.contains("threads"));
        let back: ForecastOptions = serde_json::from_str(&json).unwrap();
        assert_eq!(
            back,
            ForecastOptions {
                threads: None,
                ..options
            }
        );
    }
}
