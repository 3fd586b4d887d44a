//! `elman inspect`: what a weights file holds.

use crate::console::Console;
use crate::failure::Failure;
use crate::render::{self, json};
use crate::weights;
use elman_forecast::model::ForecastModel;
use std::path::Path;

pub fn run(path: &Path, console: &Console) -> Result<(), Failure> {
    let header = weights::read(path)?;
    let facts = if header.is_own() {
        Some(ForecastModel::load(path)?.describe())
    } else {
        None
    };
    let facts = facts.as_deref();
    if console.json {
        console.print_json(&json::Inspection::new(path, facts, &header))
    } else {
        console.print(&render::inspection(facts, &header, console.paint))
    }
}
