//! `elman inspect`: what a weights file holds.

use crate::console::Console;
use crate::failure::Failure;
use crate::render::{self, json};
use crate::weights;
use elman_forecast::model::ForecastModel;
use std::path::Path;

pub fn run(path: &Path, console: &Console) -> Result<(), Failure> {
    let header = weights::read(path)?;
    // A model of elman's that does not forecast, or not in this version, still
    // has its tensors and its metadata.
    let model = if header.is_own() {
        let model = ForecastModel::load(path);
        let failed = |e| console.note(&format!("not read as a forecaster: {e}"));
        model.map_err(failed).ok().map(|model| model.facts())
    } else {
        None
    };
    let model = model.as_ref();
    if console.json {
        console.print_json(&json::Inspection::new(path, model, &header))
    } else {
        console.print(&render::inspection(model, &header, console.paint))
    }
}
