//! How a table writes its times: found from the cells, read, and written the
//! same way again.
//!
//! A pattern fits a cell only where writing what was read gives the cell back.
//! So `2024-1-5` and `2024-01-05` are two patterns, and a forecast continues
//! the column in the column's own hand.

use jiff::fmt::strtime::{self, BrokenDownTime};
use jiff::tz::Offset;
use serde::{Deserialize, Serialize};

use super::zone::{self, Zone};

/// How times are written.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TimeFormat {
    /// A `strftime` pattern. Parts of a date that it lacks are 1.
    Pattern(String),
    /// Seconds since 1970.
    Seconds,
    /// Milliseconds since 1970.
    Milliseconds,
    /// Whole numbers that count steps.
    Steps,
}

/// A time as one cell gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Milliseconds of the wall clock, or the number of the step.
    pub wall: i64,
    /// The offset written beside it, in seconds east of Greenwich.
    pub offset: Option<i32>,
    /// The zone written beside it.
    pub zone: Option<String>,
}

/// Dates alone.
const DATES: [&str; 21] = [
    "%Y-%m-%d",
    "%Y-%-m-%-d",
    "%d-%m-%Y",
    "%-d-%-m-%Y",
    "%m-%d-%Y",
    "%-m-%-d-%Y", //
    "%Y/%m/%d",
    "%Y/%-m/%-d",
    "%d/%m/%Y",
    "%-d/%-m/%Y",
    "%m/%d/%Y",
    "%-m/%-d/%Y", //
    "%Y.%m.%d",
    "%Y.%-m.%-d",
    "%d.%m.%Y",
    "%-d.%-m.%Y", //
    "%Y%m%d",
    "%Y-%m",
    "%Y/%m",
    "%m-%Y",
    "%m/%Y",
];
/// Between a date and its time of day.
const JOINTS: [&str; 2] = ["T", " "];
const HOURS: [&str; 2] = ["%H", "%-H"];
const MINUTES: [&str; 6] = [
    ":%M",
    ":%M:%S",
    ":%M:%S%.1f",
    ":%M:%S%.2f",
    ":%M:%S%.3f",
    ":%M:%S%.6f",
];
const ZONES: [&str; 9] = [
    "", "Z", " UTC", "%:z", " %:z", "%z", " %z", "%:::z", "%:z[%:Q]",
];

impl TimeFormat {
    /// Every pattern that fits `text`, the likeliest first; more than one
    /// where only other cells can tell them apart.
    pub fn fitting(text: &str) -> Vec<Self> {
        if !text.starts_with(|c: char| c.is_ascii_digit()) {
            return Vec::new();
        }
        let mut found = Vec::new();
        let mut keep = |pattern: String| {
            let format = Self::Pattern(pattern);
            if format.read(text).is_some() {
                found.push(format);
            }
        };
        for date in DATES {
            match BrokenDownTime::parse_prefix(date, text) {
                Ok((_, end)) if end == text.len() => keep(date.to_string()),
                Ok(_) => {
                    for joint in JOINTS.iter().filter(|joint| text.contains(**joint)) {
                        for (hour, minute, zone) in clocks() {
                            keep(format!("{date}{joint}{hour}{minute}{zone}"));
                        }
                    }
                }
                Err(_) => {}
            }
        }
        found
    }

    /// Four digits that are a year.
    pub fn year() -> Self {
        Self::Pattern("%Y".to_string())
    }

    /// Reads one cell; `None` where it is written in another way, or is no
    /// time of the calendar, or is finer than a millisecond.
    pub fn read(&self, text: &str) -> Option<Reading> {
        let whole = |unit: i64, limit: i64| {
            let number: i64 = text.parse().ok()?;
            (-limit..=limit).contains(&number).then(|| Reading {
                wall: number * unit,
                offset: None,
                zone: None,
            })
        };
        match self {
            Self::Pattern(pattern) => read_pattern(pattern, text),
            Self::Seconds => whole(1000, 100_000_000_000),
            Self::Milliseconds => whole(1, 100_000_000_000_000),
            Self::Steps => whole(1, 1_000_000_000_000_000),
        }
    }

    /// Writes a time as the table does.
    pub fn write(&self, zone: Option<&Zone>, time: i64) -> String {
        match self {
            Self::Seconds => time.div_euclid(1000).to_string(),
            Self::Milliseconds | Self::Steps => time.to_string(),
            Self::Pattern(pattern) => {
                let written = match zone {
                    Some(zone) if !self.is_utc() => strtime::format(
                        pattern,
                        &zone::timestamp(time).to_zoned_datetime(zone.rules().clone()),
                    ),
                    _ => strtime::format(pattern, zone::civil(None, time)),
                };
                written.unwrap_or_else(|_| zone::civil(zone, time).to_string())
            }
        }
    }

    /// True where times are whole numbers.
    pub fn is_whole(&self) -> bool {
        !matches!(self, Self::Pattern(pattern) if pattern != "%Y")
    }

    /// True where every time ends in a word for Greenwich.
    pub fn is_utc(&self) -> bool {
        matches!(self, Self::Pattern(pattern) if pattern.ends_with('Z') || pattern.ends_with(" UTC"))
    }

    /// True where a cell says its own offset.
    pub fn has_offset(&self) -> bool {
        matches!(self, Self::Pattern(pattern) if pattern.ends_with(":z")
            || pattern.ends_with("%z")
            || pattern.ends_with(']'))
    }

    /// True where a time of day is written, or an instant.
    pub fn has_clock(&self) -> bool {
        match self {
            Self::Pattern(pattern) => pattern.contains(":%M"),
            Self::Seconds | Self::Milliseconds => true,
            Self::Steps => false,
        }
    }

    /// The pattern with the offset that every cell of the column has written
    /// out, so that the next times carry it too.
    pub fn with_offset(&self, seconds: i32) -> Self {
        let Self::Pattern(pattern) = self else {
            return self.clone();
        };
        let cut = pattern.rfind(['%']).unwrap_or(pattern.len());
        let (before, directive) = pattern.split_at(cut);
        let mut tm = BrokenDownTime::default();
        tm.set_offset(Offset::from_seconds(seconds).ok());
        match tm.to_string(directive) {
            Ok(offset) => Self::Pattern(format!("{before}{offset}")),
            Err(_) => self.clone(),
        }
    }

    /// What stands after the last part of every time: `Z`, `+01:00`, nothing.
    pub fn ending(&self) -> &str {
        let Self::Pattern(pattern) = self else {
            return "";
        };
        let directive = pattern.rfind('%').map_or("", |at| &pattern[at + 1..]);
        match directive.find(|c: char| c.is_ascii_alphabetic()) {
            Some(letter) => directive[letter + 1..].trim_start(),
            None => "",
        }
    }

    /// `Some(true)` where the day stands before the month, `Some(false)` where
    /// the month stands before the day, in dates that end in the year.
    pub fn day_first(&self) -> Option<bool> {
        let Self::Pattern(pattern) = self else {
            return None;
        };
        let (day, month) = (pattern.find('d')?, pattern.find('m')?);
        (day.max(month) < pattern.find('Y')?).then_some(day < month)
    }
}

fn clocks() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    HOURS.into_iter().flat_map(|hour| {
        let zoned = move |minute| ZONES.into_iter().map(move |zone| (hour, minute, zone));
        MINUTES.into_iter().flat_map(zoned)
    })
}

fn read_pattern(pattern: &str, text: &str) -> Option<Reading> {
    let mut tm = BrokenDownTime::parse(pattern, text).ok()?;
    // A pattern with a fraction also parses, and writes, a time without one.
    if tm.second().is_some() && tm.subsec_nanosecond().is_none() {
        tm.set_subsec_nanosecond(Some(0)).ok()?;
    }
    if tm.to_string(pattern).ok()? != text {
        return None;
    }
    if tm.month().is_none() {
        tm.set_month(Some(1)).ok()?;
    }
    if tm.day().is_none() {
        tm.set_day(Some(1)).ok()?;
    }
    let zone = tm.iana_time_zone().map(str::to_string);
    if pattern.ends_with(']') && zone.is_none() {
        return None;
    }
    let civil = tm.to_datetime().ok()?;
    if civil.subsec_nanosecond() % 1_000_000 != 0 {
        return None;
    }
    Some(Reading {
        wall: zone::wall_ms(civil)?,
        offset: tm.offset().map(Offset::seconds),
        zone,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What fits one cell, and what it reads as.
    fn check(text: &str, patterns: &[&str], wall: &str) {
        let found = TimeFormat::fitting(text);
        let want: Vec<_> = patterns
            .iter()
            .map(|pattern| TimeFormat::Pattern((*pattern).to_string()))
            .collect();
        assert_eq!(found, want, "{text}");
        if let Some(format) = found.first() {
            let reading = format.read(text).unwrap();
            assert_eq!(zone::civil(None, reading.wall).to_string(), wall, "{text}");
        }
    }

    #[test]
    fn cells_say_their_pattern() {
        check("2024-01-31", &["%Y-%m-%d"], "2024-01-31T00:00:00");
        check("2024-1-31", &["%Y-%-m-%-d"], "2024-01-31T00:00:00");
        check("20240131", &["%Y%m%d"], "2024-01-31T00:00:00");
        check("31.01.2024", &["%d.%m.%Y"], "2024-01-31T00:00:00");
        check("1/31/2024", &["%-m/%-d/%Y"], "2024-01-31T00:00:00");
        check(
            "03/04/2024",
            &["%d/%m/%Y", "%m/%d/%Y"],
            "2024-04-03T00:00:00",
        );
        check("2007-01", &["%Y-%m"], "2007-01-01T00:00:00");
        check("12/2007", &["%m/%Y"], "2007-12-01T00:00:00");
        check(
            "2016-07-01 00:00:00",
            &["%Y-%m-%d %H:%M:%S"],
            "2016-07-01T00:00:00",
        );
        check(
            "31.01.2024 7:05",
            &["%d.%m.%Y %-H:%M"],
            "2024-01-31T07:05:00",
        );
        check(
            "2024-03-31T02:30:00.250Z",
            &["%Y-%m-%dT%H:%M:%S%.3fZ"],
            "2024-03-31T02:30:00.25",
        );
        check(
            "2024-03-31T02:30:00+02:00",
            &["%Y-%m-%dT%H:%M:%S%:z"],
            "2024-03-31T02:30:00",
        );
        check(
            "2024-03-31 02:30:00+02",
            &["%Y-%m-%d %H:%M:%S%:::z"],
            "2024-03-31T02:30:00",
        );
        check(
            "2024-03-31T02:30+02:00[Europe/Paris]",
            &["%Y-%m-%dT%H:%M%:z[%:Q]"],
            "2024-03-31T02:30:00",
        );
    }

    #[test]
    fn what_is_no_time_fits_nothing() {
        for text in [
            "",
            "2024",
            "1.5",
            "2024-02-30",
            "2024-13-01",
            "2023-02-29",
            "31.04.2024",
            "24:00",
            "2024-01-01 24:00",
            "2024-01-01T",
            "2024-01-01 ",
            "2024-01-01T1:2",
            "12.2024",
            "９-9",
            "2024-01-01T00:00:00.000500",
            "99999-01-01",
            "2024-01-01T00:00+99:00",
            "kwh",
        ] {
            check(text, &[], "");
        }
    }

    #[test]
    fn offsets_are_written_out() {
        for (text, want) in [
            ("2024-03-31T02:30:00+05:30", "%Y-%m-%dT%H:%M:%S+05:30"),
            ("2024-03-31 02:30 -0330", "%Y-%m-%d %H:%M -0330"),
            ("2024-03-31 02:30-08", "%Y-%m-%d %H:%M-08"),
        ] {
            let format = TimeFormat::fitting(text).remove(0);
            let fixed = format.with_offset(format.read(text).unwrap().offset.unwrap());
            assert_eq!(fixed, TimeFormat::Pattern(want.to_string()));
            let reading = fixed.read(text).unwrap();
            assert_eq!(fixed.write(None, reading.wall), text);
        }
    }
}
