//! The forecaster in a file: train once, forecast from newer rows.

use crate::backtest::{intervals, rows};
use crate::conformal::Bands;
use crate::learner::Learned;
use crate::outcome::{Fact, ForecastRow};
use crate::plan::Plan;
use crate::series::Series;
use crate::table::{ReadOptions, Table};
use crate::time::TimeAxis;
use crate::windows::{Prepared, Scale, Windows};
use crate::{Error, Result};
use elman::ndarray::{Array2, Axis};
use elman::network::{ChainLayer, Network, NetworkConfig};
use elman::params::Params;
use elman::train::{Batch, Examples, Threads};
use elman::weights::{Model, network_layers, write_atomically};
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::path::Path;

/// A trained forecaster: networks, scale, intervals, and what it takes to read
/// a newer table.
#[derive(Debug, Clone)]
pub struct ForecastModel {
    app: App,
    learned: Learned,
}

/// The application's part of a model file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct App {
    kind: Kind,
    plan: Plan,
    scale: Scale,
    bands: Bands,
    time_column: String,
    axis: TimeAxis,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Forecast,
}

/// A forecast from newer rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// The forecast after the last row.
    pub rows: Vec<ForecastRow>,
    /// The column that was forecast.
    pub target: String,
    /// Name of the time column.
    pub time_column: String,
    /// The frequency in words.
    pub frequency: String,
    /// Time of the newest row, as in the table.
    pub newest: String,
    /// Remarks, each a sentence.
    pub notes: Vec<String>,
}

/// A window as the network reads it, in its units.
#[derive(Debug, Clone)]
pub struct NewestWindow {
    /// The network.
    pub network: NetworkConfig,
    /// Its parameters.
    pub params: Params<f32>,
    /// What it reads, (look_back + steps, features).
    pub input: Array2<f32>,
    /// What it reads beside that, as long as `beside`.
    pub skip: Vec<f32>,
    /// What it should predict, `steps` numbers.
    pub target: Vec<f32>,
    /// The time of each step of the input.
    pub steps: Vec<String>,
    /// What each feature of a step is.
    pub features: Vec<String>,
    /// What each number beside the sequence is.
    pub beside: Vec<String>,
    /// What the network calls 0, in the units of the table.
    pub centre: f64,
    /// What it calls 1 is so much more.
    pub spread: f64,
    /// Remarks on the table, each a sentence.
    pub notes: Vec<String>,
}

/// A newer table.
struct Read {
    table: Table,
    series: Series,
    /// The number of its first step in the series that the model was trained
    /// on.
    offset: i64,
    prepared: Prepared,
}

impl ForecastModel {
    /// A forecaster from its parts.
    pub(crate) fn new(
        plan: Plan,
        learned: Learned,
        bands: Bands,
        time_column: &str,
        axis: &TimeAxis,
    ) -> Self {
        // Fewer than planned where the training was interrupted.
        let members = learned.members().len();
        Self {
            app: App {
                kind: Kind::Forecast,
                scale: learned.scale(),
                plan: Plan { members, ..plan },
                bands,
                time_column: time_column.to_owned(),
                axis: axis.clone(),
            },
            learned,
        }
    }

    /// What was asked and chosen for the training.
    pub fn plan(&self) -> &Plan {
        &self.app.plan
    }

    /// The bytes of the model file: the same forecaster gives the same bytes.
    ///
    /// # Errors
    /// Where the metadata cannot be written as JSON.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let app = serde_json::to_value(&self.app).map_err(|e| Error::failed(e.to_string()))?;
        let members = self.learned.members().to_vec();
        Ok(Model::new(self.app.plan.network(), members, app)?.to_bytes()?)
    }

    /// Reads the bytes of a model file.
    ///
    /// # Errors
    /// Where they are none, damaged, or no forecaster's.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let model = Model::<f32>::from_bytes(bytes)?;
        let app: App = App::deserialize(model.app())
            .map_err(|e| Error::input(format!("this model is no forecaster: {e}")))?;
        let Plan {
            horizon,
            strategy,
            shape,
            members,
            ..
        } = &app.plan;
        let whole = *model.config() == app.plan.network()
            && model.members().len() == *members
            && shape.steps == strategy.steps(*horizon)
            && app.bands.len() == *horizon
            && *horizon > 0
            && app.scale.is_legal();
        if !whole {
            return Err(Error::input(
                "damaged: what is stored in the model file contradicts itself; train the model again",
            ));
        }
        let finite = |m: &elman::params::Params<f32>| m.values().iter().all(|w| w.is_finite());
        if !model.members().iter().all(finite) {
            return Err(Error::input("damaged: a weight is not a finite number"));
        }
        let members = model.members().to_vec();
        let network = model.network().clone();
        let learned = Learned::restore(network, members, app.scale, Threads(1));
        Ok(Self { app, learned })
    }

    /// Writes the model file; never half of it.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        Ok(write_atomically(path, &self.to_bytes()?)?)
    }

    /// Reads a model file.
    ///
    /// # Errors
    /// Where it cannot be read, or is none.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| {
            Error::input(match e.kind() {
                ErrorKind::NotFound => "there is no such file; check the path".to_owned(),
                _ => format!("cannot be read: {e}"),
            })
        });
        bytes
            .and_then(|bytes| Self::from_bytes(&bytes))
            .map_err(|e| e.at(path.display()))
    }

    /// Forecasts after the last row of a table, without training.
    ///
    /// # Errors
    /// Where the table has not the columns and the frequency that the model was
    /// trained on, or too few rows.
    pub fn predict(&self, file: &Path) -> Result<Prediction> {
        let App {
            plan,
            bands,
            time_column,
            axis,
            ..
        } = &self.app;
        let Read {
            table,
            series,
            offset,
            prepared,
        } = self.read(file)?;
        let (rows_there, needed) = (series.len() - prepared.first(), plan.shape.look_back);
        if rows_there < needed {
            return Err(Error::input(format!(
                "{}: too few rows: {rows_there}, the model looks back on {needed}; give the newest {needed} rows or more",
                file.display()
            )));
        }
        let origin = series.len();
        let forecast = self.learned.forecast(plan, &prepared, &[origin])?;
        let forecast = forecast.concat();
        let intervals = intervals(bands, &forecast);
        let mut notes = table.notes();
        if offset + (origin as i64) < axis.len() as i64 {
            notes.push(format!(
                "the newest row, {}, is older than the newest one that the model was trained on, {}",
                series.axis.label(origin - 1),
                axis.label(axis.len() - 1)
            ));
        }
        notes.extend(bands.notes());
        Ok(Prediction {
            rows: rows(&series.axis, origin, &forecast, &intervals),
            target: plan.target.clone(),
            time_column: time_column.clone(),
            frequency: series.axis.frequency().to_string(),
            newest: series.axis.label(origin - 1),
            notes,
        })
    }

    /// A newer table, made ready for windows.
    fn read(&self, file: &Path) -> Result<Read> {
        let App {
            plan,
            time_column,
            axis,
            ..
        } = &self.app;
        let options = ReadOptions {
            time: Some(time_column.clone()),
            like: Some(axis.clone()),
            ..ReadOptions::default()
        };
        let table = Table::open(file, &options)?;
        let series = table.series(&plan.target)?;
        let offset = axis.step_of(&series.axis).unwrap_or(0);
        let column = || format!("{}: column {}", file.display(), plan.target);
        let prepared = plan
            .prepare(&series.values, &series.axis, offset)
            .map_err(|e| e.at(column()))?;
        Ok(Read {
            table,
            series,
            offset,
            prepared,
        })
    }

    /// The newest window of a table whose next steps are known, as the first
    /// network reads it: what to look inside the forecaster with.
    ///
    /// # Errors
    /// Where the table has not the columns and the frequency that the model was
    /// trained on, or no window with all of the steps after it.
    pub fn newest_window(&self, file: &Path) -> Result<NewestWindow> {
        let plan = &self.app.plan;
        let Read {
            table,
            series,
            prepared,
            ..
        } = self.read(file)?;
        let (look_back, steps) = (plan.shape.look_back, plan.shape.steps);
        let known = |origin: &usize| {
            let truth = prepared.truth(*origin..*origin + steps);
            truth.iter().all(|value| !value.is_nan())
        };
        let first = prepared.first() + look_back;
        let origins = first..(series.len() + 1).saturating_sub(steps).max(first);
        let origin = origins.rev().find(known).ok_or_else(|| {
            Error::input(format!(
                "{}: too few rows: {} have a value or lie behind one; a window of {look_back} and {steps} known values after it are needed",
                file.display(),
                series.len() - prepared.first()
            ))
        })?;
        let windows = Windows::new(&prepared, plan.shape, self.learned.scale(), vec![origin]);
        let mut batch = Batch::default();
        windows.gather(&[0], &mut batch);
        let label = |step: usize| series.axis.label(step);
        let mut features = vec![plan.target.clone(), "to be forecast".to_owned()];
        features.extend(plan.calendar.columns());
        let window =
            (origin - look_back..origin).map(|step| format!("{} {}", plan.target, label(step)));
        let unit = windows.unscale(0, [0.0, 1.0].into_iter());
        let skip = batch.skip.map(|skip| skip.row(0).to_vec());
        Ok(NewestWindow {
            network: plan.network(),
            params: self.learned.members()[0].clone(),
            input: batch.input.index_axis_move(Axis(1), 0),
            skip: skip.unwrap_or_default(),
            target: batch.target.into_iter().collect(),
            steps: (origin - look_back..origin + steps).map(label).collect(),
            features,
            beside: window.chain(plan.calendar.columns()).collect(),
            centre: unit[0],
            spread: unit[1] - unit[0],
            notes: table.notes(),
        })
    }

    /// What the file holds.
    pub fn facts(&self) -> ModelFacts {
        let App { plan, axis, .. } = &self.app;
        let network = plan.network().build().ok();
        let parameters = network.map_or(0, |n| Network::<f32>::layout(&n).len());
        let layers = network_layers(&plan.network()).unwrap_or_default();
        let recurrent = layers
            .iter()
            .filter(|found| matches!(found.layer, ChainLayer::Recurrent(_)));
        let a_step: usize = recurrent.map(|found| found.multiply_adds).sum();
        let steps = plan.shape.look_back.saturating_add(plan.shape.steps);
        let multiply_adds = a_step.saturating_mul(steps).saturating_mul(plan.members);
        let last = axis.len().saturating_sub(1);
        ModelFacts {
            target: plan.target.clone(),
            horizon: plan.horizon,
            model: plan.describe(),
            cell: plan.cell.to_string(),
            hidden_size: plan.hidden_size,
            layers: plan.layers,
            members: plan.members,
            parameters,
            multiply_adds,
            time_column: self.app.time_column.clone(),
            look_back: plan.shape.look_back,
            strategy: plan.strategy.to_string(),
            frequency: axis.frequency().to_string(),
            calendar: plan.calendar.to_string(),
            scaling: plan.shape.scaling.to_string(),
            gaps: plan.gaps.to_string(),
            first: axis.label(0),
            last: axis.label(last),
            rows: axis.len(),
            seed: plan.seed,
        }
    }
}

/// What a forecaster's file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModelFacts {
    /// The column it forecasts.
    pub target: String,
    /// Steps ahead.
    pub horizon: usize,
    /// The network in words.
    pub model: String,
    /// The recurrent cell.
    pub cell: String,
    /// Units of a layer.
    pub hidden_size: usize,
    /// Recurrent layers.
    pub layers: usize,
    /// Networks whose forecasts are averaged.
    pub members: usize,
    /// Numbers that are trained in each of them.
    pub parameters: usize,
    /// Multiplications, each with an addition, in the recurrent layers of all
    /// networks for one forecast.
    pub multiply_adds: usize,
    /// The time column.
    pub time_column: String,
    /// Steps that are read before the first forecast step.
    pub look_back: usize,
    /// How several steps are forecast.
    pub strategy: String,
    /// The frequency in words.
    pub frequency: String,
    /// What the calendar tells.
    pub calendar: String,
    /// What is subtracted from every window.
    pub scaling: String,
    /// How missing values are filled.
    pub gaps: String,
    /// The first row it was trained on.
    pub first: String,
    /// The last one.
    pub last: String,
    /// Rows from one to the other.
    pub rows: usize,
    /// Seed of every random number.
    pub seed: u64,
}

impl ModelFacts {
    /// In words, in reading order.
    pub fn describe(&self) -> Vec<Fact> {
        let fact = |label: &str, value: String| Fact {
            label: label.to_owned(),
            value,
        };
        vec![
            fact(
                "forecasts",
                format!("{}, {} steps ahead", self.target, self.horizon),
            ),
            fact("model", self.model.clone()),
            fact(
                "parameters",
                format!("{} in each of {} network(s)", self.parameters, self.members),
            ),
            fact(
                "cost",
                // A multiplication and an addition.
                format!(
                    "about {} operations a forecast",
                    self.multiply_adds.saturating_mul(2)
                ),
            ),
            fact(
                "reads",
                format!(
                    "the column {} and {} rows before the first step",
                    self.time_column, self.look_back
                ),
            ),
            fact("frequency", self.frequency.clone()),
            fact("calendar inputs", self.calendar.clone()),
            fact("subtracted from a window", self.scaling.clone()),
            fact("gaps", self.gaps.clone()),
            fact(
                "trained on",
                format!("{} to {}, {} rows", self.first, self.last, self.rows),
            ),
            fact("seed", self.seed.to_string()),
        ]
    }
}
