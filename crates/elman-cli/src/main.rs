//! The program `elman`. It reads what the user typed ([`args`]), decides what
//! of it can be run ([`plan`]), lets the libraries do the work, and shows what
//! they return ([`render`]).

mod args;
mod bench;
mod console;
mod convert;
mod explain;
mod failure;
mod files;
mod forecast;
mod inspect;
mod interrupt;
mod plan;
mod predict;
mod progress;
mod render;
mod run;
mod weights;

use crate::args::{Cli, Command};
use crate::console::Console;
use crate::failure::Failure;
use crate::plan::{BenchPlan, ConvertPlan, ExplainPlan, ForecastPlan, PredictPlan, RunPlan};
use clap::Parser;
use elman::kernel::Vectors;
use elman_forecast::options::ForecastOptions;
use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    match execute(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(message) = failure.message() {
                crate::console::complain(message);
            }
            ExitCode::from(failure.code())
        }
    }
}

fn execute(cli: Cli) -> Result<(), Failure> {
    // The flags of every command are in their range, whatever the command.
    let common = ForecastOptions {
        threads: cli.common.threads,
        ..ForecastOptions::new(1)
    };
    common.check()?;
    check_vectors(std::env::var_os("ELMAN_VECTORS"))?;
    let console = Console::new(&cli.common);
    match cli.command {
        Command::Forecast(args) => forecast::run(&ForecastPlan::new(*args, &cli.common)?, &console),
        Command::Predict(args) => predict::run(&PredictPlan::new(args)?, &console),
        Command::Inspect(args) => inspect::run(&args.model, &console),
        Command::Run(args) => run::run(&RunPlan::new(args)?, &console),
        Command::Convert(args) => convert::run(&ConvertPlan::new(args)?, &console),
        Command::Explain(args) => explain::run(&ExplainPlan::new(*args, &cli.common)?, &console),
        Command::Bench(args) => bench::run(&BenchPlan::new(args, &cli.common)?, &console),
    }
}

/// The engine takes a name that it does not know for none.
fn check_vectors(name: Option<OsString>) -> Result<(), Failure> {
    let Some(name) = name.map(|name| name.to_string_lossy().into_owned()) else {
        return Ok(());
    };
    match name.parse::<Vectors>() {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::Input(format!(
            "ELMAN_VECTORS: expected a kind of vectors, got {error}"
        ))),
    }
}
