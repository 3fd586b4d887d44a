//! `elman convert`: a weights file in another format, and the proof that it is
//! the same.

use crate::console::Console;
use crate::failure::Failure;
use crate::files;
use crate::plan::ConvertPlan;
use crate::render::{self, json};
use crate::weights::Weights;
use elman::run::{Probed, RunOptions, infer, probe};
use elman::weights::{Compared, compare, convert};

/// What was found out about the two files.
#[derive(Debug)]
pub struct Proof {
    pub tensors: Vec<Compared>,
    /// Absent where the file is no layer and no model, or cannot be run.
    pub outputs: Option<Probed>,
}

pub fn run(plan: &ConvertPlan, console: &Console) -> Result<(), Failure> {
    let mut input = Weights::open(&plan.input)?;
    let input = input.tensors()?;
    let at_input = |e: elman::Error| Failure::from(e.at(plan.input.display()));
    // What --network declares has to be there; without it, what cannot be run is
    // converted all the same.
    let options = RunOptions {
        network: plan.network.clone(),
        ..RunOptions::default()
    };
    let probed = probe(&input, &input, |name| Ok(name.to_owned()), &options);
    let mut converted = convert(&input, plan.format, &plan.options).map_err(at_input)?;
    let runs = match probed {
        Ok(Some(_)) => true,
        Ok(None) => {
            // Worth a word where somebody expects it to run.
            let recurrent = input.names().iter().any(|n| n.contains("weight_hh_l"));
            if let Some(e) = infer(&input, &options).err().filter(|_| recurrent) {
                let note = format!("no outputs are compared, the model cannot be run: {e}");
                converted.notes.push(note);
            }
            false
        }
        Err(e) if options.network.is_some() => return Err(at_input(e)),
        Err(e) => {
            let note = format!("no outputs are compared, the model cannot be run: {e}");
            converted.notes.push(note);
            false
        }
    };
    files::create_folder_of(&plan.output)?;
    files::write(&plan.output, &converted.bytes)?;

    let mut output = Weights::open(&plan.output)?;
    let output = output.tensors()?;
    let failed =
        |e: elman::Error| Failure::Work(format!("{}: read again, {e}", plan.output.display()));
    let rename = |name: &str| plan.options.rename(name);
    let outputs = match runs {
        true => probe(&input, &output, rename, &options).map_err(failed)?,
        false => None,
    };
    if let Some(probed) = outputs.as_ref().filter(|probed| probed.not_finite > 0) {
        converted.notes.push(format!(
            "{} of {} outputs are not finite numbers: are the weights in order?",
            probed.not_finite, probed.numbers
        ));
    }
    let proof = Proof {
        tensors: compare(&input, &output, &plan.options).map_err(failed)?,
        outputs,
    };
    let changed = |t: &&Compared| t.from == t.to && !t.bit_for_bit;
    if let Some(tensor) = proof.tensors.iter().find(changed) {
        return Err(Failure::Work(format!(
            "{}: {} differs from the one in {}, read again from disk; is the disk in order?",
            plan.output.display(),
            tensor.renamed,
            plan.input.display()
        )));
    }
    for note in &converted.notes {
        console.note(note);
    }
    let verdict = render::verdict(&proof);
    if console.json {
        let (input, output) = (&plan.input, &plan.output);
        console.print_json(&json::Conversion::new(
            input,
            output,
            &proof,
            &verdict,
            &converted.notes,
        ))
    } else if console.quiet {
        console.print(&format!("{verdict}\n"))
    } else {
        console.print(&render::proof(&proof, &verdict, console.paint))
    }
}
