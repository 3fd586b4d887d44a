//! `elman forecast`: a table in; a forecast, a model and a report out.

use crate::console::Console;
use crate::failure::Failure;
use crate::files::{self, File, Written};
use crate::interrupt::Interrupt;
use crate::plan::ForecastPlan;
use crate::progress::Reporter;
use crate::render::{self, json};
use elman::train::Control;
use elman_forecast::model::ForecastModel;
use elman_forecast::outcome::Outcome;
use elman_forecast::{forecast, report};

pub fn run(plan: &ForecastPlan, console: &Console) -> Result<(), Failure> {
    let (outcome, model) = train(plan, console)?;
    let written = write(plan, &outcome, &model)?;
    if console.json {
        for note in &outcome.notes {
            console.note(note);
        }
        console.print_json(&json::Forecast::new(&outcome, &written))
    } else if console.quiet {
        console.print(&render::outcome_in_brief(&outcome, console.paint))
    } else {
        console.print(&render::outcome(
            &outcome,
            &plan.table,
            &written,
            console.paint,
        ))
    }
}

fn train(plan: &ForecastPlan, console: &Console) -> Result<(Outcome, ForecastModel), Failure> {
    let mut reporter = Reporter::new(*console);
    let say = reporter.speaker();
    let interrupt = Interrupt::listen(move || {
        say(
            "stopping after this epoch and going on with the network so far; Ctrl-C again quits at once",
        );
    })?;
    let result = forecast(&plan.table, &plan.options, &mut |progress| {
        reporter.show(progress);
        if interrupt.pressed() {
            Control::Stop
        } else {
            Control::Continue
        }
    });
    reporter.finish();
    Ok(result?)
}

fn write(
    plan: &ForecastPlan,
    outcome: &Outcome,
    model: &ForecastModel,
) -> Result<Written, Failure> {
    let folder = &plan.folder;
    let forecast = folder.write(File::Forecast, &files::forecast_csv(&outcome.forecast)?)?;
    let report = folder.write(File::Report, report::html(outcome).as_bytes())?;
    let model = folder.write(File::Model, &model.to_bytes()?)?;
    Ok(Written {
        forecast: Some(forecast),
        report: Some(report),
        model: Some(model),
    })
}
