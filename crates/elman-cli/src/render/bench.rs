//! The tables of `elman bench`.

use super::number::{grouped, percent, significant};
use super::{Page, Paint, table};
use elman::params::Storage;
use elman_bench::measure::{Measured, Report};
use elman_bench::roof::{Rates, Roof};

/// What the machine does at most, where it was measured, and a line a row.
pub fn report(report: &Report, paint: Paint) -> String {
    let mut page = Page::new(paint);
    if let Some(most) = &report.roof {
        page.section("What this machine does at most", &roof(most, paint));
    }
    if let Some(first) = report.rows.first() {
        let title = format!(
            "Recurrent layers on {}{}, of at most {} GFLOP/s",
            threads(first.threads),
            match first.weights {
                Storage::Full => String::new(),
                other => format!(", weights in {}", other.name()),
            },
            significant(Some(first.peak_gflops))
        );
        page.section(&title, &rows(&report.rows, paint));
    }
    page.text
}

fn threads(n: usize) -> String {
    match n {
        1 => "one thread".into(),
        n => format!("{n} threads"),
    }
}

fn roof(roof: &Roof, paint: Paint) -> String {
    let all = threads(roof.threads);
    let mut header = vec!["", "one thread"];
    if roof.threads > 1 {
        header.push(&all);
    }
    let line = |name: String, rates: Rates| {
        let mut line = vec![name, significant(Some(rates.one))];
        if roof.threads > 1 {
            line.push(significant(Some(rates.all)));
        }
        line
    };
    let mut lines = vec![line("multiply-adds, GFLOP/s".into(), roof.gflops)];
    for level in &roof.read {
        let name = format!("{}, {} bytes, GB/s", level.name, grouped(level.bytes));
        lines.push(line(name, level.gigabytes_per_second));
    }
    if let Some(ns) = roof.hand_over_ns {
        lines.push(vec!["thread to thread, ns".into(), significant(Some(ns))]);
    }
    table::numbers(&header, &lines, None, paint)
}

fn rows(rows: &[Measured], paint: Paint) -> String {
    let lines: Vec<_> = rows
        .iter()
        .map(|row| {
            vec![
                row.case.to_string(),
                significant(Some(row.seconds)),
                significant(Some(row.gflops)),
                percent(Some(row.share_of_peak)),
                grouped(row.runs),
            ]
        })
        .collect();
    let header = ["", "seconds", "GFLOP/s", "of the most", "runs"];
    table::numbers(&header, &lines, None, paint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use elman::cell::CellKind;
    use elman_bench::case::{Case, Mode, Row};
    use elman_bench::roof::Level;

    #[test]
    fn a_report_is_two_tables() {
        let row = Measured {
            case: Case::grid(&[Row::Medium], Some(CellKind::Gru), Some(Mode::Train))[0],
            threads: 2,
            weights: Storage::Full,
            seconds: 0.012_345,
            runs: 1234,
            flops: 1e9,
            gflops: 81.25,
            peak_gflops: 150.5,
            share_of_peak: 0.5399,
        };
        let rates = |one, all| Rates { one, all };
        let most = Roof {
            threads: 2,
            gflops: rates(76.25, 150.5),
            read: vec![Level {
                name: "L1",
                bytes: 16_384,
                gigabytes_per_second: rates(120.0, 240.0),
            }],
            hand_over_ns: Some(55.5),
        };
        let paint = Paint {
            colour: false,
            width: 80,
        };
        let mut shown = Report {
            roof: Some(most),
            rows: vec![row],
        };
        let lines = "\
What this machine does at most
                          one thread  2 threads
  multiply-adds, GFLOP/s       76.25      150.5
  L1, 16,384 bytes, GB/s       120.0      240.0
  thread to thread, ns         55.50

Recurrent layers on 2 threads, of at most 150.5 GFLOP/s
                    seconds  GFLOP/s  of the most   runs
  medium gru train  0.01235    81.25       54.0 %  1,234
";
        assert_eq!(report(&shown, paint), lines);
        shown.roof = None;
        let second = lines.split_once("\n\n").unwrap().1;
        assert_eq!(report(&shown, paint), second);
    }
}
