//! `elman predict`: newer rows in, a forecast out, without training.

use crate::console::Console;
use crate::failure::Failure;
use crate::files::{self, File, Written};
use crate::plan::PredictPlan;
use crate::render::{self, json};
use crate::weights;
use elman_forecast::model::ForecastModel;

pub fn run(plan: &PredictPlan, console: &Console) -> Result<(), Failure> {
    weights::read(&plan.model)?;
    let model = ForecastModel::load(&plan.model)?;
    let prediction = model.predict(&plan.table)?;
    let mut written = Written::default();
    if let Some(folder) = &plan.folder {
        let csv = files::forecast_csv(&prediction.rows)?;
        written.forecast = Some(folder.write(File::Forecast, &csv)?);
    }
    for note in &prediction.notes {
        console.note(note);
    }
    if console.json {
        console.print_json(&json::Prediction {
            model: plan.model.display().to_string(),
            forecast: &prediction.rows,
            files: &written,
            notes: &prediction.notes,
        })
    } else {
        console.print(&render::prediction(
            &prediction.rows,
            &written,
            console.paint,
        ))
    }
}
