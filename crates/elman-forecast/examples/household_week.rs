//! A household's energy use a week ahead: the protocol of a published
//! comparison, with ten seeds.
//!
//! Data: `examples/data/household_week_ahead.csv`, the column
//! `global_active_power` (kW-minutes a day). The first day is dropped; the
//! weeks before 2010-01-03 are for training, the 46 weeks from then on for the
//! test. Before each test week all earlier days are known; seven days are
//! forecast; nothing is fitted again. The figure is the RMSE over all 46 * 7
//! days.
//!
//! Every setting is the default of `elman forecast` for a daily series of this
//! length; those defaults were chosen on the training years. One seed is one
//! network.
//!
//! ```text
//! cargo run --release --example household_week
//! ```

use elman::train::{Control, Threads};
use elman_forecast::baseline::Baseline;
use elman_forecast::learner::{Learned, Lesson};
use elman_forecast::options::ForecastOptions;
use elman_forecast::plan::{Parts, Plan};
use elman_forecast::table::{ReadOptions, Table};
use elman_forecast::windows::Prepared;
use elman_forecast::{Error, Result};
use std::path::Path;

const SEEDS: u64 = 10;
const HORIZON: usize = 7;
const TEST_WEEKS: usize = 46;
/// Days from the first test day to the end of the file; the last six belong to
/// no whole week.
const LAST_DAYS: usize = 328;

fn main() -> Result<()> {
    let file = "../../examples/data/household_week_ahead.csv";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let mut series = Table::open(path, &ReadOptions::default())?.series("global_active_power")?;
    series.values[0] = f64::NAN;
    let options = ForecastOptions {
        test_rows: Some(LAST_DAYS),
        ..ForecastOptions::new(HORIZON)
    };
    let (plan, _) = Plan::resolve(&options, &series)?;
    let prepared = plan.prepare(&series.values, &series.axis, 0)?;
    let train = prepared.first()..prepared.len() - LAST_DAYS;
    let weeks: Vec<usize> = (0..TEST_WEEKS).map(|w| train.end + HORIZON * w).collect();
    println!(
        "train {} to {}, test {} to {}",
        series.axis.label(train.start),
        series.axis.label(train.end - 1),
        series.axis.label(train.end),
        series.axis.label(train.end + HORIZON * TEST_WEEKS - 1),
    );
    println!("{}, {} epochs\n", plan.describe(), plan.epochs);

    for baseline in Baseline::ALL {
        let forecasts = weeks.iter().map(|origin| {
            let history = prepared.history(*origin);
            baseline.forecast(&history, plan.season, HORIZON)
        });
        let rmse = rmse(&prepared, &weeks, &forecasts.collect::<Vec<_>>());
        println!("{:15} RMSE {rmse:7.3}", baseline.name());
    }
    let mut figures = Vec::new();
    for seed in 0..SEEDS {
        let plan = Plan {
            seed,
            ..plan.clone()
        };
        let lesson = Lesson {
            stage: "model",
            curve: "model",
            train: Parts::windows(&train, plan.shape.look_back, HORIZON),
            stopping: Vec::new(),
            end: train.end,
            epochs: Vec::new(),
        };
        let threads = Threads(std::thread::available_parallelism().map_or(1, usize::from));
        let watch = &mut |_: &_| Control::Continue;
        let (learned, _) = Learned::train(&plan, &prepared, lesson, threads, watch)?;
        let rmse = rmse(
            &prepared,
            &weeks,
            &learned.forecast(&plan, &prepared, &weeks)?,
        );
        println!("seed {seed:2}         RMSE {rmse:7.3}");
        figures.push(rmse);
    }
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    let (Some(worst), Some(pair)) = (figures.last(), figures.get(middle - 1..=middle)) else {
        return Err(Error::failed("no seed was run"));
    };
    println!("\nmedian RMSE {:.3}", (pair[0] + pair[1]) / 2.0);
    println!("worst RMSE {worst:.3}");
    Ok(())
}

fn rmse(prepared: &Prepared, origins: &[usize], forecasts: &[Vec<f64>]) -> f64 {
    let errors: Vec<f64> = origins
        .iter()
        .zip(forecasts)
        .flat_map(|(origin, forecast)| {
            let truth = prepared.truth(*origin..origin + HORIZON);
            truth.into_iter().zip(forecast).map(|(t, f)| t - f)
        })
        .collect();
    (errors.iter().map(|e| e * e).sum::<f64>() / errors.len() as f64).sqrt()
}
