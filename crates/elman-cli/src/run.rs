//! `elman run`: arrays through a recurrent layer, and gradients back.

use crate::console::Console;
use crate::failure::Failure;
use crate::files;
use crate::plan::RunPlan;
use crate::render::{self, json};
use crate::weights;
use elman::cell::CellKind;
use elman::run::RunOptions;
use std::path::Path;

pub fn run(plan: &RunPlan, console: &Console) -> Result<(), Failure> {
    let read = |path: &Path| {
        // Says of which file it is what is wrong with it.
        weights::read(path)?;
        std::fs::read(path)
            .map_err(|e| Failure::Input(format!("{}: cannot be read: {e}", path.display())))
    };
    let options = RunOptions {
        cell: plan.cell.map(CellKind::from),
        nonlinearity: plan.nonlinearity.map(Into::into),
        batch_first: plan.batch_first,
        trace: plan.trace,
    };
    let (model, input) = (read(&plan.model)?, read(&plan.input)?);
    let output = elman::run::run(&model, &input, &options).map_err(|e| {
        let (model, input) = (plan.model.display(), plan.input.display());
        Failure::from(e.at(format_args!("{model} on {input}")))
    })?;
    files::create_folder_of(&plan.output)?;
    files::write(&plan.output, &output)?;
    let written = weights::read(&plan.output)?;
    if console.json {
        console.print_json(&json::Run {
            model: plan.model.display().to_string(),
            output: plan.output.display().to_string(),
            tensors: &written.tensors,
        })
    } else if console.quiet {
        Ok(())
    } else {
        console.print(&render::tensors(&written, console.paint))
    }
}
