//! How far one step of a series is from the next.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The unit that a [`Frequency`] counts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unit {
    /// Whole numbers without a calendar.
    Step,
    /// Thousandths of a second.
    Millisecond,
    /// Seconds.
    Second,
    /// Minutes.
    Minute,
    /// Hours.
    Hour,
    /// Days.
    Day,
    /// Monday to Friday.
    BusinessDay,
    /// Weeks.
    Week,
    /// Months.
    Month,
    /// Quarters of a year.
    Quarter,
    /// Years.
    Year,
}

/// The names of a unit: its adverb, its noun, and what else it is called. All
/// are matched without regard to case, except the last list.
struct Names {
    unit: Unit,
    adverb: &'static str,
    noun: &'static str,
    others: &'static [&'static str],
    exactly: &'static [&'static str],
}

const NAMES: [Names; 11] = [
    Names {
        unit: Unit::Step,
        adverb: "steps",
        noun: "step",
        others: &[],
        exactly: &[],
    },
    Names {
        unit: Unit::Millisecond,
        adverb: "every millisecond",
        noun: "millisecond",
        others: &[],
        exactly: &["ms"],
    },
    Names {
        unit: Unit::Second,
        adverb: "every second",
        noun: "second",
        others: &["s", "sec"],
        exactly: &[],
    },
    Names {
        unit: Unit::Minute,
        adverb: "every minute",
        noun: "minute",
        others: &["min", "t", "minutely"],
        exactly: &[],
    },
    Names {
        unit: Unit::Hour,
        adverb: "hourly",
        noun: "hour",
        others: &["h"],
        exactly: &[],
    },
    Names {
        unit: Unit::Day,
        adverb: "daily",
        noun: "day",
        others: &["d"],
        exactly: &[],
    },
    Names {
        unit: Unit::BusinessDay,
        adverb: "business daily",
        noun: "business day",
        others: &["b", "business", "weekday", "weekdays"],
        exactly: &[],
    },
    Names {
        unit: Unit::Week,
        adverb: "weekly",
        noun: "week",
        others: &["w"],
        exactly: &[],
    },
    Names {
        unit: Unit::Month,
        adverb: "monthly",
        noun: "month",
        others: &["me"],
        exactly: &["M", "MS"],
    },
    Names {
        unit: Unit::Quarter,
        adverb: "quarterly",
        noun: "quarter",
        others: &["q", "qs", "qe"],
        exactly: &[],
    },
    Names {
        unit: Unit::Year,
        adverb: "yearly",
        noun: "year",
        others: &["y", "ys", "ye", "a", "as", "annual", "annually"],
        exactly: &[],
    },
];

impl Unit {
    fn names(self) -> &'static Names {
        // The table is in the order of the variants.
        &NAMES[self as usize]
    }
}

/// The distance between two steps: a unit, and how many of it.
///
/// Equal distances are equal values: 60 minutes are an hour, 7 days a week, 12
/// months a year (24 hours stay hours, since a day may have 23 or 25). It is
/// written, and read, as words: `daily`, `every 15 minutes`, `business daily`.
///
/// ```
/// use elman_forecast::time::Frequency;
///
/// let quarter_hour: Frequency = "15min".parse()?;
/// assert_eq!(quarter_hour.to_string(), "every 15 minutes");
/// assert_eq!(quarter_hour.season(), 96);
/// assert_eq!(quarter_hour, "every 15 minutes".parse()?);
/// assert!("m".parse::<Frequency>().is_err());
/// # Ok::<(), elman_forecast::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Frequency {
    unit: Unit,
    every: u32,
}

impl Frequency {
    /// Every `every` units; 0 counts as 1.
    pub fn new(unit: Unit, every: u32) -> Self {
        let mut frequency = Self {
            unit,
            every: every.max(1),
        };
        for (small, number, large) in [
            (Unit::Millisecond, 1000, Unit::Second),
            (Unit::Second, 60, Unit::Minute),
            (Unit::Minute, 60, Unit::Hour),
            (Unit::Day, 7, Unit::Week),
            (Unit::BusinessDay, 5, Unit::Week),
            (Unit::Quarter, 4, Unit::Year),
            (Unit::Month, 12, Unit::Year),
            (Unit::Month, 3, Unit::Quarter),
        ] {
            if frequency.unit == small && frequency.every.is_multiple_of(number) {
                frequency.unit = large;
                frequency.every /= number;
            }
        }
        frequency
    }

    /// The unit counted in.
    pub fn unit(self) -> Unit {
        self.unit
    }

    /// How many units one step is, at least 1.
    pub fn every(self) -> u32 {
        self.every
    }

    /// The steps of one season, where no one says otherwise.
    ///
    /// From a minute to twelve hours it is a day (1440, 96 for 15 minutes, 24),
    /// for seconds an hour, for days and business days a week (7, 5), from
    /// weeks to quarters a year (52, 12, 4). It is 1, which means none, for
    /// years and steps, and where a step does not divide the season.
    pub fn season(self) -> usize {
        let one = match self.unit {
            Unit::Step | Unit::Year => 1,
            Unit::Millisecond => 3_600_000,
            Unit::Second => 3600,
            Unit::Minute => 1440,
            Unit::Hour => 24,
            Unit::Day => 7,
            Unit::BusinessDay => 5,
            Unit::Week => 52,
            Unit::Month => 12,
            Unit::Quarter => 4,
        };
        match one % self.every {
            0 => (one / self.every) as usize,
            _ => 1,
        }
    }
}

impl fmt::Display for Frequency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.unit.names();
        match self.every {
            1 => f.write_str(names.adverb),
            every => write!(f, "every {every} {}s", names.noun),
        }
    }
}

impl FromStr for Frequency {
    type Err = Error;

    /// Reads the words of [`Display`](fmt::Display), and short forms with an
    /// optional number: `15min`, `2 hours`, `H`, `D`, `B`, `W`, `MS`, `Q`, `Y`.
    fn from_str(text: &str) -> Result<Self> {
        let refuse = |why: &str| {
            Error::input(format!(
                "`{text}` is no frequency{why}; expected hourly, daily, business daily, weekly, monthly, quarterly, yearly, steps, or a number and a unit such as 15min, 2h, 10s"
            ))
        };
        let trimmed = text.trim();
        let rest = match trimmed.split_at_checked("every ".len()) {
            Some((every, rest)) if every.eq_ignore_ascii_case("every ") => rest.trim_start(),
            _ => trimmed,
        };
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, name) = rest.split_at(digits);
        let every = match number {
            "" => 1,
            number => number
                .parse()
                .ok()
                .filter(|every| *every > 0)
                .ok_or_else(|| refuse(": the number is out of range"))?,
        };
        let name = name.trim();
        if name == "m" {
            return Err(refuse(": minutes are `min`, months are `M`"));
        }
        let lower = name.to_lowercase();
        NAMES
            .iter()
            .find(|names| names.exactly.contains(&name))
            .or_else(|| {
                NAMES.iter().find(|names| {
                    lower == names.adverb
                        || lower.strip_suffix('s').unwrap_or(&lower) == names.noun
                        || names.others.contains(&lower.as_str())
                })
            })
            .map(|names| Self::new(names.unit, every))
            .ok_or_else(|| refuse(""))
    }
}

impl TryFrom<String> for Frequency {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Frequency> for String {
    fn from(frequency: Frequency) -> Self {
        frequency.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_back_and_the_table_is_in_order() {
        for names in &NAMES {
            assert_eq!(names.unit.names().unit, names.unit);
            for every in [1, 2, 5, 15, 24, 30, 4_000_000_000] {
                let frequency = Frequency::new(names.unit, every);
                assert_eq!(frequency.to_string().parse(), Ok(frequency));
            }
        }
    }

    #[test]
    fn short_forms_and_seasons() {
        for (text, words, season) in [
            ("10s", "every 10 seconds", 360),
            ("min", "every minute", 1440),
            ("60 minutes", "hourly", 24),
            ("15MIN", "every 15 minutes", 96),
            ("H", "hourly", 24),
            ("24h", "every 24 hours", 1),
            ("7 min", "every 7 minutes", 1),
            ("D", "daily", 7),
            ("weekdays", "business daily", 5),
            ("14D", "every 2 weeks", 26),
            ("MS", "monthly", 12),
            ("ms", "every millisecond", 3_600_000),
            ("M", "monthly", 12),
            ("3 months", "quarterly", 4),
            ("Every 2 Quarters", "every 2 quarters", 2),
            ("annual", "yearly", 1),
            ("steps", "steps", 1),
        ] {
            let frequency: Frequency = text.parse().unwrap();
            assert_eq!(
                (frequency.to_string(), frequency.season()),
                (words.to_string(), season)
            );
        }
        for text in [
            "",
            "m",
            "0h",
            "99999999999h",
            "-1d",
            "fortnightly",
            "é every ",
        ] {
            assert!(text.parse::<Frequency>().unwrap_err().is_input(), "{text}");
        }
    }
}
