//! `elman run`: arrays through a recurrent layer or a network, and gradients
//! back.

use crate::console::Console;
use crate::failure::Failure;
use crate::files;
use crate::plan::RunPlan;
use crate::render::{self, json};
use crate::weights::{self, Weights};
use elman::cell::CellKind;
use elman::run::{RunOptions, run_files};

pub fn run(plan: &RunPlan, console: &Console) -> Result<(), Failure> {
    let options = RunOptions {
        cell: plan.cell.map(CellKind::from),
        nonlinearity: plan.nonlinearity.map(Into::into),
        batch_first: plan.batch_first,
        trace: plan.trace,
        network: plan.network.clone(),
    };
    let mut model = Weights::open(&plan.model)?;
    let mut input = Weights::open(&plan.input)?;
    let ran = run_files(&model.tensors()?.widened(), &input.tensors()?, &options);
    let ran = ran.map_err(|e| {
        let (model, input) = (plan.model.display(), plan.input.display());
        Failure::from(e.at(format_args!("{model} on {input}")))
    })?;
    files::create_folder_of(&plan.output)?;
    files::write(&plan.output, &ran.bytes)?;
    for note in &ran.notes {
        console.note(note);
    }
    let written = weights::read(&plan.output)?;
    if console.json {
        console.print_json(&json::Run {
            model: plan.model.display().to_string(),
            output: plan.output.display().to_string(),
            tensors: &written.tensors,
            notes: &ran.notes,
        })
    } else if console.quiet {
        Ok(())
    } else {
        console.print(&render::tensors(&written, console.paint))
    }
}
