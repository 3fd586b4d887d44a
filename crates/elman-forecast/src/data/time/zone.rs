//! A named time zone, and the two clocks between which it translates.
//!
//! A time is held as milliseconds since 1970: of the instant where a zone is
//! named, else of the clock on the wall, as if the wall were in Greenwich.

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, tz};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// A zone of the IANA database, stored by its name.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Zone {
    name: String,
    rules: TimeZone,
}

impl Zone {
    pub fn get(name: &str) -> Result<Self> {
        let rules = TimeZone::get(name).map_err(|_| {
            Error::input(format!(
                "`{name}` is no time zone of this machine's database; expected a name such as Europe/Paris or UTC"
            ))
        })?;
        Ok(Self {
            name: name.to_string(),
            rules,
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn rules(&self) -> &TimeZone {
        &self.rules
    }

    /// The instant at which the wall clock shows `wall`. An hour that comes
    /// twice is the first one, unless that would not come after `previous`.
    /// `None` where the clock skips `wall`.
    pub fn instant(&self, wall: i64, previous: Option<i64>) -> Option<i64> {
        let both = self.rules.to_ambiguous_timestamp(civil(None, wall));
        match both.offset() {
            tz::AmbiguousOffset::Gap { .. } => None,
            tz::AmbiguousOffset::Unambiguous { .. } => {
                Some(both.unambiguous().ok()?.as_millisecond())
            }
            tz::AmbiguousOffset::Fold { .. } => {
                let first = both.earlier().ok()?.as_millisecond();
                match previous {
                    Some(previous) if previous >= first => {
                        Some(both.later().ok()?.as_millisecond())
                    }
                    _ => Some(first),
                }
            }
        }
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl TryFrom<String> for Zone {
    type Error = Error;

    fn try_from(name: String) -> Result<Self> {
        Self::get(&name)
    }
}

impl From<Zone> for String {
    fn from(zone: Zone) -> Self {
        zone.name
    }
}

/// The instant `ms`, the last or first one that can be written where it is
/// beyond the years -9999 to 9999.
pub(super) fn timestamp(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(if ms < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    })
}

/// What the wall clock shows at `ms`.
pub(super) fn civil(zone: Option<&Zone>, ms: i64) -> DateTime {
    match zone {
        Some(zone) => zone.rules.to_datetime(timestamp(ms)),
        None => Offset::UTC.to_datetime(timestamp(ms)),
    }
}

/// Milliseconds since 1970 of a wall clock in Greenwich.
pub(super) fn wall_ms(civil: DateTime) -> Option<i64> {
    Some(Offset::UTC.to_timestamp(civil).ok()?.as_millisecond())
}
