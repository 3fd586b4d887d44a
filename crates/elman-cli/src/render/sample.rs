//! An outcome for the tests of this module.

use elman_forecast::outcome::{
    Backtest, Choice, Fact, ForecastRow, MethodScore, Observation, Outcome, Scores, Split,
};

/// Two methods, sixty days with two gaps, three steps ahead; the second step
/// has no 95 % interval.
pub fn outcome() -> Outcome {
    let row = |time: &str, value: f64, wide: Option<f64>| ForecastRow {
        time: time.into(),
        value,
        lo_80: Some(value - 6.0),
        hi_80: Some(value + 6.0),
        lo_95: wide.map(|w| value - w),
        hi_95: wide.map(|w| value + w),
    };
    let method = |name: &str, scores: Scores| MethodScore {
        name: name.into(),
        scores,
        mae_by_step: vec![Some(3.9), Some(4.1), None],
    };
    Outcome {
        target: "kwh".into(),
        frequency: "daily".into(),
        horizon: 3,
        season: 7,
        model: "gru, 32 units, looks back 28 steps, direct".into(),
        seed: 7,
        facts: vec![Fact {
            label: "rows".into(),
            value: "60, one a day".into(),
        }],
        choices: vec![
            Choice {
                flag: "--look-back".into(),
                value: "28".into(),
                why: "four seasons".into(),
            },
            Choice {
                flag: "--cell".into(),
                value: "gru".into(),
                why: "given".into(),
            },
        ],
        splits: ["train", "early stopping", "calibration", "test"]
            .map(|name| Split {
                name: name.into(),
                rows: 40,
                from: "2010-10-02".into(),
                to: "2010-11-10".into(),
            })
            .into(),
        ignored: vec!["volt".into(), "ampere".into()],
        notes: vec!["2 missing values were interpolated.".into()],
        history: (0..60)
            .map(|i| Observation {
                time: format!("day {i}"),
                value: (i != 40 && i != 55).then(|| 20.0 + f64::from(i % 7)),
            })
            .collect(),
        training: vec![],
        backtest: Backtest {
            methods: vec![
                method(
                    "elman",
                    Scores {
                        mae: Some(4.12),
                        rmse: Some(5.3),
                        smape: Some(17.2),
                        mase: Some(0.8123),
                        coverage_80: Some(0.8121),
                        coverage_95: Some(0.94),
                    },
                ),
                method(
                    "ridge",
                    Scores {
                        mae: Some(4.46),
                        rmse: Some(5.5),
                        smape: Some(18.012),
                        mase: Some(0.88),
                        ..Scores::default()
                    },
                ),
            ],
            origins: vec![],
        },
        verdict: "ridge is not better here: elman wins by 8 %.".into(),
        forecast: vec![
            row("2010-12-01", 20.123_456, Some(9.0)),
            row("2010-12-02", 21.0, None),
            row("2010-12-03", 19.5, Some(10.5)),
        ],
        interrupted: false,
    }
}
