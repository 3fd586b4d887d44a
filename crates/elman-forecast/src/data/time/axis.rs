//! The regular grid of times that a series stands on.

use jiff::civil::DateTime;
use serde::{Deserialize, Serialize};

use super::format::TimeFormat;
use super::frequency::{Frequency, Unit};
use super::zone::{self, Zone};
use crate::{Error, Result};

const DAY_MS: i64 = 86_400_000;

/// How a step is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Rule {
    /// Whole numbers, `every` apart.
    Steps { every: i64 },
    /// Time that passes, whatever the clocks do.
    Elapsed { ms: i64 },
    /// The same time of day.
    Days { every: i64 },
    /// The same time of day, Monday to Friday.
    Weekdays { every: i64 },
    /// The same day of the month, or its last day where it is shorter.
    Months { every: i64, day: i8 },
}

/// A regular grid of times, written as the table writes them.
///
/// Step 0 is the first row; [`label`](Self::label) goes on past the last one.
/// Grids of hours and less follow time as it passes where the zone is known,
/// grids of days and more follow the calendar: both stay regular when clocks
/// are changed. It can be stored as JSON.
///
/// ```
/// use elman_forecast::table::{ReadOptions, Table};
///
/// let file = b"day,kwh\n2024-01-31,5\n2024-02-29,4\n2024-03-31,3\n";
/// let series = Table::read(file, "bill.csv", &ReadOptions::default())?.series("kwh")?;
/// assert_eq!(series.axis.frequency().to_string(), "monthly");
/// assert_eq!(series.axis.label(3), "2024-04-30");
/// # Ok::<(), elman_forecast::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct TimeAxis {
    format: TimeFormat,
    zone: Option<Zone>,
    frequency: Frequency,
    rule: Rule,
    /// Time of step 0.
    start: i64,
    len: usize,
}

/// What the calendar says of a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CalendarPoint {
    /// Day of the week, 0 to 6 from Monday.
    pub weekday: u8,
    /// Day of the month, 1 to 31.
    pub day_of_month: u8,
    /// Days of this month, 28 to 31.
    pub days_in_month: u8,
    /// Month, 1 to 12.
    pub month: u8,
    /// The year.
    pub year: i16,
    /// Part of the year gone by, in [0, 1).
    pub year_fraction: f64,
    /// Hour, 0 to 23.
    pub hour: u8,
    /// Minute, 0 to 59.
    pub minute: u8,
    /// Part of the day gone by on the clock, in [0, 1).
    pub day_fraction: f64,
}

/// Where the distance between times comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace<'a> {
    /// From the times.
    Found,
    /// From the user.
    Given(Frequency),
    /// From an earlier table that these times continue.
    Like(&'a TimeAxis),
}

/// Why times are on no grid.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Misfit {
    /// One time has no distance.
    Alone,
    /// The frequency cannot be counted in times of this kind.
    Unit(Frequency),
    /// The indices of times between the steps.
    Between { of: Frequency, off: Vec<usize> },
    /// The grid would have `steps` steps, mostly empty; the longest gap comes
    /// after the time at `before`.
    Sparse {
        of: Frequency,
        steps: usize,
        before: usize,
    },
    /// The times are of another kind than those of the earlier table.
    Kind { got: &'static str },
    /// The times are `found` apart, and those of the earlier table are not.
    Other { found: Frequency },
}

impl TimeAxis {
    /// Whole numbers 1, 2, 3, ... without a calendar.
    pub fn steps(len: usize) -> Self {
        Self {
            format: TimeFormat::Steps,
            zone: None,
            frequency: Frequency::new(Unit::Step, 1),
            rule: Rule::Steps { every: 1 },
            start: 1,
            len,
        }
    }

    /// Number of steps in the table, absent rows included.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True where there is no step.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The distance between steps.
    pub fn frequency(&self) -> Frequency {
        self.frequency
    }

    /// The step of this grid at which another table of the same grid begins,
    /// negative before step 0.
    pub(crate) fn step_of(&self, other: &Self) -> Option<i64> {
        self.position(other.start)
    }

    /// Steps in so many weeks, `None` for integer steps.
    pub(crate) fn steps_in_weeks(&self, weeks: usize) -> Option<usize> {
        let days = weeks as f64 * 7.0;
        let length = match self.frequency.unit() {
            Unit::Step => return None,
            Unit::Millisecond => 1.0 / 86_400_000.0,
            Unit::Second => 1.0 / 86_400.0,
            Unit::Minute => 1.0 / 1440.0,
            Unit::Hour => 1.0 / 24.0,
            Unit::Day => 1.0,
            Unit::BusinessDay => 7.0 / 5.0,
            Unit::Week => 7.0,
            Unit::Month => 365.25 / 12.0,
            Unit::Quarter => 365.25 / 4.0,
            Unit::Year => 365.25,
        };
        let steps = days / (length * f64::from(self.frequency.every()));
        Some((steps.round() as usize).max(1))
    }

    /// The same grid with `steps` more at its end.
    #[must_use]
    pub fn extend(mut self, steps: usize) -> Self {
        self.len = self.len.saturating_add(steps);
        self
    }

    /// The time of step `i` as the table writes it, also for `i >= len()`.
    /// Beyond the year 9999, where the calendar ends, it is that end.
    pub fn label(&self, i: usize) -> String {
        self.format.write(self.zone.as_ref(), self.time(i))
    }

    /// What the calendar says of step `i`, also for `i >= len()`; `None` where
    /// the table counts steps. In the zone where one is known, else as written.
    pub fn calendar(&self, i: usize) -> Option<CalendarPoint> {
        if self.format == TimeFormat::Steps {
            return None;
        }
        let civil = self.civil(self.time(i));
        let day_fraction = time_of_day(civil) as f64 / DAY_MS as f64;
        let days = f64::from(civil.day_of_year() - 1) + day_fraction;
        Some(CalendarPoint {
            weekday: civil.weekday().to_monday_zero_offset().unsigned_abs(),
            day_of_month: civil.day().unsigned_abs(),
            days_in_month: civil.days_in_month().unsigned_abs(),
            month: civil.month().unsigned_abs(),
            year: civil.year(),
            year_fraction: days / f64::from(civil.days_in_year()),
            hour: civil.hour().unsigned_abs(),
            minute: civil.minute().unsigned_abs(),
            day_fraction,
        })
    }

    /// Checks that `newer` can continue this grid: the same kind of times,
    /// zone and frequency, and its steps on these steps. How dates are written
    /// may differ.
    ///
    /// # Errors
    ///
    /// Says which of them differs.
    pub fn check_same_grid(&self, newer: &Self) -> Result<()> {
        let differs = |what: &str, here: &str, there: &str| {
            Err(Error::input(format!(
                "{what} differs: expected {here}, got {there}"
            )))
        };
        let zone = |axis: &Self| match (&axis.zone, axis.format.ending()) {
            (Some(zone), _) => zone.name().to_string(),
            (None, "") => "none".to_string(),
            (None, ending) => ending.to_string(),
        };
        if self.kind() != newer.kind() {
            return differs("the time column", self.kind(), newer.kind());
        }
        if self.frequency != newer.frequency {
            return differs(
                "the frequency",
                &self.frequency.to_string(),
                &newer.frequency.to_string(),
            );
        }
        if zone(self) != zone(newer) {
            return differs("the time zone", &zone(self), &zone(newer));
        }
        if self.rule != newer.rule || self.position(newer.start).is_none() {
            return differs(
                "the grid of times",
                &format!("{} steps such as {}", self.frequency, self.label(0)),
                &newer.label(0),
            );
        }
        Ok(())
    }

    /// The kind of times in words.
    pub(crate) fn kind(&self) -> &'static str {
        match self.format {
            TimeFormat::Steps => "whole-number steps",
            _ => "times of the calendar",
        }
    }

    pub(crate) fn format(&self) -> &TimeFormat {
        &self.format
    }

    pub(crate) fn zone(&self) -> Option<&Zone> {
        self.zone.as_ref()
    }

    /// The grid of `times`, which ascend and differ, and the step of each.
    pub(crate) fn fit(
        format: TimeFormat,
        zone: Option<Zone>,
        pace: Pace,
        times: &[i64],
    ) -> std::result::Result<(Self, Vec<u32>), Misfit> {
        let bare = Self {
            format,
            zone,
            frequency: Frequency::new(Unit::Step, 1),
            rule: Rule::Steps { every: 1 },
            start: times.first().copied().unwrap_or(1),
            len: 0,
        };
        match pace {
            Pace::Given(frequency) => {
                let axis = bare
                    .paced(frequency, times)
                    .ok_or(Misfit::Unit(frequency))?;
                axis.place(times)
            }
            Pace::Found => {
                let (likeliest, coarsest) = bare.candidates(times).ok_or(Misfit::Alone)?;
                let first = bare
                    .paced(likeliest, times)
                    .ok_or(Misfit::Alone)?
                    .place(times);
                if matches!(first, Err(Misfit::Between { .. }))
                    && let Some(axis) = bare.paced(coarsest, times)
                    && let Ok((axis, places)) = axis.place(times)
                    && axis.len <= 2 * times.len()
                {
                    return Ok((axis, places));
                }
                first
            }
            Pace::Like(earlier) if earlier.kind() != bare.kind() => {
                Err(Misfit::Kind { got: bare.kind() })
            }
            Pace::Like(earlier) => {
                let other = bare
                    .candidates(times)
                    .map(|(likeliest, _)| likeliest)
                    .filter(|found| *found != earlier.frequency);
                let axis = Self {
                    format: bare.format,
                    start: bare.start,
                    ..earlier.clone()
                };
                // A few rows may look coarser than they are: two Fridays of
                // daily data, or five days without a weekend.
                match (axis.place(times), other) {
                    (Ok((axis, _)), Some(found)) if axis.len > 2 * times.len() => {
                        Err(Misfit::Other { found })
                    }
                    (Err(_), Some(found)) => Err(Misfit::Other { found }),
                    (placed, _) => placed,
                }
            }
        }
    }

    /// This grid with the steps of `frequency`; `None` where times of this
    /// kind cannot be counted so.
    fn paced(&self, frequency: Frequency, times: &[i64]) -> Option<Self> {
        let every = i64::from(frequency.every());
        let elapsed = |ms: i64| Rule::Elapsed { ms: ms * every };
        let (rule, frequency) = if self.format == TimeFormat::Steps {
            // Steps may be given a frequency; they are still counted as they are.
            let stride = match frequency.unit() {
                Unit::Step => every,
                _ => commonest(&gaps(times)).unwrap_or(1),
            };
            (Rule::Steps { every: stride }, frequency)
        } else {
            let frequency = match frequency.unit() {
                // On a wall clock without a zone every day has 24 hours.
                Unit::Hour if self.zone.is_none() && every % 24 == 0 => {
                    Frequency::new(Unit::Day, frequency.every() / 24)
                }
                _ => frequency,
            };
            let every = i64::from(frequency.every());
            let rule = match frequency.unit() {
                Unit::Step => return None,
                Unit::Millisecond => elapsed(1),
                Unit::Second => elapsed(1000),
                Unit::Minute => elapsed(60_000),
                Unit::Hour => elapsed(3_600_000),
                Unit::Day => Rule::Days { every },
                Unit::Week => Rule::Days { every: 7 * every },
                Unit::BusinessDay => Rule::Weekdays { every },
                Unit::Month => self.months(every, times),
                Unit::Quarter => self.months(3 * every, times),
                Unit::Year => self.months(12 * every, times),
            };
            (rule, frequency)
        };
        Some(Self {
            rule,
            frequency,
            ..self.clone()
        })
    }

    fn months(&self, every: i64, times: &[i64]) -> Rule {
        let mut last_days = true;
        let mut latest = 1;
        for time in times {
            let civil = self.civil(*time);
            last_days &= civil.day() == civil.days_in_month();
            latest = latest.max(civil.day());
        }
        Rule::Months {
            every,
            day: if last_days { 31 } else { latest },
        }
    }

    /// The likeliest frequency of `times`, and the coarsest that has a step
    /// for each of them; `None` for fewer than two.
    fn candidates(&self, times: &[i64]) -> Option<(Frequency, Frequency)> {
        let pair = |unit: Unit, scale: i64, distances: &[i64]| {
            let of = |distance: i64| {
                let every = u32::try_from(distance / scale).unwrap_or(u32::MAX);
                Frequency::new(unit, every)
            };
            Some((of(commonest(distances)?), of(common_divisor(distances)?)))
        };
        if self.format == TimeFormat::Steps {
            return pair(Unit::Step, 1, &gaps(times));
        }
        let civils = || times.iter().map(|time| self.civil(*time));
        let clock = time_of_day(civils().next()?);
        if civils().any(|civil| time_of_day(civil) != clock) {
            let distances = gaps(times);
            // Milliseconds would overflow the count of a long step.
            let scale = if distances.iter().all(|ms| ms % 1000 == 0) {
                1000
            } else {
                1
            };
            let unit = if scale == 1 {
                Unit::Millisecond
            } else {
                Unit::Second
            };
            return pair(unit, scale, &distances);
        }
        let monthly = Self {
            rule: self.months(1, times),
            ..self.clone()
        };
        let months: Option<Vec<i64>> = times.iter().map(|time| monthly.position(*time)).collect();
        if let Some(months) = months {
            return pair(Unit::Month, 1, &gaps(&months));
        }
        let days: Vec<i64> = civils().map(day_number).collect();
        let distances = gaps(&days);
        let working_week = civils().all(|civil| weekday_number(day_number(civil)).is_some())
            && commonest(&distances) == Some(1)
            && weeks_touched(&days) > 1;
        if working_week {
            let daily = Frequency::new(Unit::BusinessDay, 1);
            return Some((daily, daily));
        }
        pair(Unit::Day, 1, &distances)
    }

    /// The step of every time.
    fn place(mut self, times: &[i64]) -> std::result::Result<(Self, Vec<u32>), Misfit> {
        let of = self.frequency;
        let mut off = Vec::new();
        let mut places = Vec::with_capacity(times.len());
        for (i, time) in times.iter().enumerate() {
            match self.position(*time) {
                Some(place) => places.push(place),
                None => off.push(i),
            }
        }
        if !off.is_empty() {
            return Err(Misfit::Between { of, off });
        }
        let steps = places.last().map_or(0, |last| last.saturating_add(1));
        // A date mistyped by a century must not fill the memory.
        let limit = 1000 + 20 * times.len();
        let steps = usize::try_from(steps).unwrap_or(usize::MAX);
        let narrow: Option<Vec<u32>> = places
            .iter()
            .map(|place| u32::try_from(*place).ok())
            .collect();
        match narrow {
            Some(narrow) if steps <= limit => {
                self.len = steps;
                Ok((self, narrow))
            }
            _ => {
                let gaps = gaps(&places);
                let before = (0..gaps.len()).max_by_key(|i| gaps[*i]).unwrap_or(0);
                Err(Misfit::Sparse { of, steps, before })
            }
        }
    }

    /// The step at `time`, negative before step 0; `None` between steps.
    fn position(&self, time: i64) -> Option<i64> {
        let whole = |distance: i64, every: i64| {
            (every > 0 && distance % every == 0).then(|| distance / every)
        };
        let elapsed = time.checked_sub(self.start)?;
        if let Rule::Steps { every } | Rule::Elapsed { ms: every } = self.rule {
            return whole(elapsed, every);
        }
        let (first, civil) = (self.civil(self.start), self.civil(time));
        if time_of_day(first) != time_of_day(civil) {
            return None;
        }
        match self.rule {
            Rule::Steps { .. } | Rule::Elapsed { .. } => None,
            Rule::Days { every } => whole(day_number(civil) - day_number(first), every),
            Rule::Weekdays { every } => whole(
                weekday_number(day_number(civil))? - weekday_number(day_number(first))?,
                every,
            ),
            Rule::Months { every, day } => {
                if civil.day() != day.min(civil.days_in_month()) {
                    return None;
                }
                whole(month_number(civil) - month_number(first), every)
            }
        }
    }

    /// The time of step `i`, at most the end of the calendar.
    fn time(&self, i: usize) -> i64 {
        let i = i64::try_from(i).unwrap_or(i64::MAX);
        let passed = |every: i64| self.start.saturating_add(every.saturating_mul(i));
        let on_day = |day: i64| {
            let clock = time_of_day(self.civil(self.start));
            self.wall(day.saturating_mul(DAY_MS).saturating_add(clock))
        };
        let first = day_number(self.civil(self.start));
        match self.rule {
            Rule::Steps { every } | Rule::Elapsed { ms: every } => passed(every),
            Rule::Days { every } => on_day(first.saturating_add(every.saturating_mul(i))),
            Rule::Weekdays { every } => {
                let number = weekday_number(first).unwrap_or(0);
                let number = number.saturating_add(every.saturating_mul(i));
                let week = number.div_euclid(5).saturating_mul(7);
                on_day(week.saturating_add(number.rem_euclid(5) + FIRST_MONDAY))
            }
            Rule::Months { every, day } => {
                let number = month_number(self.civil(self.start));
                let number = number.saturating_add(every.saturating_mul(i));
                let year = i16::try_from(number.div_euclid(12)).unwrap_or(i16::MAX);
                let month = i8::try_from(number.rem_euclid(12) + 1).unwrap_or(1);
                match jiff::civil::Date::new(year, month, 1) {
                    Ok(date) => on_day(
                        day_number(date.at(0, 0, 0, 0))
                            + i64::from(day.min(date.days_in_month()) - 1),
                    ),
                    Err(_) => i64::MAX,
                }
            }
        }
    }

    fn civil(&self, time: i64) -> DateTime {
        zone::civil(self.zone.as_ref(), time)
    }

    /// The time at which the wall clock shows `wall`; where the clock skips
    /// it, the same span after the skip began.
    fn wall(&self, wall: i64) -> i64 {
        match &self.zone {
            None => wall,
            Some(zone) => zone
                .rules()
                .to_ambiguous_timestamp(zone::civil(None, wall))
                .compatible()
                .map_or(wall, |instant| instant.as_millisecond()),
        }
    }
}

/// Day 0 is Thursday, 1 January 1970.
const FIRST_MONDAY: i64 = 4;

fn time_of_day(civil: DateTime) -> i64 {
    zone::wall_ms(civil).unwrap_or(0).rem_euclid(DAY_MS)
}

fn day_number(civil: DateTime) -> i64 {
    zone::wall_ms(civil).unwrap_or(0).div_euclid(DAY_MS)
}

fn month_number(civil: DateTime) -> i64 {
    i64::from(civil.year()) * 12 + i64::from(civil.month()) - 1
}

/// Days since a Monday without the weekends; `None` on a weekend.
fn weekday_number(day: i64) -> Option<i64> {
    let (week, weekday) = (
        (day - FIRST_MONDAY).div_euclid(7),
        (day - FIRST_MONDAY).rem_euclid(7),
    );
    (weekday < 5).then_some(week * 5 + weekday)
}

fn weeks_touched(days: &[i64]) -> i64 {
    let week = |day: Option<&i64>| day.map_or(0, |day| (day - FIRST_MONDAY).div_euclid(7));
    week(days.last()) - week(days.first()) + 1
}

/// Distances between neighbours.
fn gaps(times: &[i64]) -> Vec<i64> {
    times
        .windows(2)
        .map(|pair| pair[1].saturating_sub(pair[0]))
        .collect()
}

/// The most frequent number, the smallest of them where several are.
fn commonest(numbers: &[i64]) -> Option<i64> {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    sorted
        .chunk_by(|a, b| a == b)
        .rev()
        .max_by_key(|run| run.len())
        .and_then(|run| run.first().copied())
}

fn common_divisor(numbers: &[i64]) -> Option<i64> {
    numbers.iter().copied().reduce(|mut a, mut b| {
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    })
}

/// What is stored of a [`TimeAxis`]: the same fields, not yet checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format: TimeFormat,
    zone: Option<Zone>,
    frequency: Frequency,
    rule: Rule,
    start: i64,
    len: usize,
}

impl TryFrom<Stored> for TimeAxis {
    type Error = Error;

    fn try_from(stored: Stored) -> Result<Self> {
        let Stored {
            format,
            zone,
            frequency,
            rule,
            start,
            len,
        } = stored;
        let axis = Self {
            format,
            zone,
            frequency,
            rule,
            start,
            len,
        };
        let counted = match rule {
            Rule::Steps { every } => axis.format == TimeFormat::Steps && every > 0,
            Rule::Elapsed { ms: every } | Rule::Days { every } | Rule::Weekdays { every } => {
                axis.format != TimeFormat::Steps && every > 0
            }
            Rule::Months { every, day } => {
                axis.format != TimeFormat::Steps && every > 0 && (1..=31).contains(&day)
            }
        };
        if !counted || axis.format.read(&axis.label(0)).is_none() || axis.position(start) != Some(0)
        {
            return Err(Error::input(
                "the stored grid of times contradicts itself: the file was not written by this program, or is damaged",
            ));
        }
        Ok(axis)
    }
}
