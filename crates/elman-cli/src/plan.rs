//! What can be run: the step between the command line and the work. Whatever
//! can be refused before the work is refused here.

use crate::args::{Common, ForecastArgs, Nonlinearity, PredictArgs, RunArgs};
use crate::failure::Failure;
use crate::files::{self, File, Folder};
use elman_forecast::options::{Cell, ForecastOptions};
use std::path::PathBuf;

/// A forecast that can be tried.
#[derive(Debug)]
pub struct ForecastPlan {
    pub table: PathBuf,
    pub options: ForecastOptions,
    pub folder: Folder,
}

impl ForecastPlan {
    pub fn new(args: ForecastArgs, common: &Common) -> Result<Self, Failure> {
        let horizon = match (args.horizon, &args.target) {
            (Some(horizon), _) => horizon,
            (None, Some(_)) => {
                return Err(Failure::Input(
                    "--horizon is missing: how many steps to forecast, like --horizon 7".into(),
                ));
            }
            // The missing target is refused first, with the columns it could be.
            (None, None) => 1,
        };
        let options = ForecastOptions {
            target: args.target,
            horizon,
            time: args.time,
            frequency: args.frequency,
            zone: args.zone,
            season: args.season,
            gaps: args.gaps,
            strategy: args.strategy,
            look_back: args.look_back,
            cell: args.cell,
            hidden_size: args.hidden_size,
            layers: args.layers,
            dropout: args.dropout,
            loss: args.loss,
            scaling: args.scaling,
            epochs: args.epochs,
            batch_size: args.batch_size,
            learning_rate: args.learning_rate,
            members: args.members,
            patience: args.patience,
            test_rows: args.test_rows,
            seed: common.seed,
            threads: common.threads,
        };
        options.check()?;
        let folder = Folder::claim(
            &args.out,
            &[File::Forecast, File::Report, File::Model],
            args.force,
            &[&args.file],
        )?;
        Ok(Self {
            table: args.file,
            options,
            folder,
        })
    }
}

/// A prediction that can be tried.
#[derive(Debug)]
pub struct PredictPlan {
    pub model: PathBuf,
    pub table: PathBuf,
    pub folder: Option<Folder>,
}

impl PredictPlan {
    pub fn new(args: PredictArgs) -> Result<Self, Failure> {
        let folder = args
            .out
            .map(|out| {
                Folder::claim(
                    &out,
                    &[File::Forecast],
                    args.force,
                    &[&args.model, &args.file],
                )
            })
            .transpose()?;
        Ok(Self {
            model: args.model,
            table: args.file,
            folder,
        })
    }
}

/// A layer and arrays that can be tried.
#[derive(Debug)]
pub struct RunPlan {
    pub model: PathBuf,
    pub input: PathBuf,
    pub output: PathBuf,
    pub cell: Option<Cell>,
    pub nonlinearity: Option<Nonlinearity>,
    pub batch_first: bool,
    pub trace: bool,
}

impl RunPlan {
    pub fn new(args: RunArgs) -> Result<Self, Failure> {
        if let (Some(cell @ (Cell::Gru | Cell::Lstm)), Some(_)) = (args.cell, args.nonlinearity) {
            return Err(Failure::Input(format!(
                "--nonlinearity: only the cell rnn has one, and --cell says {cell}; leave one out"
            )));
        }
        for (flag, path) in [("MODEL", &args.model), ("--input", &args.input)] {
            if files::same(path, &args.output) {
                return Err(Failure::Input(format!(
                    "--output {}: this is the file of {flag}; name another",
                    args.output.display()
                )));
            }
        }
        if args.output.is_dir() {
            return Err(Failure::Input(format!(
                "--output {}: this is a folder; name a file in it",
                args.output.display()
            )));
        }
        files::check_writable(&args.output)?;
        Ok(Self {
            model: args.model,
            input: args.input,
            output: args.output,
            cell: args.cell,
            nonlinearity: args.nonlinearity,
            batch_first: args.batch_first,
            trace: args.trace,
        })
    }
}
