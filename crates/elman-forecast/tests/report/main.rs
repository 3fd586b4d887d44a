//! The report as a reader's browser gets it.

mod synthetic;

use elman_forecast::outcome::{Observation, Outcome};
use elman_forecast::report;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use synthetic::{Case, day};

/// Holds what is true of every report, and returns the page.
fn check(outcome: &Outcome) -> String {
    let page = report::html(outcome);
    assert!(report::is_elman_report(page.as_bytes()));
    assert_nested(&page);
    assert!(page.len() < 1_500_000, "{} bytes", page.len());

    // Nothing is fetched and nothing runs.
    for forbidden in ["<script", "src=", "@import", "url(", "onload"] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    for target in page.split("href=\"").skip(1) {
        assert!(target.starts_with('#') || target.starts_with("data:"));
    }
    // Numbers that are none stay out.
    for forbidden in ["NaN", ">inf", "Infinity"] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    // Every plot says what it shows.
    let plots = page.matches("<svg").count();
    assert_eq!(plots, page.matches("role=\"img\" aria-label=\"").count());

    let headings = [
        "Verdict",
        "Forecast",
        "Backtest",
        "Residuals",
        "History",
        "Training",
        "What was done",
    ];
    let places = headings.map(|heading| page.find(&format!(">{heading}</h2>")));
    assert!(places.iter().all(Option::is_some) && places.is_sorted());
    page
}

/// Every element is closed in its turn: no text of the outcome became markup.
fn assert_nested(page: &str) {
    let mut open = Vec::new();
    for rest in page.split('<').skip(1) {
        let (tag, _) = rest.split_once('>').expect("a tag ends");
        let name = tag.split_whitespace().next().unwrap_or_default();
        match name.strip_prefix('/') {
            Some(closed) => assert_eq!(open.pop(), Some(closed)),
            None if tag.ends_with('/') || ["!DOCTYPE", "meta", "link"].contains(&name) => {}
            None => open.push(name),
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn every_shape_of_outcome_gives_a_page() {
    let daily = |rows, horizon| Case::wave(rows, horizon, 1.0, |i| i % 40 == 5);
    for (rows, horizon) in [
        (0, 1),
        (1, 1),
        (2, 7),
        (60, 1),
        (400, 7),
        (1500, 720),
        (17_420, 24),
    ] {
        check(&daily(rows, horizon).outcome());
    }
    for size in [1e-310, 1e-9, -1.0, 0.0, 1e12, 1e306] {
        check(&Case::wave(300, 7, size, |_| false).outcome());
    }
    check(&Case::wave(300, 7, 1.0, |_| true).outcome());
}

#[test]
fn parts_that_are_missing_are_said_to_be() {
    let full = Case::wave(300, 7, 1.0, |_| false).outcome();
    let lacks = |change: fn(&mut Outcome), words: &str| {
        let mut outcome = full.clone();
        change(&mut outcome);
        assert!(!report::html(&full).contains(words));
        assert!(check(&outcome).contains(words), "{words}");
    };
    lacks(|o| o.forecast.clear(), "There is no forecast.");
    lacks(|o| o.history.clear(), "The series is empty.");
    lacks(|o| o.training.clear(), "There is no loss curve.");
    lacks(
        |o| o.backtest.origins.clear(),
        "No forecast could be held against the truth.",
    );
    lacks(|o| o.interrupted = true, "stopped before its end");
    lacks(
        |o| {
            o.forecast.iter_mut().for_each(|row| {
                (row.lo_80, row.hi_80, row.lo_95, row.hi_95) = (None, None, None, None);
            })
        },
        "too few residuals to calibrate",
    );
    lacks(
        |o| {
            o.backtest
                .origins
                .iter_mut()
                .for_each(|origin| origin.truth.fill(None))
        },
        "No truth is known beside a forecast.",
    );
    lacks(
        |o| {
            o.backtest
                .methods
                .iter_mut()
                .for_each(|m| m.mae_by_step.fill(None))
        },
        "The error of no step is known.",
    );
    lacks(
        |o| o.training = vec![o.training[0].clone(); 20],
        "8 more networks",
    );
}

#[test]
fn text_is_data() {
    let mut outcome = Case::wave(120, 7, 1.0, |_| false).outcome();
    let text = "</style><script>alert(\"1\")</script><b a='&amp;";
    outcome.target = text.to_owned();
    outcome.verdict = text.to_owned();
    outcome.notes = vec![text.to_owned()];
    outcome.ignored = vec![text.to_owned()];
    outcome.training[0].name = text.to_owned();
    outcome.splits[0].name = text.to_owned();
    outcome.backtest.methods[1].name = text.to_owned();
    for step in &mut outcome.history {
        step.time = text.to_owned();
    }
    check(&outcome);
}

#[test]
fn the_best_of_each_column_is_marked() {
    let mut outcome = Case::wave(300, 7, 1.0, |_| false).outcome();
    let methods = &mut outcome.backtest.methods;
    methods.iter_mut().for_each(|m| m.scores.mase = None);
    methods[6].scores.mae = Some(0.125);
    methods[6].scores.coverage_80 = Some(0.801);
    methods[0].scores.coverage_80 = Some(0.999);
    methods[0].scores.coverage_95 = None;
    let page = check(&outcome);
    let row_of = |name: &str| {
        let from = page
            .find(&format!("<th scope=\"row\">{name}</th>"))
            .expect("a row");
        page[from..].split("</tr>").next().expect("its end")
    };
    assert!(row_of("ridge").contains("<strong class=\"best\">0.125"));
    assert!(row_of("ridge").contains("<strong class=\"best\">80.1"));
    // RMSE and sMAPE; MAE went to ridge, no MASE is known.
    assert_eq!(row_of("elman").matches("(best)").count(), 2);
    assert_eq!(page.matches("(best)").count(), 4);
}

#[test]
fn gaps_stay_gaps() {
    let marks = |missing: fn(usize) -> bool| {
        let page = check(&Case::wave(300, 7, 1.0, missing).outcome());
        let history = page.find(">History</h2>").expect("the section");
        let history = page[history..]
            .split("</section>")
            .next()
            .unwrap_or_default();
        ["fill=\"#C62F3B\"", "<polyline"].map(|mark| history.matches(mark).count())
    };
    // Each drawing has a mark for a gap, and a line for each stretch between.
    let [none, whole] = marks(|_| false);
    let [two, parts] = marks(|i| i == 50 || (100..110).contains(&i));
    assert_eq!((none, two), (0, 2 * 2));
    assert_eq!(parts, whole + 2 * 2);
}

#[test]
fn only_reports_are_recognised() {
    let outcome = Case::wave(30, 1, 1.0, |_| false).outcome();
    let page = report::html(&outcome);
    assert_eq!(page, report::html(&outcome));
    let foreign = "<!DOCTYPE html><html><head><title>elman 0.1</title></head></html>";
    let quoting = format!("<!DOCTYPE html>{}{page}", " ".repeat(600));
    for (bytes, expected) in [
        (page.as_bytes(), true),
        (&page.as_bytes()[..200], true),
        (&page.as_bytes()[1..], false),
        (quoting.as_bytes(), false),
        (foreign.as_bytes(), false),
        (b"", false),
        (b"\xff\xfe<meta", false),
    ] {
        assert_eq!(report::is_elman_report(bytes), expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200,
        rng_seed: RngSeed::Fixed(0),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]
    #[test]
    fn no_number_breaks_the_page(
        values in prop::collection::vec(prop::option::of(any::<f64>()), 0..40),
        odd in prop::collection::vec(any::<f64>(), 8),
        first in any::<usize>(),
        horizon in 1usize..9,
    ) {
        let mut case = Case::wave(values.len(), horizon, 1.0, |_| false);
        case.history = values
            .into_iter()
            .enumerate()
            .map(|(i, value)| Observation { time: day(i), value })
            .collect();
        let mut outcome = case.outcome();
        if let Some(row) = outcome.forecast.first_mut() {
            (row.value, row.lo_80, row.hi_95) = (odd[0], Some(odd[1]), Some(odd[2]));
        }
        if let Some(origin) = outcome.backtest.origins.first_mut() {
            origin.first = first;
            origin.truth.pop();
        }
        outcome.horizon = first;
        outcome.training[0].train = odd.clone();
        outcome.training[0].best = first;
        outcome.backtest.methods[0].scores.mae = Some(odd[3]);
        outcome.backtest.methods[1].scores.coverage_95 = Some(odd[4]);
        check(&outcome);
    }
}
