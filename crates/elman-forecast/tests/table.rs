//! Tables as people have them: what is found in them, what they say when they
//! cannot be read, and the gaps in them.

use elman_forecast::gaps::fill;
use elman_forecast::options::{Gaps, Named};
use elman_forecast::series::Series;
use elman_forecast::table::{ReadOptions, Table};
use elman_forecast::time::TimeAxis;
use proptest::prelude::*;

fn example(name: &str) -> String {
    format!("{}/../../examples/data/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn read(text: &str, options: &ReadOptions) -> Result<Table, String> {
    Table::read(text.as_bytes(), "t.csv", options).map_err(|e| {
        assert!(e.is_input());
        e.to_string()
    })
}

fn fact(table: &Table, label: &str) -> String {
    let found = table.facts().into_iter().find(|fact| fact.label == label);
    found.map_or_else(String::new, |fact| fact.value)
}

/// Rows `time,value` below a header.
fn rows(header: &str, times: &[&str]) -> String {
    let mut text = format!("{header},y\n");
    for (i, time) in times.iter().enumerate() {
        text += &format!("{time},{i}\n");
    }
    text
}

/// A table that can be read: its first column holds the times.
struct Reads<'a> {
    times: &'a [&'a str],
    options: ReadOptions,
    frequency: &'a str,
    season: usize,
    absent: &'a [usize],
    /// Labels after the last row.
    next: &'a [&'a str],
}

impl Default for Reads<'_> {
    fn default() -> Self {
        Self {
            times: &[],
            options: ReadOptions::default(),
            frequency: "daily",
            season: 7,
            absent: &[],
            next: &[],
        }
    }
}

fn check(header: &str, case: Reads) {
    let text = rows(header, case.times);
    let table = read(&text, &case.options).unwrap();
    let series = table.series("y").unwrap();
    let axis = &series.axis;
    assert_eq!(table.time_column(), header);
    assert_eq!(axis.frequency().to_string(), case.frequency, "{text}");
    assert_eq!(axis.frequency().season(), case.season, "{text}");
    assert_eq!(series.absent, case.absent, "{text}");
    // The rows keep their times, character for character, in order of time.
    let steps = (0..axis.len()).filter(|i| !case.absent.contains(i));
    let mut labels: Vec<String> = steps.map(|i| axis.label(i)).collect();
    let mut times: Vec<String> = case.times.iter().map(|time| (*time).to_string()).collect();
    labels.sort();
    times.sort();
    assert_eq!(labels, times);
    let next: Vec<String> = (0..case.next.len())
        .map(|i| axis.label(axis.len() + i))
        .collect();
    assert_eq!(next, case.next, "{text}");
    // It survives being stored, and the stored grid takes the table again.
    let json = serde_json::to_string(axis).unwrap();
    let stored: TimeAxis = serde_json::from_str(&json).unwrap();
    assert_eq!(&stored, axis);
    let again = ReadOptions {
        time: Some(header.to_string()),
        like: Some(stored),
        ..ReadOptions::default()
    };
    assert_eq!(read(&text, &again).unwrap().axis(), axis);
    axis.label(usize::MAX);
    axis.calendar(usize::MAX);
}

#[test]
fn every_kind_of_time_and_frequency() {
    let frequency = |text: &str| ReadOptions {
        frequency: Some(text.to_string()),
        ..ReadOptions::default()
    };
    check(
        "date",
        Reads {
            times: &["2024-02-27", "2024-02-28", "2024-03-01"],
            absent: &[2],
            next: &["2024-03-02"],
            ..Reads::default()
        },
    );
    check(
        "date",
        Reads {
            times: &["28/02/2023", "27/02/2023", "26/02/2023"],
            next: &["01/03/2023"],
            ..Reads::default()
        },
    );
    check(
        "date",
        Reads {
            times: &["1/30/2024", "1/31/2024", "2/1/2024"],
            next: &["2/2/2024"],
            ..Reads::default()
        },
    );
    check(
        "Datum",
        Reads {
            times: &["30.12.2023", "31.12.2023", "01.01.2024"],
            next: &["02.01.2024"],
            ..Reads::default()
        },
    );
    check(
        "day",
        Reads {
            times: &["20240228", "20240229", "20240301"],
            next: &["20240302"],
            ..Reads::default()
        },
    );
    check(
        "d",
        Reads {
            times: &["2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z"],
            next: &["2024-01-03T00:00:00Z"],
            ..Reads::default()
        },
    );
    check(
        "date",
        Reads {
            times: &["2024/01/31", "2024/02/29", "2024/03/31"],
            frequency: "monthly",
            season: 12,
            next: &["2024/04/30", "2024/05/31"],
            ..Reads::default()
        },
    );
    check(
        "date",
        Reads {
            times: &["2023-01-30", "2023-02-28", "2023-03-30"],
            frequency: "monthly",
            season: 12,
            next: &["2023-04-30"],
            ..Reads::default()
        },
    );
    check(
        "date",
        Reads {
            times: &["2024-03-31", "2024-06-30", "2024-12-31"],
            frequency: "quarterly",
            season: 4,
            absent: &[2],
            next: &["2025-03-31"],
            ..Reads::default()
        },
    );
    check(
        "date",
        Reads {
            times: &["2020-02-29", "2021-02-28", "2022-02-28", "2023-02-28"],
            frequency: "yearly",
            season: 1,
            next: &["2024-02-29"],
            ..Reads::default()
        },
    );
    check(
        "month",
        Reads {
            times: &["2007-11", "2007-12", "2008-01"],
            frequency: "monthly",
            season: 12,
            next: &["2008-02"],
            ..Reads::default()
        },
    );
    check(
        "year",
        Reads {
            times: &["1998", "1999", "2001"],
            frequency: "yearly",
            season: 1,
            absent: &[2],
            next: &["2002"],
            ..Reads::default()
        },
    );
    check(
        "week",
        Reads {
            times: &["2024-01-01", "2024-01-08", "2024-01-15"],
            frequency: "weekly",
            season: 52,
            next: &["2024-01-22"],
            ..Reads::default()
        },
    );
    check(
        "date",
        Reads {
            times: &[
                "2024-01-04",
                "2024-01-05",
                "2024-01-08",
                "2024-01-10",
                "2024-01-11",
                "2024-01-12",
            ],
            frequency: "business daily",
            season: 5,
            absent: &[3],
            next: &["2024-01-15"],
            ..Reads::default()
        },
    );
    check(
        "time",
        Reads {
            times: &["2024-01-01 22:00", "2024-01-01 23:00", "2024-01-02 00:00"],
            frequency: "hourly",
            season: 24,
            next: &["2024-01-02 01:00"],
            ..Reads::default()
        },
    );
    check(
        "time",
        Reads {
            times: &["1/13/2024 9:45", "1/13/2024 10:00", "1/13/2024 10:30"],
            options: frequency("15min"),
            frequency: "every 15 minutes",
            season: 96,
            absent: &[2],
            next: &["1/13/2024 10:45"],
        },
    );
    check(
        "time",
        Reads {
            times: &["2024-01-01T00:00:00.000", "2024-01-01T00:00:00.250"],
            frequency: "every 250 milliseconds",
            season: 14400,
            next: &["2024-01-01T00:00:00.500"],
            ..Reads::default()
        },
    );
    check(
        "time",
        Reads {
            times: &[
                "2024-03-31T00:00:00+01:00",
                "2024-03-31T01:00:00+01:00",
                "2024-03-31T02:00:00+01:00",
            ],
            frequency: "hourly",
            season: 24,
            next: &["2024-03-31T03:00:00+01:00"],
            ..Reads::default()
        },
    );
    check(
        "timestamp",
        Reads {
            times: &["1700000000", "1700003600"],
            frequency: "hourly",
            season: 24,
            next: &["1700007200"],
            ..Reads::default()
        },
    );
    check(
        "ts",
        Reads {
            times: &["1700000000000", "1700000060000"],
            frequency: "every minute",
            season: 1440,
            next: &["1700000120000"],
            ..Reads::default()
        },
    );
    check(
        "t",
        Reads {
            times: &["1", "2", "4", "3"],
            frequency: "steps",
            season: 1,
            next: &["5"],
            ..Reads::default()
        },
    );
    check(
        "t",
        Reads {
            times: &["1", "2", "3"],
            options: frequency("daily"),
            next: &["4"],
            ..Reads::default()
        },
    );
    check(
        "index",
        Reads {
            times: &["0", "10", "30"],
            frequency: "every 10 steps",
            season: 1,
            absent: &[2],
            next: &["40"],
            ..Reads::default()
        },
    );
    // Two hours apart more often than one, and regular all the same.
    check(
        "t",
        Reads {
            times: &["0", "2", "3", "5", "6", "8"],
            frequency: "steps",
            season: 1,
            absent: &[1, 4, 7],
            next: &["9"],
            ..Reads::default()
        },
    );
}

#[test]
fn hours_and_days_when_clocks_change() {
    let paris = |frequency: Option<&str>| ReadOptions {
        zone: Some("Europe/Paris".to_string()),
        frequency: frequency.map(str::to_string),
        ..ReadOptions::default()
    };
    // Spring: the hour from 2 is skipped. Autumn: it comes twice.
    check(
        "time",
        Reads {
            times: &["2024-03-31 00:00", "2024-03-31 01:00", "2024-03-31 03:00"],
            options: paris(None),
            frequency: "hourly",
            season: 24,
            next: &["2024-03-31 04:00"],
            ..Reads::default()
        },
    );
    check(
        "time",
        Reads {
            times: &[
                "2024-10-27 01:00",
                "2024-10-27 02:00",
                "2024-10-27 02:00",
                "2024-10-27 03:00",
            ],
            options: paris(None),
            frequency: "hourly",
            season: 24,
            next: &["2024-10-27 04:00"],
            ..Reads::default()
        },
    );
    check(
        "time",
        Reads {
            times: &["2024-03-31T01:00:00+01:00", "2024-03-31T03:00:00+02:00"],
            options: paris(None),
            frequency: "hourly",
            season: 24,
            next: &["2024-03-31T04:00:00+02:00"],
            ..Reads::default()
        },
    );
    check(
        "time",
        Reads {
            times: &[
                "2024-10-26T01:30+02:00[Europe/Paris]",
                "2024-10-27T01:30+02:00[Europe/Paris]",
            ],
            next: &["2024-10-28T01:30+01:00[Europe/Paris]"],
            ..Reads::default()
        },
    );
    // Midnights of Paris, written in Greenwich.
    check(
        "time",
        Reads {
            times: &[
                "2024-03-29T23:00:00Z",
                "2024-03-30T23:00:00Z",
                "2024-03-31T22:00:00Z",
            ],
            options: paris(None),
            next: &["2024-04-01T22:00:00Z"],
            ..Reads::default()
        },
    );
    check(
        "time",
        Reads {
            times: &["1711839600", "1711843200"],
            options: paris(Some("H")),
            frequency: "hourly",
            season: 24,
            next: &["1711846800"],
            ..Reads::default()
        },
    );

    let text = rows("time", &["1711839600", "1711843200", "1711846800"]);
    let axis = read(&text, &paris(None)).unwrap().axis().clone();
    let hours: Vec<u8> = (0..3)
        .filter_map(|i| axis.calendar(i))
        .map(|point| point.hour)
        .collect();
    assert_eq!(hours, [0, 1, 3]);
}

/// A table that cannot be read, or whose column `y` cannot: every part of
/// `says` is in the message.
fn refuses(text: &str, options: &ReadOptions, says: &[&str]) {
    let error = match read(text, options) {
        Err(error) => error,
        Ok(table) => table.series("y").unwrap_err().to_string(),
    };
    for part in says {
        assert!(error.contains(part), "{text:?}: no {part:?} in: {error}");
    }
    assert!(
        !error.contains('\n') && error.starts_with("t.csv: "),
        "{error}"
    );
}

#[test]
fn bad_tables_say_where_and_how_to_mend_them() {
    let plain = ReadOptions::default();
    let days = |cells: &[&str]| {
        let mut text = "date,y\n".to_string();
        for (i, cell) in cells.iter().enumerate() {
            text += &format!("2024-01-{:02},{cell}\n", i + 1);
        }
        text
    };
    let dates = |times: &[&str]| rows("date", times);
    for (text, says) in [
        (String::new(), &["empty"][..]),
        ("\n\r\n , \n".to_string(), &["empty"]),
        ("date,y\n".to_string(), &["header and no rows"]),
        ("PK\u{3}\u{4}rest".to_string(), &["spreadsheet", "CSV"]),
        (
            "date,y\n2024-01-01,\0\n".to_string(),
            &["line 2", "zero byte"],
        ),
        ("a,y\nx,1\nz,2\n".to_string(), &["`a`, `y`", "--time"]),
        (days(&["1", "2,5"]), &["line 3: 3 cells", "line 1 has 2"]),
        (
            days(&["1", "12a", "x"]),
            &["line 3", "`y`", "`12a`", "no number", "mend"],
        ),
        (
            days(&["1", "-inf"]),
            &["line 3", "`y`", "`-inf`", "infinite"],
        ),
        (days(&["1", "1e999"]), &["line 3", "`1e999`", "too large"]),
        (
            days(&["1", "\"1,234\""]),
            &["line 3", "`1,234`", "thousands"],
        ),
        (days(&["", "NA", "-"]), &["`y` has no values"]),
        (
            "date;y;z\n2024-01-01;1.234;1,5\n2024-01-02;2;2,5\n".to_string(),
            &["`1.234` in `y`", "`1,5` in `z`"],
        ),
        (
            "date;y;z\n2024-01-01;1,5;3\n2024-01-02;1.234;2,5\n".to_string(),
            &["line 3", "`1.234`"],
        ),
        (
            "date,y,y\n2024-01-01,1,2\n2024-01-02,1,2\n".to_string(),
            &["columns 2 and 3", "`y`"],
        ),
        (
            "date,x,Y1\n2024-01-01,1,2\n2024-01-02,1,2\n".to_string(),
            &["no column `y`", "did you mean", "`x`, `Y1`"],
        ),
        (
            dates(&["2024-01-01", "", "2024-01-03"]),
            &["line 3", "no time"],
        ),
        (
            dates(&["2024-01-01", "2024-01-02", "2024-02-30"]),
            &["line 4", "`2024-02-30`", "`2024-01-01` on line 2"],
        ),
        (
            dates(&["2024-01-01", "2024-01-02", "2024-01-01"]),
            &["lines 2 and 4", "`2024-01-01`", "one row"],
        ),
        (
            dates(&["2024-10-27 02:00", "2024-10-27 02:00"]),
            &["lines 2 and 3", "--zone"],
        ),
        (
            dates(&["2024-01-01", "2024-01-02", "2024-01-02", "2024-01-02"]),
            &["lines 3 and 4", "1 more"],
        ),
        (
            dates(&["01/02/2024", "02/02/2024"]),
            &["line 2", "day or the month first", "2024-01-31"],
        ),
        (dates(&["2024-01-01"]), &["single row", "--frequency"]),
        (
            dates(&[
                "2024-01-01 00:00",
                "2024-01-01 01:00",
                "2024-01-01 02:00",
                "2024-01-01 02:59",
            ]),
            &["hourly", "line 5 (`2024-01-01 02:59`)", "--frequency"],
        ),
        (
            dates(&["2024-01-01 00:00", "2024-01-01 01:00", "2204-01-01 02:00"]),
            &["line 3 (`2024-01-01 01:00`) and line 4"],
        ),
        (
            dates(&["2024-03-31T01:00+01:00", "2024-03-31T03:00+02:00"]),
            &["mixed zones", "line 3", "on line 2", "--zone"],
        ),
        (
            dates(&["2024-03-31T01:00", "2024-03-31T03:00Z"]),
            &["mixed zones", "line 3"],
        ),
        (
            dates(&[
                "2024-03-31T01:00+01:00[Europe/Paris]",
                "2024-03-31T01:00+00:00[Europe/London]",
            ]),
            &["mixed zones", "line 3"],
        ),
        (
            dates(&[
                "2024-03-31T01:00+01:00[Mars/Dunes]",
                "2024-03-31T02:00+01:00[Mars/Dunes]",
            ]),
            &["line 2", "`Mars/Dunes`"],
        ),
        (
            "step,y\n1,1\n2,2\n2,3\n3,4\n".to_string(),
            &["lines 3 and 4", "`2`"],
        ),
    ] {
        refuses(&text, &plain, says);
    }
    refuses(&days(&["1", "\"2", "3", "4"]), &plain, &["line 3", "quote"]);
    let mut latin = b"date,y\n2024-01-01,caf".to_vec();
    latin.extend([0xE9, b'\n']);
    let error = Table::read(&latin, "t.csv", &plain)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("line 2, byte 15") && error.contains("0xE9"),
        "{error}"
    );
}

#[test]
fn options_are_honoured_or_refused() {
    let text = rows("date", &["2024-01-01", "2024-01-02", "2024-01-03"]);
    let with = |set: fn(&mut ReadOptions)| {
        let mut options = ReadOptions::default();
        set(&mut options);
        options
    };
    for (options, says) in [
        (
            with(|o| o.time = Some("dote".into())),
            &["--time", "did you mean `date`"][..],
        ),
        (
            with(|o| o.time = Some("y".into())),
            &["holds the times", "--time"],
        ),
        (
            with(|o| o.frequency = Some("often".into())),
            &["--frequency", "`often`", "daily"],
        ),
        (
            with(|o| o.frequency = Some("weekly".into())),
            &["weekly", "line 3"],
        ),
        (
            with(|o| o.frequency = Some("steps".into())),
            &["--frequency steps"],
        ),
        (
            with(|o| o.zone = Some("Europe/Paris".into())),
            &["--zone", "no times of day"],
        ),
        (with(|o| o.delimiter = Some('é')), &["--delimiter"]),
        (
            with(|o| o.delimiter = Some(';')),
            &["no column holds times"],
        ),
        (
            with(|o| o.header = Some(false)),
            &["no column holds times", "`column_1`"],
        ),
    ] {
        refuses(&text, &options, says);
    }
    let skipped = rows("time", &["2024-03-31 01:00", "2024-03-31 02:00"]);
    refuses(
        &skipped,
        &with(|o| o.zone = Some("Europe/Paris".into())),
        &["line 3", "skipped by the clocks"],
    );
    refuses(
        &skipped,
        &with(|o| o.zone = Some("Paris".into())),
        &["--zone", "`Paris`", "Europe/Paris"],
    );

    let weekly = read(&text, &with(|o| o.frequency = Some("hourly".into()))).unwrap();
    assert_eq!(weekly.axis().len(), 49);
    let bare = "01;2\n02;3\n";
    let named = read(bare, &with(|o| o.time = Some("column_1".into()))).unwrap();
    assert_eq!(named.series("column_2").unwrap().values, [2.0, 3.0]);
}

#[test]
fn a_grid_takes_newer_rows_or_says_what_differs() {
    let like = |text: &str| ReadOptions {
        like: Some(read(text, &ReadOptions::default()).unwrap().axis().clone()),
        ..ReadOptions::default()
    };
    let daily = like(&rows("date", &["27/02/2024", "28/02/2024", "29/02/2024"]));
    // Too few rows to tell days from months, or daily from weekdays.
    let newer = read(&rows("date", &["01/03/2024", "02/03/2024"]), &daily).unwrap();
    assert_eq!(newer.axis().label(2), "03/03/2024");
    let single = read(&rows("date", &["01/03/2024"]), &daily).unwrap();
    assert_eq!(
        (single.axis().len(), single.axis().label(1)),
        (1, "02/03/2024".to_string())
    );
    // Dates may be written in another way.
    let iso = read(&rows("date", &["2024-03-01", "2024-03-02"]), &daily).unwrap();
    assert_eq!(iso.axis().label(2), "2024-03-03");
    for (times, says) in [
        (
            &["2024-03-01", "2024-04-01", "2024-05-01"][..],
            &["expected daily, got monthly"][..],
        ),
        (
            &["2024-03-01 00:00", "2024-03-01 01:00"],
            &["expected daily, got hourly"],
        ),
        (
            &["2024-03-01 01:00", "2024-03-02 01:00"],
            &["grid of times"],
        ),
        (
            &["2024-03-01T00:00Z", "2024-03-02T00:00Z"],
            &["zone differs: expected none, got Z"],
        ),
        (&["1", "2"], &["times differ", "calendar", "steps"]),
    ] {
        refuses(&rows("date", times), &daily, says);
    }
    let weekly = like(&rows("date", &["2024-01-01", "2024-01-08"]));
    refuses(
        &rows("date", &["2024-01-16", "2024-01-23"]),
        &weekly,
        &["grid of times", "2024-01-01", "2024-01-16"],
    );
    assert!(serde_json::from_str::<TimeAxis>(r#"{"format":"steps","zone":null,"frequency":"daily","rule":{"days":{"every":0}},"start":1,"len":3}"#).is_err());
}

#[test]
fn the_examples_read() {
    let open = |name: &str| Table::open(example(name), &ReadOptions::default()).unwrap();
    let daily = open("household_energy.csv");
    let kwh = daily.series("kwh").unwrap();
    assert_eq!(
        (daily.rows(), kwh.len(), kwh.missing(), kwh.absent.len()),
        (1440, 1440, 24, 0)
    );
    assert_eq!(kwh.axis.label(1440), "2010-11-26");
    assert_eq!(
        fact(&daily, "time"),
        "`date`, 2006-12-17 to 2010-11-25, in order"
    );
    assert_eq!(fact(&daily, "format"), "comma separated, with a header");
    assert_eq!(
        (fact(&daily, "frequency"), fact(&daily, "absent rows")),
        ("daily".into(), "0".into())
    );
    let facts: Vec<String> = kwh.facts().into_iter().map(|fact| fact.value).collect();
    assert_eq!(facts, ["24", "6 steps, 2010-08-17 to 2010-08-22"]);
    assert_eq!(daily.numeric_columns().len(), 7);
    assert_eq!(daily.ignored(&["kwh"]).len(), 6);
    assert_eq!(daily.notes(), Vec::<String>::new());
    let point = kwh.axis.calendar(0).unwrap();
    assert_eq!(
        (point.weekday, point.day_of_month, point.month, point.hour),
        (6, 17, 12, 0)
    );
    assert!((point.year_fraction - 350.0 / 365.0).abs() < 1e-12);

    let monthly = open("household_energy_monthly.csv");
    assert_eq!(
        (monthly.rows(), monthly.axis().frequency().season()),
        (46, 12)
    );
    assert_eq!(monthly.axis().label(46), "2010-11");

    let week = open("household_week_ahead.csv");
    assert_eq!((week.time_column(), week.axis().len()), ("datetime", 1442));
    assert_eq!(week.series("voltage").unwrap().values[0], 93552.53);
}

#[test]
fn paths_that_are_no_table() {
    let folder = tempfile::tempdir().unwrap();
    for (path, says) in [
        (folder.path().join("none.csv"), "no such file"),
        (folder.path().to_path_buf(), "folder"),
    ] {
        let error = Table::open(&path, &ReadOptions::default()).unwrap_err();
        assert!(
            error.is_input() && error.to_string().contains(says),
            "{error}"
        );
        assert!(error.to_string().starts_with(&path.display().to_string()));
    }
}

#[test]
fn what_is_found_is_said() {
    let text = "\u{feff}n;start;end;Wert\r\n7;2024-01-03;2024-01-04;2,5\r\n;;;\r\n8;2024-01-01;2024-01-02;1,5\r\n";
    let table = read(text, &ReadOptions::default()).unwrap();
    assert_eq!(table.columns(), ["n", "start", "end", "Wert"]);
    assert_eq!(table.numeric_columns(), ["n", "Wert"]);
    assert_eq!(
        fact(&table, "format"),
        "semicolon separated, with a header, decimal commas"
    );
    assert_eq!(
        fact(&table, "time"),
        "`start`, 2024-01-01 to 2024-01-03, newest first, sorted"
    );
    let notes = table.notes().join("\n");
    for part in ["`end` holds times too", "decimal commas", "newest row"] {
        assert!(notes.contains(part), "{notes}");
    }
    let series = table.series("Wert").unwrap();
    assert_eq!((series.values[0], series.values[1]), (1.5, 2.5));

    let counted = read("row,y\n1,5\n2,6\n3,7\n", &ReadOptions::default()).unwrap();
    assert_eq!(counted.time_column(), "row");
    assert!(counted.notes()[0].contains("`row` goes up from 1 to 3"));
    let bare = read("2024-01-01|5\n2024-01-02|6\n", &ReadOptions::default()).unwrap();
    assert!(bare.notes()[0].contains("no header"));
}

#[test]
fn each_way_to_fill() {
    let nan = f64::NAN;
    let gappy = [nan, 1.0, 2.0, nan, nan, 5.0, nan, nan];
    for (how, want) in [
        (Gaps::Interpolate, [1.0, 1.0, 2.0, 3.0, 4.0, 5.0, 5.0, 5.0]),
        (Gaps::Previous, [1.0, 1.0, 2.0, 2.0, 2.0, 5.0, 5.0, 5.0]),
        (Gaps::Zero, [0.0, 1.0, 2.0, 0.0, 0.0, 5.0, 0.0, 0.0]),
        (Gaps::Season, [1.0, 1.0, 2.0, 1.0, 1.0, 5.0, 1.0, 1.0]),
    ] {
        let filled = fill(&gappy, how, 3).unwrap();
        assert!(
            filled.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-12),
            "{how}: {filled:?}"
        );
    }
    assert!(
        fill(&gappy, Gaps::Refuse, 3)
            .unwrap_err()
            .to_string()
            .contains("5 of 8")
    );
    for how in Gaps::ALL.iter().copied() {
        assert_eq!(how.name().parse(), Ok(how));
        assert_eq!(serde_json::to_string(&how).unwrap(), format!("\"{how}\""));
        assert!(fill(&[nan, nan], how, 1).is_err());
        assert_eq!(fill(&[], how, 1), Ok(Vec::new()));
        assert_eq!(fill(&[1.0, f64::MAX], how, 0), Ok(vec![1.0, f64::MAX]));
    }
    assert!(
        "linear"
            .parse::<Gaps>()
            .unwrap_err()
            .to_string()
            .contains("interpolate, previous")
    );
}

fn gappy() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(prop_oneof![Just(f64::NAN), -1e308..1e308, Just(0.0)], 0..40)
}

/// Small files that are nearly tables.
fn nearly_csv() -> impl Strategy<Value = Vec<u8>> {
    let cell = prop_oneof![
        Just("2024-01-01".to_string()),
        Just("31/12/2024 7:00".to_string()),
        Just("2024-03-31T02:00+01:00[Europe/Paris]".to_string()),
        Just("2007-13".to_string()),
        Just("9999-12-31".to_string()),
        Just("\"a\nb\"".to_string()),
        Just("\"".to_string()),
        Just("NaN".to_string()),
        Just("-1,5e9".to_string()),
        Just("1e999".to_string()),
        Just("9223372036854775807".to_string()),
        Just("-9999-01-01".to_string()),
        Just("é".to_string()),
        Just(String::new()),
        (-3i64..40).prop_map(|n| n.to_string()),
        (0u32..99999).prop_map(|n| format!("2024-01-{n:02}")),
        "\\PC{0,6}",
    ];
    let row = prop::collection::vec(cell, 1..4);
    let file = (prop::collection::vec(row, 0..8), "[,;\t|]", "(\n|\r\n|\r)");
    file.prop_map(|(rows, delimiter, newline)| {
        let rows: Vec<String> = rows.iter().map(|row| row.join(&delimiter)).collect();
        rows.join(&newline).into_bytes()
    })
}

fn everything_of(bytes: &[u8], options: &ReadOptions) {
    let Ok(table) = Table::read(bytes, "t.csv", options) else {
        return;
    };
    table.facts();
    table.notes();
    for name in table.columns() {
        if let Ok(series) = table.series(name) {
            assert_eq!(series.values.len(), table.axis().len());
            assert!(series.values.iter().all(|value| !value.is_infinite()));
            series.facts();
        }
    }
    let axis = table.axis();
    for i in [0, axis.len(), axis.len() + 1, 1_000_000_000, usize::MAX] {
        axis.label(i);
        axis.calendar(i);
    }
    let json = serde_json::to_string(axis).unwrap();
    assert_eq!(&serde_json::from_str::<TimeAxis>(&json).unwrap(), axis);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        everything_of(&bytes, &ReadOptions::default());
    }

    #[test]
    fn nothing_like_a_table_panics(
        bytes in nearly_csv(),
        frequency in prop::option::of("(D|H|MS|B|Q|15min|4000000000 years|ms|steps)"),
        zone in prop::option::of("(Europe/Paris|UTC)"),
        time in prop::option::of("(column_1|1|31/12/2024 7:00)"),
        header in prop::option::of(any::<bool>()),
    ) {
        let options = ReadOptions { frequency, zone, time, header, ..ReadOptions::default() };
        everything_of(&bytes, &options);
    }

    #[test]
    fn a_stored_grid_is_checked(
        every in any::<i64>(), day in any::<i8>(), start in any::<i64>(), which in 0usize..5,
        format in "(\"steps\"|\"seconds\"|\"milliseconds\"|[{]\"pattern\":\"%[-0-9]{0,3}[YmdHMSsQqzCf.:]{1,3}Z?\"[}])",
        zone in "(null|\"Europe/Paris\")",
    ) {
        let rule = ["steps", "days", "weekdays", "elapsed", "months"][which];
        let fields = match rule {
            "elapsed" => format!("\"ms\":{every}"),
            "months" => format!("\"every\":{every},\"day\":{day}"),
            _ => format!("\"every\":{every}"),
        };
        let json = format!(
            "{{\"format\":{format},\"zone\":{zone},\"frequency\":\"daily\",\"rule\":{{\"{rule}\":{{{fields}}}}},\"start\":{start},\"len\":3}}"
        );
        if let Ok(axis) = serde_json::from_str::<TimeAxis>(&json) {
            prop_assert!(every > 0);
            for i in [0, 1, 2, usize::MAX] {
                axis.label(i);
                axis.calendar(i);
            }
        }
    }

    #[test]
    fn a_broken_example_is_read_or_refused(at in 0usize..2000, byte in any::<u8>(), cut in 0usize..2000) {
        let mut bytes = std::fs::read(example("household_energy_monthly.csv")).unwrap();
        bytes.truncate(bytes.len() - cut);
        if let Some(slot) = bytes.get_mut(at) {
            *slot = byte;
        }
        everything_of(&bytes, &ReadOptions::default());
    }

    #[test]
    fn filling_keeps_values_and_sees_no_later_ones(
        values in gappy(), tail in gappy(), season in 0usize..9, which in 0usize..5,
    ) {
        let how = Gaps::ALL[which];
        let Ok(filled) = fill(&values, how, season) else {
            let missing = values.iter().filter(|value| value.is_nan()).count();
            prop_assert!(missing == values.len() || how == Gaps::Refuse && missing > 0);
            return Ok(());
        };
        prop_assert_eq!(filled.len(), values.len());
        for (value, filled) in values.iter().zip(&filled) {
            prop_assert!(filled.is_finite());
            prop_assert!(value.is_nan() || value.to_bits() == filled.to_bits());
        }
        let longer = [values.clone(), tail].concat();
        prop_assert_eq!(fill(&longer[..values.len()], how, season), Ok(filled));
    }

    #[test]
    fn a_written_series_reads_back(values in prop::collection::vec(prop::option::of(-1e9..1e9f64), 3..40)) {
        let mut text = "t,y\n".to_string();
        for (i, value) in values.iter().enumerate() {
            text += &format!("{i},{}\n", value.map_or(String::new(), |value| value.to_string()));
        }
        let Ok(series) = read(&text, &ReadOptions::default()).unwrap().series("y") else {
            prop_assert!(values.iter().all(Option::is_none));
            return Ok(());
        };
        let Series { values: found, .. } = series;
        let found: Vec<Option<f64>> = found.into_iter().map(|v| (!v.is_nan()).then_some(v)).collect();
        prop_assert_eq!(found, values);
    }
}
