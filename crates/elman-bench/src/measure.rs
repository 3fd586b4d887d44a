//! The runs of a case, their median, and the report of many cases.

use crate::case::{Case, Mode, Row};
use crate::roof::{self, Roof};
use crate::{language, recurrent};
use elman::params::Storage;
use elman::{Error, Result};
use serde::Serialize;
use std::time::Duration;

/// How cases are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Threads of the engine and of the peak, from 1 to 1024.
    pub threads: usize,
    /// Seed of the weights and the inputs.
    pub seed: u64,
    /// Runs of every case, from 1 to [`MOST_RUNS`](Self::MOST_RUNS). `None` for
    /// as many as take 0.3 s, at least 5.
    pub runs: Option<usize>,
    /// As many runs as take 0.05 s, at least 3.
    pub quick: bool,
    /// How the kernels keep the weights in [`Mode::Infer`](crate::case::Mode).
    pub weights: Storage,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            threads: 1,
            seed: 0,
            runs: None,
            quick: false,
            weights: Storage::Full,
        }
    }
}

impl Options {
    /// The most runs of a case.
    pub const MOST_RUNS: usize = 1_000_000;

    /// Refuses what is out of its range; what measures does so itself.
    ///
    /// # Errors
    /// Names the option as the program's flag.
    pub fn check(&self) -> Result<()> {
        for (flag, n, most) in [
            ("--threads", Some(self.threads), 1024),
            ("--runs", self.runs, Self::MOST_RUNS),
        ] {
            let Some(n) = n else { continue };
            if n == 0 {
                return Err(Error::option(format!(
                    "{flag} 0: expected a whole number, 1 or more"
                )));
            }
            if n > most {
                return Err(Error::option(format!(
                    "{flag} {n}: expected at most {most}"
                )));
            }
        }
        Ok(())
    }

    /// Runs at the least, and the time that they should take.
    fn enough(&self) -> (usize, Duration) {
        match (self.runs, self.quick) {
            (Some(runs), _) => (runs, Duration::ZERO),
            (None, true) => (3, Duration::from_millis(50)),
            (None, false) => (5, Duration::from_millis(300)),
        }
    }
}

/// A case and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measured {
    /// What was measured.
    #[serde(flatten)]
    pub case: Case,
    /// Threads.
    pub threads: usize,
    /// How the kernels keep the weights in inference.
    pub weights: Storage,
    /// Seconds of a run, in the median.
    pub seconds: f64,
    /// Runs.
    pub runs: usize,
    /// [Operations](Case::flops) of a run.
    pub flops: f64,
    /// 10^9 operations a second.
    pub gflops: f64,
    /// The most that this machine does on as many threads.
    pub peak_gflops: f64,
    /// The quotient of the two.
    pub share_of_peak: f64,
}

/// All of a run of the benchmark.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// What the machine does at most, where it was asked for.
    pub roof: Option<Roof>,
    /// A row a case.
    pub rows: Vec<Measured>,
}

/// Measures a case, against a peak in operations a second
/// ([`roof::peak`] on as many threads). One run before the others warms up.
///
/// # Errors
/// Where an option is out of its range, or the engine refuses the case.
pub fn measure(case: &Case, options: &Options, peak: f64) -> Result<Measured> {
    options.check()?;
    if options.weights != Storage::Full && case.mode() != Mode::Infer {
        return Err(Error::option(format!(
            "--weights {}: training reads the weights as they are; choose --mode infer",
            options.weights.name()
        )));
    }
    let (least, time) = options.enough();
    let runs = match case.row() {
        Some(Row::EndToEnd) => {
            let runner = language::Runner::new(case, options.threads, options.seed)?;
            let runs = match time {
                Duration::ZERO => least,
                time => {
                    let run = median(runner.runs(2)?).max(1e-9);
                    least.max((time.as_secs_f64() / run).ceil() as usize)
                }
            };
            runner.runs(runs.min(Options::MOST_RUNS))?
        }
        _ => {
            let mut runner = recurrent::Runner::new(case, options)?;
            runner.run()?;
            let (mut runs, mut spent) = (Vec::new(), Duration::ZERO);
            while runs.len() < least || spent < time && runs.len() < Options::MOST_RUNS {
                let run = runner.run()?;
                spent += run;
                runs.push(run);
            }
            runs
        }
    };
    let (count, flops) = (runs.len(), case.flops());
    let seconds = median(runs);
    Ok(Measured {
        case: *case,
        threads: options.threads,
        weights: options.weights,
        seconds,
        runs: count,
        flops,
        gflops: flops / seconds / 1e9,
        peak_gflops: peak / 1e9,
        share_of_peak: flops / seconds / peak,
    })
}

/// Measures cases one after the other, before them the whole roof with
/// `with_roof`, else the peak alone. `watch` is told before each what comes now,
/// how many are done, and how many there are.
///
/// # Errors
/// As [`measure`]; the message names the case.
pub fn report(
    cases: &[Case],
    with_roof: bool,
    options: &Options,
    watch: &mut dyn FnMut(&str, usize, usize),
) -> Result<Report> {
    options.check()?;
    let all = cases.len() + 1;
    watch("the roof", 0, all);
    let (threads, quick) = (options.threads, options.quick);
    let (roof, peak) = match with_roof {
        true => {
            let roof = roof::roof(threads, quick)?;
            let peak = 1e9 * roof.gflops.all;
            (Some(roof), peak)
        }
        false => (None, roof::peak(threads, quick)?),
    };
    let rows = cases.iter().enumerate().map(|(at, case)| {
        watch(&case.to_string(), at + 1, all);
        measure(case, options, peak).map_err(|e| e.at(case))
    });
    let rows = rows.collect::<Result<_>>()?;
    Ok(Report { roof, rows })
}

/// Seconds, in the middle; 0 of nothing.
pub(crate) fn median(mut runs: Vec<Duration>) -> f64 {
    runs.sort_unstable();
    let middle = [runs.len().saturating_sub(1) / 2, runs.len() / 2];
    let [low, high] = middle.map(|at| runs.get(at).map_or(0.0, Duration::as_secs_f64));
    (low + high) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use elman::cell::CellKind;

    #[test]
    fn the_median_is_in_the_middle() {
        let cases: [(&[u64], f64); 6] = [
            (&[], 0.0),
            (&[7], 7.0),
            (&[9, 1], 5.0),
            (&[9, 1, 2], 2.0),
            (&[4, 1, 9, 2], 3.0),
            (&[5, 5, 1, 9, 7], 5.0),
        ];
        for (seconds, expected) in cases {
            let runs = seconds.iter().map(|s| Duration::from_secs(*s)).collect();
            assert_eq!(median(runs), expected, "{seconds:?}");
        }
    }

    #[test]
    fn options_out_of_their_range_are_refused() {
        type Change = fn(&mut Options);
        let good = Options::default();
        assert!(good.check().is_ok());
        let cases: [(Change, &str); 4] = [
            (|o| o.threads = 0, "--threads 0: expected a"),
            (|o| o.threads = 1025, "--threads 1025: expected at most"),
            (|o| o.runs = Some(0), "--runs 0: expected a"),
            (|o| o.runs = Some(1_000_001), "--runs 1000001: expected at"),
        ];
        for (change, part) in cases {
            let mut options = good;
            change(&mut options);
            let case = Case::grid(&[Row::Tiny], None, None)[0];
            let e = measure(&case, &options, 1e9).unwrap_err();
            assert!(e.is_option() && e.to_string().starts_with(part), "{e}");
        }
    }

    #[test]
    fn a_report_has_a_row_a_case() {
        let mut cases = Case::grid(&[Row::Tiny], Some(CellKind::Lstm), None);
        cases.extend(Case::grid(&[Row::EndToEnd], None, None));
        let options = Options {
            runs: Some(2),
            threads: 2,
            quick: true,
            ..Options::default()
        };
        let mut seen = Vec::new();
        let report = report(&cases, false, &options, &mut |what, done, all| {
            seen.push(format!("{what} {done}/{all}"));
        });
        let report = report.unwrap();
        assert!(report.roof.is_none());
        for (row, case) in report.rows.iter().zip(&cases) {
            assert_eq!((row.case, row.runs, row.threads), (*case, 2, 2));
            assert!(row.seconds > 0.0 && row.share_of_peak > 0.0);
            let share = row.flops / row.seconds / (1e9 * row.peak_gflops);
            assert!((share / row.share_of_peak - 1.0).abs() < 1e-9);
        }
        let expected = [
            "the roof 0/5",
            "tiny lstm infer 1/5",
            "tiny lstm train 2/5",
            "tiny lstm packed 3/5",
            "end-to-end lstm train 4/5",
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_row_is_one_object() {
        let case = Case::grid(&[Row::Tiny], Some(CellKind::Gru), None)[0];
        let options = Options {
            runs: Some(1),
            ..Options::default()
        };
        let measured = measure(&case, &options, 1e9).unwrap();
        let json = serde_json::to_value(&measured).unwrap();
        for (name, value) in [("row", "tiny"), ("cell", "gru"), ("mode", "infer")] {
            assert_eq!(json[name], value);
        }
        for name in ["seconds", "gflops", "share_of_peak", "peak_gflops"] {
            assert!(json[name].as_f64().is_some_and(|x| x > 0.0), "{json}");
        }
        let sizes = ["seq_len", "batch", "input_size", "hidden_size", "layers"];
        assert_eq!(
            sizes.map(|name| json[name].as_u64().unwrap()),
            [3, 3, 1, 2, 1]
        );
        assert_eq!(json["flops"], 2.0 * 9.0 * 3.0 * 2.0 * 3.0);
    }
}
