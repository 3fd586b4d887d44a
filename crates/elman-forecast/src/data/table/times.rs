//! The time column: which one it is, and the times in it.

use super::column::Column;
use super::dialect::Row;
use super::{ReadOptions, lists};
use crate::time::{Misfit, Pace, Reading, TimeAxis, TimeFormat, Zone};
use crate::{Error, Result};

/// Names of time columns: every word of the name is one of these.
const NAMES: [&str; 25] = [
    "time",
    "date",
    "datetime",
    "timestamp",
    "ds",
    "day",
    "week",
    "month",
    "quarter",
    "year",
    "hour",
    "minute",
    "second",
    "period",
    "epoch",
    "unix",
    "utc",
    "local",
    "start",
    "end", //
    "t",
    "step",
    "index",
    "tick",
    "n",
];
/// Those of them that count instead of naming a year.
const COUNTERS: [&str; 5] = ["t", "step", "index", "tick", "n"];

const READABLE: &str = "dates (2024-01-31), date-times (2024-01-31 13:00), months (2024-01), years, seconds since 1970, or steps 1, 2, 3, ...";

/// The time column, and a remark where it was not the only choice.
pub(super) struct Choice {
    pub column: usize,
    pub note: Option<String>,
}

/// Finds the time column. `mostly_distinct` reads a column again to tell a
/// count of rows from the hours or months of a calendar that repeat.
pub(super) fn choose(
    columns: &[Column],
    rows: usize,
    mostly_distinct: impl Fn(usize) -> Result<bool>,
) -> Result<Choice> {
    let only = |column| Choice { column, note: None };
    let indices = || 0..columns.len();
    let times: Vec<usize> = indices().filter(|i| columns[*i].is_time()).collect();
    let best = times.iter().copied().min_by_key(|i| {
        let column = &columns[*i];
        (column.missing > 0, !is_time_name(&column.name), *i)
    });
    if let Some(column) = best {
        let others: Vec<&str> = times
            .iter()
            .filter(|i| **i != column)
            .map(|i| columns[*i].name.as_str())
            .collect();
        return Ok(Choice {
            column,
            note: (!others.is_empty()).then(|| {
                format!(
                    "`{}` is used as the time; {} hold{} times too (--time names another column)",
                    columns[column].name,
                    lists(&others),
                    if others.len() == 1 { "s" } else { "" },
                )
            }),
        });
    }
    let nearly = |named: bool| {
        indices()
            .find(|i| columns[*i].is_nearly_time() && (!named || is_time_name(&columns[*i].name)))
    };
    if let Some(column) = nearly(true) {
        return Ok(only(column));
    }
    let whole = |i: &usize| columns[*i].is_whole() && columns[*i].missing == 0;
    for column in indices().filter(|i| is_time_name(&columns[*i].name)) {
        // One that ascends is the time also where a cell is blank, which the
        // reader then refuses.
        let ascends = columns[column].is_whole() && columns[column].run.ascends;
        if ascends || whole(&column) && mostly_distinct(column)? {
            return Ok(only(column));
        }
    }
    if let Some(column) = nearly(false) {
        return Ok(only(column));
    }
    let counting = |i: &usize| {
        let run = columns[*i].run;
        let seconds = 1_000_000_000..2_200_000_000;
        let others = indices().any(|other| other != *i && columns[other].is_numeric());
        rows > 1
            && others
            && (run.counts
                || run.ascends
                    && (seconds.contains(&run.low) && seconds.contains(&run.high)
                        || seconds.contains(&(run.low / 1000))
                            && seconds.contains(&(run.high / 1000))))
    };
    if let Some(column) = indices().filter(whole).find(counting) {
        let Column { name, run, .. } = &columns[column];
        return Ok(Choice {
            column,
            note: Some(format!(
                "no column holds dates; `{name}` goes up from {} to {} and is used as the time (--time names another column)",
                run.low, run.high
            )),
        });
    }
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let apart = match names.len() {
        1 => " (where there should be more, set them apart with commas, semicolons, tabs or `|`)",
        _ => "",
    };
    Err(Error::input(format!(
        "no column holds times; columns: {}{apart}; name it with --time, or add a column of {READABLE}",
        lists(&names)
    )))
}

fn is_time_name(name: &str) -> bool {
    let lower = name.to_lowercase();
    let mut words = words(&lower).peekable();
    words.peek().is_some() && words.all(|word| NAMES.contains(&word))
}

fn words(name: &str) -> impl Iterator<Item = &str> {
    name.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
}

/// The times of all rows, in the order of the file.
pub(super) struct Times {
    pub format: TimeFormat,
    pub zone: Option<Zone>,
    pub times: Vec<i64>,
    pub lines: Vec<u32>,
}

/// Reads the cells of the time column one after the other.
pub(super) struct Reader<'a> {
    column: &'a Column,
    found: Times,
    first: Option<(u64, String, Reading)>,
}

impl<'a> Reader<'a> {
    pub fn new(column: &'a Column, options: &ReadOptions) -> Result<Self> {
        let like = options.like.as_ref();
        let format = if column.times.formats.is_empty() {
            whole_format(column, like)?
        } else {
            calendar_format(column, like)?
        };
        let zone = match &options.zone {
            Some(name) if format.has_clock() => Some(Zone::get(name).map_err(|e| e.at("--zone"))?),
            Some(name) => {
                return Err(Error::input(format!(
                    "--zone {name}: column `{}` holds no times of day; leave --zone out",
                    column.name
                )));
            }
            None => like.and_then(|like| like.zone().cloned()),
        };
        Ok(Self {
            column,
            found: Times {
                format,
                zone,
                times: Vec::new(),
                lines: Vec::new(),
            },
            first: None,
        })
    }

    pub fn see(&mut self, row: &Row, cell: &str) -> Result<()> {
        let place = |line: u64| format!("line {line}, column `{}`", self.column.name);
        let Some(reading) = self.found.format.read(cell) else {
            return Err(self.unread(cell).at(place(row.line)));
        };
        if let Some((line, text, first)) = &self.first {
            let mixed = if self.found.zone.is_none() {
                reading.offset != first.offset
            } else {
                reading.zone != first.zone
            };
            if mixed {
                return Err(Error::input(format!(
                    "mixed zones: `{cell}` is in another zone than `{text}` on line {line}; write all times in UTC, or name their zone with --zone, such as --zone Europe/Paris"
                ))
                .at(place(row.line)));
            }
        } else {
            if self.found.zone.is_none()
                && let Some(name) = &reading.zone
            {
                self.found.zone = Some(Zone::get(name).map_err(|e| e.at(place(row.line)))?);
            }
            self.first = Some((row.line, cell.to_string(), reading.clone()));
        }
        let time = match (&self.found.zone, reading.offset) {
            (None, _) => reading.wall,
            (Some(_), Some(offset)) => reading.wall - 1000 * i64::from(offset),
            (Some(_), None) if self.found.format.is_utc() || self.counts_seconds() => reading.wall,
            (Some(zone), None) => zone
                .instant(reading.wall, self.found.times.last().copied())
                .ok_or_else(|| {
                    Error::input(format!(
                        "`{cell}` is skipped by the clocks of {}; mend the time, or name another --zone",
                        zone.name()
                    ))
                    .at(place(row.line))
                })?,
        };
        self.found.times.push(time);
        self.found
            .lines
            .push(u32::try_from(row.line).unwrap_or(u32::MAX));
        Ok(())
    }

    pub fn finish(mut self) -> Times {
        if self.found.zone.is_none()
            && let Some((
                _,
                _,
                Reading {
                    offset: Some(offset),
                    ..
                },
            )) = &self.first
        {
            self.found.format = self.found.format.with_offset(*offset);
        }
        self.found
    }

    fn counts_seconds(&self) -> bool {
        matches!(
            self.found.format,
            TimeFormat::Seconds | TimeFormat::Milliseconds
        )
    }

    fn unread(&self, cell: &str) -> Error {
        if super::cell::shape(cell) == super::cell::Shape::Missing {
            return Error::input("the row has no time; fill it in, or leave the row out");
        }
        let like = match &self.column.times.first {
            Some(first) => format!("`{}` on line {}", first.text, first.line),
            None => "the cells above it".to_string(),
        };
        let others = TimeFormat::fitting(cell);
        let zoned = |format: &TimeFormat| format.has_offset() || format.is_utc();
        if !others.is_empty() && (zoned(&self.found.format) || others.iter().any(zoned)) {
            return Error::input(format!(
                "mixed zones: `{cell}` says its zone in another way than {like}; write all times in UTC"
            ));
        }
        Error::input(format!(
            "`{cell}` is no time written as {like}; mend the cell"
        ))
    }
}

fn calendar_format(column: &Column, like: Option<&TimeAxis>) -> Result<TimeFormat> {
    let formats = &column.times.formats;
    let order = |format: &TimeFormat| format.day_first();
    let first = formats.first().cloned().unwrap_or(TimeFormat::Steps);
    if formats.iter().all(|other| order(other) == order(&first)) {
        return Ok(first);
    }
    let known = like.and_then(|like| {
        formats
            .iter()
            .find(|format| order(format) == order(like.format()))
    });
    if let Some(known) = known {
        return Ok(known.clone());
    }
    let cell = column.times.first.as_ref();
    Err(Error::input(format!(
        "line {}, column `{}`: `{}` may have the day or the month first, and no row of the column decides it; write the dates as 2024-01-31",
        cell.map_or(0, |cell| cell.line),
        column.name,
        cell.map_or("", |cell| &cell.text),
    )))
}

fn whole_format(column: &Column, like: Option<&TimeAxis>) -> Result<TimeFormat> {
    if column.whole == 0 {
        let example = [
            &column.text,
            &column.first_point,
            &column.first_comma,
            &column.infinite,
        ];
        let example = example.into_iter().flatten().min_by_key(|cell| cell.line);
        return Err(Error::input(match example {
            Some(cell) => format!(
                "line {}, column `{}`: `{}` is no time; expected {READABLE}",
                cell.line, column.name, cell.text
            ),
            None => format!(
                "column `{}` has no values; expected {READABLE}",
                column.name
            ),
        }));
    }
    if let Some(like) = like
        && like.format().is_whole()
    {
        return Ok(like.format().clone());
    }
    let (low, high) = (column.run.low, column.run.high);
    let lower = column.name.to_lowercase();
    let counter = words(&lower).any(|word| COUNTERS.contains(&word));
    let within = |from: i64, to: i64| from <= low && high < to;
    let named_year = words(&lower).any(|word| word == "year") && within(1000, 3000);
    let like_years = is_time_name(&lower) && !counter && within(1700, 2200);
    Ok(if named_year || like_years {
        TimeFormat::year()
    } else if within(100_000_000, 100_000_000_000) {
        TimeFormat::Seconds
    } else if within(100_000_000_000, 100_000_000_000_000) {
        TimeFormat::Milliseconds
    } else {
        TimeFormat::Steps
    })
}

/// The grid of the rows, in ascending order of time, and the step of each.
/// `lines` are those of `times`.
pub(super) fn grid(
    found: &Times,
    name: &str,
    times: &[i64],
    lines: &[u32],
    pace: Pace,
) -> Result<(TimeAxis, Vec<u32>)> {
    let Times { format, zone, .. } = found;
    let time = |i: usize| format.write(zone.as_ref(), times[i]);
    let place = |i: usize| format!("line {} (`{}`)", lines[i], time(i));
    let twice: Vec<usize> = (1..times.len())
        .filter(|i| times[i - 1] == times[*i])
        .collect();
    if let Some(second) = twice.first() {
        let more = match twice.len() {
            1 => String::new(),
            n => format!(" and {} more pairs of rows", n - 1),
        };
        let mend = if format.has_clock() && zone.is_none() && format.ending().is_empty() {
            "keep one row for each time; where clocks were set back, name the zone with --zone"
        } else if 2 * twice.len() > times.len() {
            "join the parts of the time into one column, or keep the rows of one series"
        } else {
            "keep one row for each time"
        };
        return Err(Error::input(format!(
            "column `{name}`: lines {} and {} have the same time `{}`{more}; {mend}",
            lines[second - 1],
            lines[*second],
            time(*second),
        )));
    }
    let fitted = TimeAxis::fit(format.clone(), zone.clone(), pace, times);
    fitted.map_err(|misfit| {
        Error::input(match misfit {
            Misfit::Alone => format!(
                "column `{name}`: a single row has no frequency; add rows, or give --frequency"
            ),
            Misfit::Unit(frequency) => format!(
                "--frequency {frequency}: column `{name}` holds times of the calendar; expected one of seconds to years, such as daily"
            ),
            Misfit::Between { of, off } => {
                let shown: Vec<String> = off.iter().take(3).map(|i| place(*i)).collect();
                let more = match off.len() - shown.len() {
                    0 => String::new(),
                    n => format!(" and {n} more"),
                };
                format!(
                    "column `{name}`: times are not regular: steps from {} are {of}, but {}{more} fall{} between them; mend or leave out those rows, or name another --frequency",
                    place(0),
                    shown.join(", "),
                    if off.len() == 1 { "s" } else { "" },
                )
            }
            Misfit::Sparse { of, steps, before } => format!(
                "column `{name}`: {} rows would stand on {steps} steps that are {of}; the longest gap is between {} and {}: mend the times, or name another --frequency",
                times.len(),
                place(before),
                place((before + 1).min(times.len().saturating_sub(1))),
            ),
            Misfit::Kind { got } => format!(
                "column `{name}`: the times differ: expected {}, got {got}",
                match pace {
                    Pace::Like(axis) => axis.kind(),
                    _ => "others",
                }
            ),
            Misfit::Other { found } => format!(
                "column `{name}`: the frequency differs: expected {}, got {found}",
                match pace {
                    Pace::Like(axis) => axis.frequency().to_string(),
                    Pace::Given(frequency) => frequency.to_string(),
                    Pace::Found => "a regular one".to_string(),
                }
            ),
        })
    })
}
