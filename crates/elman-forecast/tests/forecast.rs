//! A forecast from end to end: what it gives, what it must never see, what it
//! refuses.

use elman::train::{Control, Threads};
use elman_forecast::error::Error;
use elman_forecast::forecast;
use elman_forecast::learner::{Learned, Lesson, Progress};
use elman_forecast::model::ForecastModel;
use elman_forecast::options::{Cell, ForecastOptions, Gaps, Loss, Named, Scaling, Strategy};
use elman_forecast::outcome::{ForecastRow, Outcome};
use elman_forecast::plan::{Parts, Plan};
use elman_forecast::table::{ReadOptions, Table};
use elman_forecast::windows::{Preparation, Prepared};
use proptest::prelude::*;
use proptest::strategy::Strategy as Draw;
use proptest::test_runner::RngSeed;
use serde_json::Value;
use std::io::Write;
use tempfile::NamedTempFile;

const NAN: f64 = f64::NAN;

/// A table of the columns `t` and `y`; a missing value is a blank cell.
fn table(values: &[f64], time: impl Fn(usize) -> String) -> NamedTempFile {
    let cell = |v: &f64| {
        if v.is_nan() {
            String::new()
        } else {
            format!("{v:e}")
        }
    };
    let rows = values.iter().enumerate();
    let rows: String = rows
        .map(|(i, v)| format!("{},{}\n", time(i), cell(v)))
        .collect();
    file(&format!("t,y\n{rows}"))
}

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

/// The steps 1, 2, 3, ...
fn step(i: usize) -> String {
    (i + 1).to_string()
}

fn day(i: usize) -> String {
    let start = jiff::civil::date(2023, 1, 1);
    start
        .saturating_add(jiff::Span::new().days(i as i64))
        .to_string()
}

/// A season of 7 and a pseudorandom rest.
fn wave(n: usize) -> Vec<f64> {
    let value = |t: usize| 20.0 + (t % 7 * 3) as f64 + (t * t * 31 % 17) as f64 / 4.0;
    (0..n).map(value).collect()
}

/// All defaults.
fn by_default(horizon: usize) -> ForecastOptions {
    ForecastOptions {
        target: Some("y".into()),
        threads: Some(1),
        ..ForecastOptions::new(horizon)
    }
}

/// As little work as there can be.
fn quick(horizon: usize) -> ForecastOptions {
    ForecastOptions {
        epochs: Some(1),
        hidden_size: Some(3),
        ..by_default(horizon)
    }
}

fn go_on(_: &Progress) -> Control {
    Control::Continue
}

fn run(file: &NamedTempFile, options: &ForecastOptions) -> Result<(Outcome, ForecastModel), Error> {
    forecast(file.path(), options, &mut go_on)
}

fn on_steps(values: &[f64], options: &ForecastOptions) -> (Outcome, ForecastModel) {
    run(&table(values, step), options).unwrap()
}

fn values(rows: &[ForecastRow]) -> Vec<f64> {
    rows.iter().map(|row| row.value).collect()
}

fn bits(rows: &[ForecastRow]) -> Vec<u64> {
    rows.iter().map(|row| row.value.to_bits()).collect()
}

fn choice<'a>(outcome: &'a Outcome, flag: &str) -> (&'a str, &'a str) {
    let mut choices = outcome.choices.iter();
    let choice = choices.find(|choice| choice.flag == flag);
    let choice = choice.unwrap_or_else(|| panic!("{flag} is not said"));
    (&choice.value, &choice.why)
}

/// Every number of an outcome is finite, and undefined ones are `None`.
fn assert_sane(outcome: &Outcome) {
    let number = |x: f64| assert!(x.is_finite(), "{x}");
    let row = |row: &ForecastRow| {
        number(row.value);
        for bound in [row.lo_80, row.hi_80, row.lo_95, row.hi_95] {
            bound.into_iter().for_each(number);
        }
        let inside = |lo: Option<f64>, hi: Option<f64>| {
            lo.zip(hi)
                .is_none_or(|(lo, hi)| lo <= row.value && row.value <= hi)
        };
        assert!(inside(row.lo_80, row.hi_80) && inside(row.lo_95, row.hi_95));
    };
    outcome.forecast.iter().for_each(row);
    assert_eq!(outcome.forecast.len(), outcome.horizon);
    for origin in &outcome.backtest.origins {
        origin.rows.iter().for_each(row);
        origin.truth.iter().flatten().for_each(|x| number(*x));
    }
    for method in &outcome.backtest.methods {
        let s = &method.scores;
        let scores = [s.mae, s.rmse, s.smape, s.mase, s.coverage_80, s.coverage_95];
        for x in scores.into_iter().flatten() {
            number(x);
            assert!(x >= 0.0, "{x}");
        }
        method.mae_by_step.iter().flatten().for_each(|x| number(*x));
    }
    for curve in &outcome.training {
        curve
            .train
            .iter()
            .chain(&curve.valid)
            .for_each(|x| number(*x));
    }
    assert!(!outcome.verdict.is_empty());
}

#[test]
fn a_straight_line_goes_on() {
    type Line = fn(f64) -> f64;
    let lines: [Line; 3] = [|t| t, |t| 1000.0 + 3.0 * t, |t| -t];
    let check = |line: Line, n: usize, horizon: usize, time: fn(usize) -> String| {
        let values: Vec<f64> = (1..=n).map(|t| line(t as f64)).collect();
        let file = table(&values, time);
        for strategy in Strategy::ALL {
            let options = ForecastOptions {
                strategy: Some(*strategy),
                ..by_default(horizon)
            };
            let (outcome, _) = run(&file, &options).unwrap();
            assert_sane(&outcome);
            for (k, row) in outcome.forecast.iter().enumerate() {
                let truth = line((n + 1 + k) as f64);
                let error = (row.value - truth).abs() / truth.abs();
                let case = format!("{n} rows, {strategy}, {}", row.time);
                assert!(
                    error < 0.01,
                    "{case}: {truth} was forecast as {}",
                    row.value
                );
                assert_eq!(row.time, time(n + k), "{case}");
            }
        }
    };
    for line in lines {
        for n in [40, 60, 200] {
            check(line, n, 5, step);
            check(line, n, 5, day);
        }
        check(line, 12, 2, step);
    }
    check(lines[0], 1000, 24, step);
}

#[test]
fn a_constant_stays_the_same() {
    for constant in [0.0, 0.1, -7.3, 1e300, -1e-300, f64::from_bits(1)] {
        for n in [12, 37] {
            for strategy in Strategy::ALL {
                for scaling in Scaling::ALL {
                    let options = ForecastOptions {
                        strategy: Some(*strategy),
                        scaling: Some(*scaling),
                        ..quick(3)
                    };
                    let (outcome, model) = on_steps(&vec![constant; n], &options);
                    let case = format!("{constant:e}, {n} rows, {strategy}, {scaling}");
                    assert_sane(&outcome);
                    assert_eq!(values(&outcome.forecast), [constant; 3], "{case}");
                    let elman = outcome.backtest.methods[0].scores;
                    assert_eq!(elman.mae, Some(0.0), "{case}");
                    assert_eq!((elman.smape, elman.mase), (Some(0.0), None), "{case}");
                    let verdict = &outcome.verdict;
                    assert!(verdict.contains("without an error"), "{case}: {verdict}");
                    assert!(!verdict.contains("wider"), "{case}: {verdict}");
                    let again = ForecastModel::from_bytes(&model.to_bytes().unwrap()).unwrap();
                    let newer = again.predict(table(&vec![constant; n], step).path());
                    assert_eq!(values(&newer.unwrap().rows), [constant; 3], "{case}");
                }
            }
        }
    }
}

/// A plan, and networks trained on the rows before `end`.
fn learn(values: &[f64], options: &ForecastOptions, end: usize) -> (Plan, Learned) {
    let series = series(&values[..end]);
    let (plan, _) = Plan::resolve(options, &series).unwrap();
    let prepared = prepare(&values[..end], &plan);
    let (look_back, steps) = (plan.shape.look_back, plan.shape.steps);
    let lesson = Lesson {
        stage: "network",
        curve: "network",
        train: Parts::windows(&(prepared.first()..end), look_back, steps),
        stopping: Vec::new(),
        end,
        epochs: Vec::new(),
    };
    let learned = Learned::train(&plan, &prepared, lesson, Threads(1), &mut go_on);
    (plan, learned.unwrap().0)
}

fn series(values: &[f64]) -> elman_forecast::series::Series {
    let table = Table::open(table(values, day).path(), &ReadOptions::default());
    table.unwrap().series("y").unwrap()
}

fn prepare(values: &[f64], plan: &Plan) -> Prepared {
    let by = Preparation {
        calendar: &plan.calendar,
        horizon: plan.horizon,
        gaps: plan.gaps,
        season: plan.season,
        offset: 0,
    };
    Prepared::new(values, &series(values).axis, by).unwrap()
}

fn gappy(n: usize) -> impl Draw<Value = Vec<f64>> {
    let value = prop_oneof![4 => -50.0..50.0, 1 => Just(NAN)];
    prop::collection::vec(value, n)
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        rng_seed: RngSeed::Fixed(0),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(cases(24))]

    /// Whatever stands at or after an origin, a forecast from it has the same
    /// bits, also where a gap spans the origin.
    #[test]
    fn no_forecast_sees_a_later_row(
        earlier in gappy(50),
        later in gappy(12),
        others in prop::collection::vec(prop_oneof![1 => -9e9..9e9, 1 => Just(NAN)], 12),
        gap in 0..4_usize,
        gaps in prop::sample::select(&[Gaps::Interpolate, Gaps::Previous, Gaps::Zero, Gaps::Season][..]),
        strategy in prop::sample::select(Strategy::ALL),
        scaling in prop::sample::select(Scaling::ALL),
    ) {
        let mut known = earlier;
        known[0] = 1.0;
        known[50 - gap..].fill(NAN);
        let options = ForecastOptions {
            gaps: Some(gaps),
            strategy: Some(strategy),
            scaling: Some(scaling),
            look_back: Some(9),
            ..quick(4)
        };
        let (plan, learned) = learn(&known, &options, 50);
        let origins: Vec<usize> = (20..=50).collect();
        let forecasts = |later: &[f64]| {
            let mut values = [&known[..], later].concat();
            // The same grid of times, whatever is missing.
            values.push(1.0);
            learned.forecast(&plan, &prepare(&values, &plan), &origins).unwrap()
        };
        let expected = forecasts(&later);
        prop_assert_eq!(&forecasts(&others), &expected);
        prop_assert_eq!(&forecasts(&[NAN; 12]), &expected);
    }

    /// Rows of the test part change neither the network that is tested, nor a
    /// choice, nor a forecast of the backtest from an origin before them.
    #[test]
    fn the_backtest_sees_no_later_row(
        rest in gappy(20),
        at in 0..20_usize,
        strategy in prop::sample::select(Strategy::ALL),
    ) {
        let options = ForecastOptions {
            strategy: Some(strategy),
            test_rows: Some(20),
            ..quick(3)
        };
        let values = wave(100);
        let mut changed = values.clone();
        changed[80 + at..].copy_from_slice(&rest[at..]);
        let (a, _) = on_steps(&values, &options);
        let (b, _) = on_steps(&changed, &options);
        prop_assert_eq!(&a.training[0].train, &b.training[0].train);
        prop_assert_eq!(&a.training[0].valid, &b.training[0].valid);
        let said = |outcome: &Outcome| -> Vec<String> {
            outcome.choices.iter().map(|choice| format!("{choice:?}")).collect()
        };
        prop_assert_eq!(said(&a), said(&b));
        prop_assert_eq!(a.backtest.origins.len(), 18);
        for (a, b) in a.backtest.origins.iter().zip(&b.backtest.origins) {
            if a.first <= 80 + at {
                prop_assert_eq!(&a.rows, &b.rows);
            }
        }
    }
}

#[test]
fn missing_truth_is_not_scored() {
    let mut values = wave(120);
    for gap in [98..99, 103..106, 118..120] {
        values[gap].fill(NAN);
    }
    let options = ForecastOptions {
        test_rows: Some(24),
        ..quick(3)
    };
    let (outcome, _) = on_steps(&values, &options);
    assert_sane(&outcome);
    let mut errors = Vec::new();
    for origin in &outcome.backtest.origins {
        for ((k, row), truth) in origin.rows.iter().enumerate().zip(&origin.truth) {
            let there = values[origin.first + k];
            assert_eq!(*truth, (!there.is_nan()).then_some(there));
            errors.extend(truth.map(|truth| (truth - row.value).abs()));
        }
    }
    let mae = errors.iter().sum::<f64>() / errors.len() as f64;
    let scored = outcome.backtest.methods[0].scores.mae.unwrap();
    assert!((scored - mae).abs() < 1e-12 * mae, "{scored} and {mae}");
    // 22 origins of 3 steps; a step is missed by each origin that reaches it.
    assert_eq!(errors.len(), 22 * 3 - 3 - 9 - 3);
    // The forecast follows the last row, blank or not.
    assert_eq!(outcome.forecast[0].time, "121");

    values[96..].fill(NAN);
    let (outcome, _) = on_steps(&values, &options);
    assert_sane(&outcome);
    for method in &outcome.backtest.methods {
        assert_eq!(method.scores, Default::default(), "{}", method.name);
    }
    assert!(outcome.verdict.starts_with("Nothing could be scored"));

    // Without truths before the test part there is nothing to calibrate on.
    let mut values = wave(120);
    values[70..96].fill(NAN);
    let (outcome, _) = on_steps(&values, &options);
    assert_sane(&outcome);
    assert_eq!(outcome.forecast[0].lo_80, None);
    let notes = outcome.notes.join("\n");
    assert!(notes.contains("no 80 % interval"), "{notes}");
}

#[test]
fn leading_blanks_are_left_out() {
    let blanks = 30;
    let values = [vec![NAN; blanks], wave(90)].concat();
    let options = ForecastOptions {
        season: Some(7),
        ..quick(3)
    };
    for gaps in Gaps::ALL {
        let options = ForecastOptions {
            gaps: Some(*gaps),
            ..options.clone()
        };
        let (outcome, _) = on_steps(&values, &options);
        assert_sane(&outcome);
        assert_eq!(outcome.splits[0].from, "31", "{gaps}");
        // The same as a table that begins with the first value.
        let short = wave(90);
        let later = table(&short, |i| (i + 1 + blanks).to_string());
        let (expected, _) = run(&later, &options).unwrap();
        for (a, b) in outcome
            .backtest
            .methods
            .iter()
            .zip(&expected.backtest.methods)
        {
            if a.name != "elman" && a.name != "ridge" {
                assert_eq!(a.scores, b.scores, "{gaps}, {}", a.name);
            }
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let file = table(&wave(150), day);
    let bytes = |seed, threads| {
        let options = ForecastOptions {
            epochs: Some(2),
            members: Some(2),
            seed,
            threads: Some(threads),
            ..quick(3)
        };
        let (outcome, model) = run(&file, &options).unwrap();
        (model.to_bytes().unwrap(), bits(&outcome.forecast))
    };
    let one = bytes(5, 1);
    for threads in [1, 2, 3] {
        assert!(bytes(5, threads) == one, "{threads} threads");
    }
    let other = bytes(6, 1);
    assert!(other.0 != one.0 && other.1 != one.1);
}

#[test]
fn a_model_goes_on_where_the_table_ends() {
    let values = wave(150);
    for strategy in Strategy::ALL {
        for (time, season) in [(day as fn(usize) -> String, None), (step, Some(5))] {
            let options = ForecastOptions {
                strategy: Some(*strategy),
                season,
                members: Some(2),
                ..quick(4)
            };
            let (outcome, model) = run(&table(&values[..140], time), &options).unwrap();
            let model = ForecastModel::from_bytes(&model.to_bytes().unwrap()).unwrap();
            let again = model.predict(table(&values[..140], time).path()).unwrap();
            assert_eq!(again.rows, outcome.forecast);
            assert_eq!(again.newest, time(139));

            // No more than the network looks back on is needed.
            let look_back = model.plan().shape.look_back;
            let newest = table(&values[140 - look_back..140], |i| time(140 - look_back + i));
            assert_eq!(model.predict(newest.path()).unwrap().rows, outcome.forecast);

            let newer = model.predict(table(&values, time).path()).unwrap();
            assert_eq!(newer.rows[0].time, time(150));
            assert_ne!(bits(&newer.rows), bits(&outcome.forecast));
        }
    }
}

#[test]
fn a_table_that_does_not_fit_the_model_is_refused() {
    let (_, model) = run(&table(&wave(100), day), &quick(3)).unwrap();
    let refused = |text: String, parts: &[&str]| {
        let file = file(&text);
        let error = model.predict(file.path()).unwrap_err();
        let place = file.path().display().to_string();
        assert!(error.is_input(), "{error}");
        for part in parts.iter().chain([&&*place]) {
            assert!(error.to_string().contains(part), "{part:?} in {error}");
        }
        assert!(!error.to_string().contains("--"), "{error}");
    };
    let rows = |time: &dyn Fn(usize) -> String, n: usize| -> String {
        (0..n).map(|i| format!("{},{i}\n", time(i))).collect()
    };
    let days = rows(&day, 60);
    refused(format!("t,x\n{days}"), &["no column `y`", "`x`"]);
    refused(format!("date,y\n{days}"), &["no column `t`", "`date`"]);
    refused(
        format!("t,y\n{}", rows(&day, 20)),
        &["20", "28", "too few rows"],
    );
    refused(
        format!("t,y\n{}", rows(&step, 60)),
        &["`t`", "calendar", "whole-number steps"],
    );
    refused(
        format!("t,y\n{}", rows(&|i| day(7 * i), 60)),
        &["`t`", "daily", "weekly"],
    );
    refused(
        format!(
            "t,y\n{}",
            rows(&|i| format!("{} {:02}:00", day(i / 24), i % 24), 60)
        ),
        &["`t`", "daily", "hourly"],
    );
    refused(format!("t,y\n{days}{},x\n", day(60)), &["line 62", "`x`"]);
    refused(
        format!("t,y\n{}", days.replace(",7\n", ",inf\n")),
        &["line 9", "`inf`"],
    );
    refused("t,y\n".into(), &["no rows"]);
    let blank: String = (0..60).map(|i| format!("{},\n", day(i))).collect();
    refused(format!("t,y\n{blank}"), &["`y`", "no values"]);

    let steps = on_steps(&wave(100), &quick(3)).1;
    let error = steps
        .predict(file(&format!("t,y\n{days}")).path())
        .unwrap_err();
    for part in ["whole-number steps", "calendar"] {
        assert!(error.to_string().contains(part), "{error}");
    }
}

/// Every place of a JSON value, as a pointer.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_string());
    match value {
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                places(item, &format!("{at}/{i}"), found);
            }
        }
        Value::Object(entries) => {
            for (key, entry) in entries {
                places(entry, &format!("{at}/{key}"), found);
            }
        }
        _ => {}
    }
}

/// A model file is used as far as it can be; nothing in it makes that panic.
fn try_everything(bytes: &[u8], table: &NamedTempFile) -> Result<(), Error> {
    let model = ForecastModel::from_bytes(bytes)?;
    model.facts().describe();
    for row in model.predict(table.path())?.rows {
        assert!(row.value.is_finite());
    }
    Ok(())
}

#[test]
fn a_damaged_model_is_refused() {
    let file = table(&wave(60), day);
    for strategy in Strategy::ALL {
        let options = ForecastOptions {
            strategy: Some(*strategy),
            look_back: Some(6),
            members: Some(2),
            season: Some(5),
            ..quick(2)
        };
        let bytes = run(&file, &options).unwrap().1.to_bytes().unwrap();
        try_everything(&bytes, &file).unwrap();
        for end in (0..bytes.len()).step_by(97) {
            assert!(try_everything(&bytes[..end], &file).is_err(), "{end}");
        }

        let header_len = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let header: Value = serde_json::from_slice(&bytes[8..8 + header_len]).unwrap();
        let metadata = header["__metadata__"]["elman"].as_str().unwrap();
        let metadata: Value = serde_json::from_str(metadata).unwrap();
        let with = |metadata: &Value| {
            let mut header = header.clone();
            header["__metadata__"]["elman"] = metadata.to_string().into();
            let header = header.to_string();
            let length = (header.len() as u64).to_le_bytes();
            [&length, header.as_bytes(), &bytes[8 + header_len..]].concat()
        };
        let mut all = Vec::new();
        places(&metadata, "", &mut all);
        let junk = [
            Value::Null,
            true.into(),
            0.into(),
            (-1).into(),
            7.into(),
            1_000_000_000.into(),
            u64::MAX.into(),
            1e308.into(),
            (-1e-308).into(),
            "".into(),
            "gru".into(),
            "monthly".into(),
            Value::Array(Vec::new()),
            Value::Object(Default::default()),
        ];
        for place in &all {
            for junk in &junk {
                let mut metadata = metadata.clone();
                *metadata.pointer_mut(place).unwrap() = junk.clone();
                // Refused or used; a number that is merely another one is used.
                let tried = try_everything(&with(&metadata), &file);
                let essential = [
                    "/app/plan/horizon",
                    "/app/plan/strategy",
                    "/app/bands",
                    "/app/kind",
                ];
                if essential.contains(&&**place) {
                    let error = tried.expect_err(&format!("{place}: {junk}"));
                    assert!(error.is_input(), "{place}: {junk}: {error}");
                }
            }
        }
        let without = |key: &str| {
            let mut metadata = metadata.clone();
            metadata["app"]
                .as_object_mut()
                .unwrap()
                .remove(key)
                .unwrap();
            metadata
        };
        for key in ["kind", "plan", "scale", "bands", "time_column", "axis"] {
            let error = try_everything(&with(&without(key)), &file).unwrap_err();
            assert!(error.to_string().contains(key), "{error}");
        }
    }
}

#[test]
fn the_longest_horizon_is_told() {
    let longest = |values: &[f64], options: &ForecastOptions| -> usize {
        let error = run(&table(values, step), options).unwrap_err().to_string();
        let (_, mend) = error
            .split_once("--horizon ")
            .unwrap_or_else(|| panic!("{error}"));
        let digits = mend.split(' ').next().unwrap();
        digits.parse().unwrap_or_else(|_| panic!("{error}"))
    };
    for n in 12..60 {
        let values = wave(n);
        for given in [None, Some(5)] {
            let options = |horizon| ForecastOptions {
                look_back: given,
                ..quick(horizon)
            };
            let most = longest(&values, &options(n));
            for horizon in 1..=n {
                let done = run(&table(&values, step), &options(horizon));
                match done {
                    Ok((outcome, _)) => {
                        assert!(horizon <= most, "{n} rows, {horizon} steps");
                        assert_sane(&outcome);
                    }
                    Err(error) => {
                        assert!(error.is_input(), "{error}");
                        let error = error.to_string();
                        assert!(horizon > most, "{n} rows, {horizon} steps: {error}");
                        assert!(error.contains("too few rows"), "{error}");
                        assert!(error.contains("are needed"), "{error}");
                        assert_eq!(longest(&values, &options(horizon)), most, "{error}");
                    }
                }
            }
        }
    }
    for n in 1..12 {
        let error = run(&table(&wave(n), day), &quick(1)).unwrap_err();
        let error = error.to_string();
        if n > 1 {
            assert!(error.contains(&format!("{n}, at least 12")), "{error}");
        }
    }
}

#[test]
fn every_option_counts() {
    let mut values = wave(120);
    values[40] = NAN;
    let file = table(&values, day);
    let base = || ForecastOptions {
        epochs: Some(3),
        // With two layers the dropout between them counts as well.
        layers: Some(2),
        ..quick(3)
    };
    let (outcome, model) = run(&file, &base()).unwrap();
    let model = model.to_bytes().unwrap();
    type Set = fn(&mut ForecastOptions);
    let cases: [(&str, &str, Set); 17] = [
        ("--strategy", "recursive", |o| {
            o.strategy = Some(Strategy::Recursive)
        }),
        ("--look-back", "9", |o| o.look_back = Some(9)),
        ("--cell", "lstm", |o| o.cell = Some(Cell::Lstm)),
        ("--cell", "rnn", |o| o.cell = Some(Cell::Rnn)),
        ("--hidden-size", "4", |o| o.hidden_size = Some(4)),
        ("--layers", "1", |o| o.layers = Some(1)),
        ("--dropout", "0.1", |o| o.dropout = Some(0.1)),
        ("--loss", "huber", |o| o.loss = Some(Loss::Huber)),
        ("--scaling", "mean", |o| o.scaling = Some(Scaling::Mean)),
        ("--epochs", "2", |o| o.epochs = Some(2)),
        ("--batch-size", "7", |o| o.batch_size = Some(7)),
        ("--learning-rate", "0.01", |o| o.learning_rate = Some(0.01)),
        ("--members", "2", |o| o.members = Some(2)),
        ("--season", "5", |o| o.season = Some(5)),
        ("--gaps", "zero", |o| o.gaps = Some(Gaps::Zero)),
        ("--test-rows", "30", |o| o.test_rows = Some(30)),
        ("--patience", "2", |o| o.patience = Some(2)),
    ];
    for (flag, value, set) in cases {
        let mut options = base();
        set(&mut options);
        let (other, changed) = run(&file, &options).unwrap();
        assert_eq!(choice(&other, flag), (value, "given"));
        assert_ne!(choice(&outcome, flag).0, value, "{flag}");
        assert!(changed.to_bytes().unwrap() != model, "{flag} {value}");
        // The row of the plan in the file is not all that changes.
        let figures = |outcome: &Outcome| format!("{:?}{:?}", outcome.forecast, outcome.backtest);
        if flag != "--patience" {
            assert_ne!(figures(&other), figures(&outcome), "{flag} {value}");
        }
        assert_sane(&other);
    }
    for flag in ["--epochs", "--hidden-size", "--layers"] {
        assert_eq!(choice(&outcome, flag).1, "given");
    }
    let refused = ForecastOptions {
        gaps: Some(Gaps::Refuse),
        ..base()
    };
    let error = run(&file, &refused).unwrap_err().to_string();
    assert!(
        error.contains("column y") && error.contains(&day(40)),
        "{error}"
    );
}

#[test]
fn patience_ends_the_training() {
    let epochs = |patience| {
        let options = ForecastOptions {
            epochs: Some(60),
            patience,
            ..quick(3)
        };
        let (outcome, _) = on_steps(&wave(120), &options);
        let [backtest, last] = &outcome.training[..] else {
            panic!("{} curves", outcome.training.len());
        };
        (backtest.train.len(), backtest.best + 1, last.train.len())
    };
    assert_eq!(epochs(None), (60, 60, 60));
    // The final model has no rows to stop by, and ends where the tested one was best.
    let (backtest, best, last) = epochs(Some(1));
    assert!(backtest < 60 && last == best, "{backtest}, {best}, {last}");

    let options = ForecastOptions {
        patience: Some(3),
        ..quick(3)
    };
    let error = run(&table(&wave(20), step), &options).unwrap_err();
    for part in ["--patience 3", "too few", "leave it out"] {
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn every_kind_of_time_goes_on() {
    let check =
        |n: usize, options: ForecastOptions, time: &dyn Fn(usize) -> String, frequency: &str| {
            let (outcome, _) = run(&table(&wave(n), time), &options).unwrap();
            assert_sane(&outcome);
            assert_eq!(outcome.frequency, frequency);
            let times: Vec<&str> = outcome.forecast.iter().map(|row| &*row.time).collect();
            let expected: Vec<String> = (n..n + outcome.horizon).map(time).collect();
            assert_eq!(times, expected);
            for row in &outcome.forecast {
                assert!((-50.0..100.0).contains(&row.value), "{frequency}: {row:?}");
            }
        };
    let from = |start: &str, unit: fn(i64) -> jiff::Span, format: &'static str| {
        let start: jiff::civil::DateTime = start.parse().unwrap();
        move |i: usize| (start + unit(i as i64)).strftime(format).to_string()
    };
    use jiff::Span;
    let seasonal = ForecastOptions {
        season: Some(7),
        ..quick(3)
    };
    check(90, seasonal, &step, "steps");
    check(90, quick(3), &day, "daily");
    let weeks = from("2019-01-07T00:00", |i| Span::new().weeks(i), "%d.%m.%Y");
    check(130, quick(4), &weeks, "weekly");
    let months = from("2015-01-01T00:00", |i| Span::new().months(i), "%Y-%m");
    check(46, quick(12), &months, "monthly");
    let quarters = from(
        "2005-03-01T00:00",
        |i| Span::new().months(3 * i),
        "%Y-%m-%d",
    );
    check(40, quick(2), &quarters, "quarterly");
    let years = from("1900-01-01T00:00", |i| Span::new().years(i), "%Y");
    check(60, quick(2), &|i| format!("{}-01-01", years(i)), "yearly");
    let short = from(
        "2024-02-27T00:00",
        |i| Span::new().minutes(15 * i),
        "%Y-%m-%d %H:%M",
    );
    check(300, quick(8), &short, "every 15 minutes");
    let hours = from(
        "2024-02-27T00:00",
        |i| Span::new().hours(i),
        "%Y-%m-%dT%H:%M:%S",
    );
    check(200, quick(24), &hours, "hourly");
    let business = |i: usize| day(1 + i / 5 * 7 + i % 5);
    check(120, quick(5), &business, "business daily");

    // Clocks go forward on 31 March 2024: the hour after 01:59 is 03:00.
    let zone = jiff::tz::TimeZone::get("Europe/Paris").unwrap();
    let start = zone
        .to_zoned_datetime(jiff::civil::date(2024, 3, 22).at(0, 0, 0, 0))
        .unwrap();
    let local = |i: usize| {
        let time = &start + jiff::Span::new().hours(i as i64);
        time.strftime("%Y-%m-%d %H:%M").to_string()
    };
    let paris = ForecastOptions {
        zone: Some("Europe/Paris".into()),
        ..quick(24)
    };
    check(216, paris, &local, "hourly");
}

#[test]
fn a_stopped_training_leaves_a_model() {
    let file = table(&wave(120), day);
    let options = ForecastOptions {
        epochs: Some(4),
        members: Some(3),
        ..quick(3)
    };
    for (stage, member) in [
        ("model for the backtest", 0),
        ("model for the backtest", 1),
        ("final model", 0),
        ("final model", 2),
    ] {
        let mut calls = 0;
        let (outcome, model) = forecast(file.path(), &options, &mut |p| {
            let here = (&*p.stage, p.member, p.epoch) == (stage, member, 0);
            if here {
                calls += 1;
                return Control::Stop;
            }
            Control::Continue
        })
        .unwrap();
        let case = format!("{stage}, network {member}");
        assert_eq!(calls, 1, "{case}");
        assert!(outcome.interrupted, "{case}");
        assert_sane(&outcome);
        let notes = outcome.notes.join("\n");
        assert!(notes.contains("interrupted"), "{case}: {notes}");
        let model = ForecastModel::from_bytes(&model.to_bytes().unwrap()).unwrap();
        assert_eq!(model.predict(file.path()).unwrap().rows, outcome.forecast);
        // What is said of the networks is so.
        assert_eq!(model.plan().members, member + 1, "{case}");
        let networks = match member {
            0 => "1 network".to_string(),
            more => format!("{} networks averaged", more + 1),
        };
        assert!(
            outcome.model.ends_with(&networks),
            "{case}: {}",
            outcome.model
        );
    }
    let (outcome, _) = run(&file, &options).unwrap();
    assert!(!outcome.interrupted);
}

#[test]
fn a_loss_that_leaves_the_numbers_leaves_the_last_good_network() {
    let options = ForecastOptions {
        learning_rate: Some(1.0),
        epochs: Some(100),
        ..quick(3)
    };
    let (outcome, _) = on_steps(&wave(120), &options);
    assert_sane(&outcome);
    assert!(!outcome.interrupted);
    for stage in ["model for the backtest", "final model"] {
        let told = |note: &&String| note.starts_with(stage) && note.contains("finite at step ");
        assert!(
            outcome.notes.iter().any(|note| told(&note)),
            "{:?}",
            outcome.notes
        );
    }
    for curve in &outcome.training {
        assert!(curve.train.len() < 100 && !curve.train.is_empty());
    }

    // No network is good before the first epoch is complete.
    let options = ForecastOptions {
        batch_size: Some(1),
        ..options
    };
    let error = run(&table(&wave(400), step), &options).unwrap_err();
    assert!(!error.is_input());
    for part in ["model for the backtest", "at step ", "learning rate"] {
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn a_series_out_of_bounds_is_an_error_or_finite() {
    // A value of the test part that no 32-bit number holds, once scaled.
    let mut values = wave(120);
    values[110] = 1e300;
    let error = run(&table(&values, step), &quick(3)).unwrap_err();
    assert!(!error.is_input());
    assert!(error.to_string().contains("huge values"), "{error}");
}

fn odd_values() -> impl Draw<Value = Vec<f64>> {
    let value = prop_oneof![
        6 => -9.0..9.0,
        2 => Just(NAN),
        2 => Just(3.0),
        1 => prop::sample::select(vec![
            0.0, -0.0, 1e300, -1e300, 1e-300, -1e-300, f64::MAX, f64::MIN, f64::MIN_POSITIVE, 5e-324, 1e38, -1e20,
        ]),
    ];
    prop_oneof![
        prop::collection::vec(value, 5..60),
        prop::collection::vec(prop_oneof![-9e299..9e299, Just(NAN)], 5..40),
        prop::collection::vec(prop_oneof![-1e-299..1e-299, Just(0.0)], 12..40),
        (5..40_usize, 0..40_usize, -1e9..1e9).prop_map(|(n, at, step)| {
            (0..n).map(|i| if i < at { 1.0 } else { step }).collect()
        }),
    ]
}

proptest! {
    #![proptest_config(cases(400))]

    /// Whatever the numbers, there is a finite forecast or an error.
    #[test]
    fn no_values_break_it(
        values in odd_values(),
        horizon in 1..9_usize,
        strategy in prop::sample::select(Strategy::ALL),
        scaling in prop::option::of(prop::sample::select(Scaling::ALL)),
        gaps in prop::option::of(prop::sample::select(Gaps::ALL)),
        loss in prop::sample::select(Loss::ALL),
        learning_rate in prop::sample::select(&[1e-3, 1.0][..]),
        season in prop::sample::select(&[1, 2, 7, 1000][..]),
    ) {
        let options = ForecastOptions {
            strategy: Some(strategy),
            scaling,
            gaps,
            loss: Some(loss),
            learning_rate: Some(learning_rate),
            season: Some(season),
            epochs: Some(2),
            ..quick(horizon)
        };
        let file = table(&values, step);
        match run(&file, &options) {
            Ok((outcome, model)) => {
                assert_sane(&outcome);
                let model = ForecastModel::from_bytes(&model.to_bytes().unwrap()).unwrap();
                prop_assert_eq!(model.predict(file.path()).unwrap().rows, outcome.forecast);
            }
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}

/// Missing truths calibrate nothing, so more rows are calibrated on; and
/// networks that no usual machine holds are refused by their flags.
#[test]
fn intervals_and_sizes_are_provided_for() {
    let mut shut = wave(593);
    shut.iter_mut()
        .skip(3)
        .step_by(7)
        .for_each(|v| *v = f64::NAN);
    let options = ForecastOptions {
        epochs: Some(1),
        ..by_default(7)
    };
    let (outcome, _) = run(&table(&shut, day), &options).unwrap();
    let bands = |row: &ForecastRow| row.lo_80.is_some() && row.lo_95.is_some();
    assert!(outcome.forecast.iter().all(bands), "{:?}", outcome.notes);

    let options = ForecastOptions {
        hidden_size: Some(4096),
        layers: Some(64),
        ..options
    };
    let error = run(&table(&shut, day), &options).unwrap_err();
    assert!(
        error.is_input() && error.to_string().contains("--hidden-size 4096"),
        "{error}"
    );
}
