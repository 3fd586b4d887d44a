//! `elman explain`: a training step, number by number.

use crate::console::Console;
use crate::failure::Failure;
use crate::files;
use crate::plan::ExplainPlan;
use crate::weights::Weights;
use elman_explain::Subject;
use elman_explain::render::page;
use elman_explain::render::terminal::{self, View};
use elman_explain::setup::{self, Request};
use elman_explain::trace::Trace;
use std::fs;
use std::path::Path;

/// More than any input that is explained.
const LONGEST: u64 = 1 << 20;

pub fn run(plan: &ExplainPlan, console: &Console) -> Result<(), Failure> {
    let subject = subject(plan)?;
    let trace = Trace::new(&subject)?;
    let view = View {
        colour: console.paint.colour,
        width: usize::from(console.paint.width.max(60)),
        ..plan.view
    };
    view.check(&trace)?;
    if let Some(path) = &plan.html {
        files::create_folder_of(path)?;
        files::write(path, page::html(&trace).as_bytes())?;
    }
    if console.json {
        return console.print_json(&trace);
    }
    if let Some(path) = plan.html.as_ref().filter(|_| !view.check) {
        return console.print(&format!("wrote {}\n", path.display()));
    }
    console.print(&terminal::render(&trace, view)?)
}

fn subject(plan: &ExplainPlan) -> Result<Subject, Failure> {
    let Some(path) = &plan.model else {
        return Ok(request(plan)?.subject()?);
    };
    let mut file = Weights::open(path)?;
    let opened = setup::open(&file.tensors()?.widened());
    let (network, params) = opened.map_err(|e| Failure::from(e.at(path.display())))?;
    let subject = request(plan)?.of_model(network, params);
    subject.map_err(|e| Failure::from(e.at(path.display())))
}

/// What is asked for, with the numbers of the file that `--input` names.
fn request(plan: &ExplainPlan) -> Result<Request, Failure> {
    let mut request = plan.request.clone();
    if let Some(path) = &plan.table {
        request.input = Some(numbers(path)?);
    }
    Ok(request)
}

fn numbers(path: &Path) -> Result<String, Failure> {
    let wrong =
        |why: &dyn std::fmt::Display| Failure::Input(format!("--input {}: {why}", path.display()));
    let about = fs::metadata(path).map_err(|_| {
        wrong(
            &"this is neither numbers, like \"10 20 30\", nor a file that there is; check the path",
        )
    })?;
    if !about.is_file() || about.len() > LONGEST {
        return Err(wrong(&"expected a file of at most 1 MB with numbers"));
    }
    fs::read_to_string(path).map_err(|e| wrong(&e))
}
