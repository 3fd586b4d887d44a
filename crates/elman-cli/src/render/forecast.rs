//! A forecast for people.

use super::number::{Rounding, percent};
use super::plot::plot;
use super::table::{numbers, words};
use super::{Page, Paint, printable};
use crate::files::Written;
use elman_forecast::outcome::{ForecastRow, MethodScore, Outcome, Scores};
use std::path::Path;

/// The longest forecast shown whole, and what is shown of a longer one.
const WHOLE: usize = 40;
const START: usize = 30;
const END: usize = 5;

/// Everything a forecast run found.
pub fn outcome(outcome: &Outcome, table: &Path, written: &Written, paint: Paint) -> String {
    let mut page = Page::new(paint);
    let title = format!(
        "{} of {}, {}, {} ahead",
        outcome.target,
        table.display(),
        outcome.frequency,
        steps(outcome.horizon)
    );
    page.block(&paint.strong(&printable(&title)));
    page.section("Data", &data(outcome, paint));
    page.section("Settings", &settings(outcome, paint));
    page.section("Rows", &splits(outcome, paint));
    page.section("Notes", &notes(&outcome.notes, paint));
    page.section(
        "Backtest on rows not trained on",
        &scores(&outcome.backtest.methods, paint),
    );
    verdict(&mut page, outcome);
    page.section("Forecast", &rows(&outcome.forecast, paint));
    if let Some(plot) = plot(&outcome.history, &outcome.forecast, outcome.season, paint) {
        let bands = outcome.forecast.iter().any(|row| row.lo_80.is_some());
        let title = if bands {
            "History | forecast, dots: 80 % interval"
        } else {
            "History | forecast"
        };
        page.section(title, &plot);
    }
    page.section("Files", &files(written, paint));
    page.text
}

/// The verdict and the forecast.
pub fn outcome_in_brief(outcome: &Outcome, paint: Paint) -> String {
    let mut page = Page::new(paint);
    verdict(&mut page, outcome);
    page.block(&rows(&outcome.forecast, paint));
    page.text
}

/// A forecast without training.
pub fn prediction(forecast: &[ForecastRow], written: &Written, paint: Paint) -> String {
    let mut page = Page::new(paint);
    page.block(&rows(forecast, paint));
    page.section("Files", &files(written, paint));
    page.text
}

fn data(outcome: &Outcome, paint: Paint) -> String {
    let ignored = outcome.ignored.join(", ");
    let mut lines: Vec<_> = outcome
        .facts
        .iter()
        .map(|fact| [&*fact.label, &*fact.value])
        .collect();
    if !ignored.is_empty() {
        lines.push(["ignored columns", &ignored]);
    }
    words(&lines, paint)
}

fn settings(outcome: &Outcome, paint: Paint) -> String {
    let lines: Vec<_> = outcome
        .choices
        .iter()
        .map(|choice| [&*choice.flag, &*choice.value, &*choice.why])
        .collect();
    words(&lines, paint)
}

fn splits(outcome: &Outcome, paint: Paint) -> String {
    let cells: Vec<_> = outcome
        .splits
        .iter()
        .map(|split| (split, split.rows.to_string()))
        .collect();
    let lines: Vec<_> = cells
        .iter()
        .map(|(split, rows)| [&*split.name, &**rows, &*split.from, "to", &*split.to])
        .collect();
    words(&lines, paint)
}

fn notes(notes: &[String], paint: Paint) -> String {
    let lines: Vec<_> = notes.iter().map(|note| ["-", &**note]).collect();
    words(&lines, paint)
}

fn scores(methods: &[MethodScore], paint: Paint) -> String {
    type Score = fn(&Scores) -> Option<f64>;
    let errors: [(&str, Score); 4] = [
        ("MAE", |s| s.mae),
        ("RMSE", |s| s.rmse),
        ("sMAPE", |s| s.smape),
        ("MASE", |s| s.mase),
    ];
    let coverages: [(&str, Score); 2] = [
        ("in 80 %", |s| s.coverage_80),
        ("in 95 %", |s| s.coverage_95),
    ];
    if methods.is_empty() {
        return String::new();
    }
    let mut header = vec![""];
    let mut lines: Vec<Vec<String>> = methods.iter().map(|m| vec![m.name.clone()]).collect();
    for (name, score) in errors {
        header.push(name);
        let rounding = Rounding::of(methods.iter().filter_map(|m| score(&m.scores)));
        for (line, method) in lines.iter_mut().zip(methods) {
            line.push(rounding.show(score(&method.scores)));
        }
    }
    for (name, score) in coverages {
        header.push(name);
        for (line, method) in lines.iter_mut().zip(methods) {
            line.push(percent(score(&method.scores)));
        }
    }
    let own = methods.iter().position(|m| m.name == "elman");
    numbers(&header, &lines, own, paint)
}

fn verdict(page: &mut Page, outcome: &Outcome) {
    if outcome.interrupted {
        page.block(&words(
            &[["The training was stopped; the network so far was kept."]],
            page.paint,
        ));
    }
    let verdict = words(&[[&*outcome.verdict]], page.paint);
    let strong: Vec<_> = verdict.lines().map(|l| page.paint.strong(l)).collect();
    page.block(&strong.join("\n"));
}

fn rows(forecast: &[ForecastRow], paint: Paint) -> String {
    let header = ["time", "value", "lo 80 %", "hi 80 %", "lo 95 %", "hi 95 %"];
    let values = |row: &ForecastRow| [Some(row.value), row.lo_80, row.hi_80, row.lo_95, row.hi_95];
    let rounding = Rounding::of(forecast.iter().flat_map(values).flatten());
    let line = |row: &ForecastRow| -> Vec<String> {
        let cells = values(row).map(|value| rounding.show(value));
        std::iter::once(row.time.clone()).chain(cells).collect()
    };
    let lines: Vec<_> = if forecast.len() <= WHOLE {
        forecast.iter().map(line).collect()
    } else {
        let left_out = forecast.len() - START - END;
        let gap = vec![format!("({left_out} more)")];
        let start = forecast.iter().take(START).map(line);
        let end = forecast.iter().skip(START + left_out).map(line);
        start.chain([gap]).chain(end).collect()
    };
    numbers(&header, &lines, None, paint)
}

fn files(written: &Written, paint: Paint) -> String {
    let named = [
        ("forecast", &written.forecast),
        ("report", &written.report),
        ("model", &written.model),
    ];
    let lines: Vec<_> = named
        .iter()
        .filter_map(|(name, path)| Some([*name, path.as_deref()?]))
        .collect();
    words(&lines, paint)
}

fn steps(n: usize) -> String {
    match n {
        1 => "1 step".into(),
        n => format!("{n} steps"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn plain(width: u16) -> Paint {
        Paint {
            colour: false,
            width,
        }
    }

    fn written() -> Written {
        Written {
            forecast: Some("out/forecast.csv".into()),
            report: Some("out/report.html".into()),
            model: Some("out/model.safetensors".into()),
        }
    }

    fn full(outcome: &Outcome, paint: Paint) -> String {
        super::outcome(outcome, Path::new("energy.csv"), &written(), paint)
    }

    #[test]
    fn everything_is_shown() {
        let text = full(&sample::outcome(), plain(100));
        for part in [
            "kwh of energy.csv, daily, 3 steps ahead",
            "  rows             60, one a day\n",
            "  ignored columns  volt, ampere\n",
            "  --look-back  28   four seasons\n",
            "  train           40  2010-10-02  to  2010-11-10\n",
            "  -  2 missing values were interpolated.\n",
            "           MAE   RMSE  sMAPE    MASE  in 80 %  in 95 %\n",
            "  elman  4.120  5.300  17.20  0.8123   81.2 %   94.0 %\n",
            "  ridge  4.460  5.500  18.01  0.8800        -        -\n",
            "  ridge is not better here: elman wins by 8 %.\n",
            "  time        value  lo 80 %  hi 80 %  lo 95 %  hi 95 %\n",
            "  2010-12-02  21.00    15.00    27.00        -        -\n",
            "  model     out/model.safetensors\n",
        ] {
            assert!(text.contains(part), "{part:?} in\n{text}");
        }
        assert!(!text.contains("stopped") && !text.contains('\u{1b}'));
    }

    #[test]
    fn it_fits_the_terminal() {
        for width in [40, 60, 80, 100] {
            let text = full(&sample::outcome(), plain(width));
            // The title names a path of any length.
            for line in text.lines().skip(1) {
                assert!(
                    console::measure_text_width(line) <= usize::from(width),
                    "{line}"
                );
            }
        }
    }

    #[test]
    fn colours_change_no_word() {
        let paint = Paint {
            colour: true,
            width: 80,
        };
        let coloured = full(&sample::outcome(), paint);
        assert!(coloured.contains("\u{1b}["));
        assert_eq!(
            console::strip_ansi_codes(&coloured),
            full(&sample::outcome(), plain(80))
        );
    }

    #[test]
    fn a_table_cannot_steer_the_terminal() {
        let mut outcome = sample::outcome();
        outcome.target = "k\u{1b}[31mwh".into();
        outcome.ignored = vec!["\u{7}bell".into()];
        outcome.notes = vec!["\u{1b}]0;title".into()];
        outcome.forecast[0].time = "\u{1b}[2J".into();
        outcome.history[59].time = "\u{9b}1m".into();
        let text = full(&outcome, plain(80));
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'));
    }

    #[test]
    fn a_long_forecast_is_shortened() {
        let row = sample::outcome().forecast[0].clone();
        for (n, lines) in [(1, 1), (40, 40), (41, 36), (500, 36)] {
            let text = rows(&vec![row.clone(); n], plain(80));
            assert_eq!(text.lines().count(), lines + 1, "{n}");
            assert_eq!(
                text.contains(&format!("({} more)", n.saturating_sub(35))),
                n > 40
            );
        }
    }

    #[test]
    fn in_brief_there_is_the_verdict_and_the_forecast() {
        let outcome = Outcome {
            interrupted: true,
            ..sample::outcome()
        };
        let text = outcome_in_brief(&outcome, plain(80));
        assert!(text.contains("network so far was kept") && text.contains("elman wins"));
        assert!(text.contains("2010-12-03") && !text.contains("--look-back"));
    }
}
