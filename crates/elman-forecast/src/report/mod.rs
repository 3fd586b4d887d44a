//! The report: one self-contained HTML page that shows an [`Outcome`].
//!
//! The page asks for nothing from the network and runs no script, reads on a
//! phone, on a desktop and on paper, and follows the reader's light or dark
//! scheme.

mod figures;
mod number;
mod plot;

use crate::outcome::{ForecastRow, MethodScore, Outcome, Scores};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use number::{Digits, count, counted, percent};

const STYLE: &str = include_str!("style.css");
/// Begins the generator's meta tag, by which a report is known.
const GENERATOR: &str = "<meta name=\"generator\" content=\"elman ";
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' \
    viewBox='0 0 16 16'%3E%3Crect width='16' height='16' rx='3' fill='%231763c6'/%3E\
    %3Cpath d='M2 11l3-5 3 3 3-5 3 3' fill='none' stroke='%23fff' stroke-width='1.8'/%3E%3C/svg%3E";

/// The outcome as one HTML page.
///
/// Everything in the outcome is taken for data and escaped. The same outcome
/// gives the same bytes.
pub fn html(outcome: &Outcome) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let times = figures::times(outcome);
    let title = format!(
        "{}: forecast of {}",
        outcome.target,
        counted(outcome.horizon, "step")
    );
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                (PreEscaped(GENERATOR)) (version) (PreEscaped("\">"))
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="Content-Security-Policy"
                    content="default-src 'none'; style-src 'unsafe-inline'; img-src data:";
                title { (title) }
                link rel="icon" href=(PreEscaped(ICON));
                style { (PreEscaped(plot::palette())) (PreEscaped(STYLE)) }
            }
            body {
                main {
                    (head(outcome))
                    (forecast(outcome, &times))
                    (backtest(outcome, &times))
                    (history(outcome, &times))
                    (training(outcome))
                    (what_was_done(outcome))
                }
                footer { "Made by elman " (version) ", seed " (outcome.seed) "." }
            }
        }
    }
    .into_string()
}

/// True where a file is a report that [`html()`] wrote, so that it may be
/// replaced by a new one.
pub fn is_elman_report(bytes: &[u8]) -> bool {
    let head = bytes.get(..512).unwrap_or(bytes);
    head.starts_with(b"<!DOCTYPE html>")
        && head
            .windows(GENERATOR.len())
            .any(|at| at == GENERATOR.as_bytes())
}

fn head(outcome: &Outcome) -> Markup {
    let methods = &outcome.backtest.methods;
    let known = methods.iter().filter_map(|m| Some((m, m.scores.mae?)));
    let elman = known.clone().find(|(m, _)| m.name == "elman");
    let other = known
        .filter(|(m, _)| m.name != "elman")
        .min_by(|a, b| a.1.total_cmp(&b.1));
    let digits = Digits::of([elman, other].into_iter().flatten().map(|(_, mae)| mae));
    html! {
        header {
            p.kicker { "Forecast" }
            h1 { (outcome.target) }
            p.summary {
                (counted(outcome.horizon, "step")) " ahead, " (outcome.frequency)
                @if let [first, ..] = outcome.forecast.as_slice() {
                    ": " span.time { (first.time) }
                }
                @if let [_, .., last] = outcome.forecast.as_slice() {
                    " to " span.time { (last.time) }
                }
            }
        }
        section.verdict aria-labelledby="verdict" {
            h2.unseen #verdict { "Verdict" }
            p.words { (outcome.verdict) }
            dl.tiles {
                @if let Some((method, mae)) = elman {
                    div {
                        dt { "elman, mean absolute error" }
                        dd { (digits.show(mae)) }
                    }
                    @if let Some((best, mae)) = other {
                        div {
                            dt { (figures::spelled(&best.name)) ", the best other" }
                            dd { (digits.show(mae)) }
                        }
                    }
                    @for (level, share) in [
                        ("80", method.scores.coverage_80),
                        ("95", method.scores.coverage_95),
                    ] {
                        @if share.is_some() {
                            div {
                                dt { "Truths inside the " (level) "\u{a0}% interval" }
                                dd { (percent(share)) }
                            }
                        }
                    }
                }
            }
            @if outcome.interrupted {
                p.notice {
                    "The training was stopped before its end; the network so far was kept."
                }
            }
            @if !outcome.notes.is_empty() {
                p.notice {
                    a href="#notes" { (counted(outcome.notes.len(), "note")) }
                    " on the data and the run"
                }
            }
        }
    }
}

fn forecast(outcome: &Outcome, times: &[&str]) -> Markup {
    let rows = &outcome.forecast;
    let bounds: [Bound; 4] = [|r| r.lo_80, |r| r.hi_80, |r| r.lo_95, |r| r.hi_95];
    let has_bands = rows
        .iter()
        .any(|row| bounds.iter().any(|b| b(row).is_some()));
    let digits = Digits::of(rows.iter().flat_map(|row| {
        let ends = bounds.iter().filter_map(|bound| bound(row));
        ends.chain([row.value])
    }));
    html! {
        section aria-labelledby="forecast" {
            h2 #forecast { "Forecast" }
            @if let Some(figure) = figures::forecast(outcome, times) { (figure.render()) }
            @if rows.is_empty() { p { "There is no forecast." } }
            @else {
                @if !has_bands {
                    p { "There were too few residuals to calibrate intervals." }
                }
                (scrolling("Forecast table", html! {
                    table.forecast {
                        caption { span { "Forecast of " (outcome.target) " by time" } }
                        thead {
                            tr {
                                th scope="col" rowspan=[has_bands.then_some(2)] { "time" }
                                th scope="col" rowspan=[has_bands.then_some(2)] { "forecast" }
                                @if has_bands {
                                    th.group scope="colgroup" colspan="2" { "80\u{a0}% interval" }
                                    th.group scope="colgroup" colspan="2" { "95\u{a0}% interval" }
                                }
                            }
                            @if has_bands {
                                (headings(&["low", "high", "low", "high"]))
                            }
                        }
                        tbody {
                            @for row in rows {
                                tr {
                                    th scope="row" { (row.time) }
                                    td.strong { (digits.show(row.value)) }
                                    @if has_bands {
                                        @for bound in &bounds {
                                            td { (digits.show_option(bound(row))) }
                                        }
                                    }
                                }
                            }
                        }
                    }
                }))
            }
        }
    }
}

type Bound = fn(&ForecastRow) -> Option<f64>;

fn backtest(outcome: &Outcome, times: &[&str]) -> Markup {
    let backtest = &outcome.backtest;
    html! {
        section aria-labelledby="backtest" {
            h2 #backtest { "Backtest" }
            @if backtest.origins.is_empty() {
                p { "No forecast could be held against the truth." }
            } @else {
                p {
                    "The last part of the table was kept from the training and then forecast from "
                    (counted(backtest.origins.len(), "origin"))
                    ", each knowing only what came before it. The plot shows those whose forecasts do not overlap; the scores are of all."
                }
                @for figure in figures::backtest(outcome, times) { (figure.render()) }
            }
            @if !backtest.methods.is_empty() {
                h3 { "Scores" }
                (scores(&backtest.methods))
                h3 { "Error by step ahead" }
                @match figures::error_by_step(outcome) {
                    Some(figure) => (figure.render()),
                    None if outcome.horizon == 1 => p {
                        "There is one step ahead: its error is in the table above."
                    },
                    None => p { "The error of no step is known." },
                }
            }
        }
        section aria-labelledby="residuals" {
            h2 #residuals { "Residuals" }
            @match figures::residuals(outcome, times) {
                Some(pair) => div.pair { @for figure in pair { (figure.render()) } },
                None => p { "No truth is known beside a forecast." },
            }
        }
    }
}

/// A column of the score table: its heading, the score, and the value it
/// should come near.
struct Column {
    heading: &'static str,
    score: fn(&Scores) -> Option<f64>,
    ideal: f64,
    is_share: bool,
}

impl Column {
    const fn error(heading: &'static str, score: fn(&Scores) -> Option<f64>) -> Self {
        Self {
            heading,
            score,
            ideal: 0.0,
            is_share: false,
        }
    }

    const fn coverage(
        heading: &'static str,
        score: fn(&Scores) -> Option<f64>,
        ideal: f64,
    ) -> Self {
        Self {
            heading,
            score,
            ideal,
            is_share: true,
        }
    }
}

const COLUMNS: [Column; 6] = [
    Column::error("MAE", |s| s.mae),
    Column::error("RMSE", |s| s.rmse),
    Column::error("sMAPE", |s| s.smape),
    Column::error("MASE", |s| s.mase),
    Column::coverage("in 80\u{a0}%", |s| s.coverage_80, 0.80),
    Column::coverage("in 95\u{a0}%", |s| s.coverage_95, 0.95),
];

fn scores(methods: &[MethodScore]) -> Markup {
    let columns: Vec<_> = COLUMNS
        .iter()
        .map(|column| {
            let known = methods.iter().filter_map(|m| (column.score)(&m.scores));
            let distances = known.clone().map(|v| (v - column.ideal).abs());
            let several = known.clone().count() > 1;
            let best = distances.filter(|_| several).min_by(f64::total_cmp);
            (column, Digits::of(known), best)
        })
        .collect();
    html! {
        (scrolling("Score table", html! {
            table {
                caption {
                    span {
                        "Every method on the same origins and steps; the best of each column is "
                        strong.best { "marked" } "."
                    }
                }
                thead {
                    tr {
                        th scope="col" { "method" }
                        @for (column, ..) in &columns { th scope="col" { (column.heading) } }
                    }
                }
                tbody {
                    @for method in methods {
                        tr.own[method.name == "elman"] {
                            th scope="row" { (figures::spelled(&method.name)) }
                            @for (column, digits, best) in &columns {
                                @let value = (column.score)(&method.scores);
                                @let is_best = value.is_some()
                                    && value.map(|v| (v - column.ideal).abs()) == *best;
                                @let shown = match column.is_share {
                                    true => percent(value),
                                    false => digits.show_option(value),
                                };
                                td {
                                    @if is_best {
                                        strong.best { (shown) span.unseen { " (best)" } }
                                    } @else { (shown) }
                                }
                            }
                        }
                    }
                }
            }
        }))
        details.glossary {
            summary { "What the methods and scores are" }
            dl {
                @for method in methods {
                    @if let Some(meaning) = meaning(&method.name) {
                        dt { (figures::spelled(&method.name)) }
                        dd { (meaning) }
                    }
                }
                dt { "MAE, RMSE" }
                dd {
                    "mean absolute error, and root of the mean squared error, in the units of the "
                    "series; lower is better"
                }
                dt { "sMAPE" }
                dd { "symmetric mean absolute percentage error, from 0 to 200; lower is better" }
                dt { "MASE" }
                dd {
                    "mean absolute error as a multiple of the error that repeating the season "
                    "made on the training part; below 1 is better than that"
                }
                dt { "in 80\u{a0}%, in 95\u{a0}%" }
                dd { "share of truths inside the interval; best is nearest to 80 and 95" }
            }
        }
    }
}

fn meaning(method: &str) -> Option<&'static str> {
    Some(match method {
        "elman" => "the recurrent network of this report",
        "naive" => "the newest value, repeated",
        "seasonal_naive" => "the newest season, repeated",
        "drift" => "the line through the first and the newest value, continued",
        "window_mean" => "the mean of the last two seasons",
        "seasonal_mean" => "the mean of earlier values at the same place in the season",
        "ridge" => "penalised linear regression on the same look-back and calendar",
        _ => return None,
    })
}

fn history(outcome: &Outcome, times: &[&str]) -> Markup {
    html! {
        section aria-labelledby="history" {
            h2 #history { "History" }
            @match figures::history(outcome, times) {
                Some(figure) => (figure.render()),
                None => p { "The series is empty." },
            }
        }
    }
}

fn training(outcome: &Outcome) -> Markup {
    let drawn: Vec<_> = outcome
        .training
        .iter()
        .filter_map(figures::losses)
        .collect();
    let more = drawn.len().saturating_sub(figures::CURVES);
    html! {
        section aria-labelledby="training" {
            h2 #training { "Training" }
            p { (outcome.model) }
            @if drawn.is_empty() { p { "There is no loss curve." } }
            div.pair {
                @for figure in drawn.iter().take(figures::CURVES) { (figure.render()) }
            }
            @if more > 0 { p { "The curves of " (counted(more, "more network")) " are left out." } }
        }
    }
}

fn what_was_done(outcome: &Outcome) -> Markup {
    html! {
        section aria-labelledby="done" {
            h2 #done { "What was done" }
            @if !outcome.facts.is_empty() {
                h3 { "The table" }
                dl.facts {
                    @for fact in &outcome.facts { dt { (fact.label) } dd { (fact.value) } }
                }
            }
            @if !outcome.splits.is_empty() {
                h3 { "The parts" }
                (scrolling("Parts of the table", html! {
                    table {
                        caption { span { "How the rows were divided" } }
                        thead { (headings(&["part", "rows", "from", "to"])) }
                        tbody {
                            @for split in &outcome.splits {
                                tr {
                                    th scope="row" { (split.name) }
                                    td { (count(split.rows)) }
                                    td { (split.from) }
                                    td { (split.to) }
                                }
                            }
                        }
                    }
                }))
            }
            @if !outcome.choices.is_empty() {
                h3 { "The settings" }
                (scrolling("Settings", html! {
                    table.words {
                        caption {
                            span { "Every setting, the flag that changes it, and why it has its value" }
                        }
                        thead { (headings(&["flag", "value", "why"])) }
                        tbody {
                            @for choice in &outcome.choices {
                                tr {
                                    th scope="row" { code { (choice.flag) } }
                                    td { (choice.value) }
                                    td.why { (choice.why) }
                                }
                            }
                        }
                    }
                }))
            }
            @if !outcome.ignored.is_empty() {
                h3 { "Columns that were not used" }
                p { @for (i, column) in outcome.ignored.iter().enumerate() {
                    @if i > 0 { ", " }
                    code { (column) }
                } }
            }
            @if !outcome.notes.is_empty() {
                h3 #notes { "Notes" }
                ul { @for note in &outcome.notes { li { (note) } } }
            }
        }
    }
}

/// A row of column headings.
fn headings(names: &[&str]) -> Markup {
    html! {
        tr { @for name in names { th scope="col" { (name) } } }
    }
}

/// A box in which a wide table scrolls, also by keyboard.
fn scrolling(label: &str, table: Markup) -> Markup {
    html! {
        div.scroll role="region" aria-label=(label) tabindex="0" { (table) }
    }
}
