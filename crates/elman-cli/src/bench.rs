//! `elman bench`: how fast recurrent layers are on this machine.

use crate::console::Console;
use crate::failure::Failure;
use crate::plan::BenchPlan;
use crate::progress::Measuring;
use crate::render;
use elman_bench::measure;

pub fn run(plan: &BenchPlan, console: &Console) -> Result<(), Failure> {
    let progress = Measuring::new(*console);
    let many = plan.cases.len() > 1;
    let watch = &mut |what: &str, done, all| {
        if many {
            progress.show(what, done, all);
        }
    };
    let report = measure::report(&plan.cases, plan.with_roof, &plan.options, watch);
    progress.finish();
    let report = report?;
    if !console.json {
        return console.print(&render::report(&report, console.paint));
    }
    match (&report.rows[..], &report.roof) {
        // What was asked for is this one row.
        ([row], None) => console.print_json(row),
        _ => console.print_json(&report),
    }
}
