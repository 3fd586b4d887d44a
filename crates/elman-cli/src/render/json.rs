//! Results for programs. Numbers that are not finite are written as `null`.

use crate::convert::Proof;
use crate::files::Written;
use crate::weights::{Header, Tensor};
use elman::network::ChainLayer;
use elman::weights::Compared;
use elman_forecast::model::ModelFacts;
use elman_forecast::outcome::{
    Choice, Fact, ForecastRow, LossCurve, MethodScore, Outcome, Scores, Split,
};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::path::Path;

/// The object of `elman forecast --json`.
#[derive(Serialize)]
pub struct Forecast<'a> {
    target: &'a str,
    frequency: &'a str,
    horizon: usize,
    season: usize,
    model: &'a str,
    seed: u64,
    backtest: ByMethod<'a, Scores>,
    mae_by_step: ByMethod<'a, Vec<Option<f64>>>,
    verdict: &'a str,
    forecast: &'a [ForecastRow],
    files: &'a Written,
    interrupted: bool,
    facts: &'a [Fact],
    settings: &'a [Choice],
    splits: &'a [Split],
    ignored: &'a [String],
    notes: &'a [String],
    training: &'a [LossCurve],
}

impl<'a> Forecast<'a> {
    pub fn new(outcome: &'a Outcome, files: &'a Written) -> Self {
        let methods = &outcome.backtest.methods;
        Self {
            target: &outcome.target,
            frequency: &outcome.frequency,
            horizon: outcome.horizon,
            season: outcome.season,
            model: &outcome.model,
            seed: outcome.seed,
            backtest: ByMethod(methods, |method| &method.scores),
            mae_by_step: ByMethod(methods, |method| &method.mae_by_step),
            verdict: &outcome.verdict,
            forecast: &outcome.forecast,
            files,
            interrupted: outcome.interrupted,
            facts: &outcome.facts,
            settings: &outcome.choices,
            splits: &outcome.splits,
            ignored: &outcome.ignored,
            notes: &outcome.notes,
            training: &outcome.training,
        }
    }
}

/// One entry a method, in the order of the methods.
struct ByMethod<'a, T>(&'a [MethodScore], fn(&MethodScore) -> &T);

impl<T: Serialize> Serialize for ByMethod<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|method| (&method.name, (self.1)(method))))
    }
}

/// The object of `elman predict --json`.
#[derive(Serialize)]
pub struct Prediction<'a> {
    pub model: String,
    pub forecast: &'a [ForecastRow],
    pub files: &'a Written,
    pub notes: &'a [String],
}

/// The object of `elman inspect --json`. The model is missing where the
/// file is not a forecaster of elman's.
#[derive(Serialize)]
pub struct Inspection<'a> {
    pub file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<&'a ModelFacts>,
    pub layers: Vec<Layer<'a>>,
    pub parameters: usize,
    pub multiply_adds_per_step: usize,
    /// Whether cells of the model do not run through the kernels.
    pub plain_loop: bool,
    pub tensors: &'a [Tensor],
    pub numbers: usize,
    pub metadata: &'a BTreeMap<String, String>,
}

/// The object of `elman run --json`.
#[derive(Serialize)]
pub struct Run<'a> {
    pub model: String,
    pub output: String,
    pub tensors: &'a [Tensor],
    pub notes: &'a [String],
}

/// A layer of the file.
#[derive(Serialize)]
pub struct Layer<'a> {
    prefix: &'a str,
    r#type: &'a str,
    parameters: usize,
    multiply_adds_per_step: usize,
    options: &'a ChainLayer,
}

/// The object of `elman convert --json`.
#[derive(Serialize)]
pub struct Conversion<'a> {
    input: String,
    output: String,
    bit_for_bit: bool,
    tensors: &'a [Compared],
    outputs: Option<Outputs<'a>>,
    verdict: &'a str,
    notes: &'a [String],
}

#[derive(Serialize)]
struct Outputs<'a> {
    of: &'a str,
    numbers: usize,
    largest_absolute: f64,
}

impl<'a> Conversion<'a> {
    pub fn new(
        input: &Path,
        output: &Path,
        proof: &'a Proof,
        verdict: &'a str,
        notes: &'a [String],
    ) -> Self {
        Self {
            input: input.display().to_string(),
            output: output.display().to_string(),
            bit_for_bit: proof.tensors.iter().all(|t| t.bit_for_bit),
            tensors: &proof.tensors,
            outputs: proof.outputs.as_ref().map(|probed| Outputs {
                of: &probed.what,
                numbers: probed.numbers,
                largest_absolute: probed.largest,
            }),
            verdict,
            notes,
        }
    }
}

impl<'a> Inspection<'a> {
    pub fn new(file: &Path, model: Option<&'a ModelFacts>, header: &'a Header) -> Self {
        let layers = header.layers.iter().map(|found| Layer {
            prefix: &found.prefix,
            r#type: found.layer.name(),
            parameters: found.parameters,
            multiply_adds_per_step: found.multiply_adds,
            options: &found.layer,
        });
        let total = |f: fn(&elman::weights::FoundLayer) -> usize| {
            header.layers.iter().map(f).fold(0, usize::saturating_add)
        };
        Self {
            file: file.display().to_string(),
            model,
            layers: layers.collect(),
            parameters: total(|found| found.parameters),
            multiply_adds_per_step: total(|found| found.multiply_adds),
            plain_loop: header.plain_loop,
            tensors: &header.tensors,
            numbers: header.numbers(),
            metadata: &header.metadata,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn a_forecast_has_the_promised_keys() {
        let mut outcome = sample::outcome();
        outcome.forecast[2].value = f64::INFINITY;
        outcome.backtest.methods[1].scores.mase = Some(f64::NAN);
        let files = Written {
            forecast: Some("forecast.csv".into()),
            report: Some("report.html".into()),
            model: Some("model.safetensors".into()),
        };
        let text = serde_json::to_string(&Forecast::new(&outcome, &files)).unwrap();
        assert!(!text.contains("NaN") && !text.contains("inf"));
        assert!(text.find("\"elman\":").unwrap() < text.find("\"ridge\":").unwrap());
        let object: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(object["target"], "kwh");
        assert_eq!(object["frequency"], "daily");
        assert_eq!(object["horizon"], 3);
        assert_eq!(
            object["model"],
            "gru, 32 units, looks back 28 steps, direct"
        );
        assert_eq!(object["seed"], 7);
        assert_eq!(
            object["verdict"],
            "ridge is not better here: elman wins by 8 %."
        );
        assert_eq!(object["interrupted"], false);
        assert_eq!(
            object["backtest"],
            json!({
                "elman": {"mae": 4.12, "rmse": 5.3, "smape": 17.2, "mase": 0.8123,
                          "coverage_80": 0.8121, "coverage_95": 0.94},
                "ridge": {"mae": 4.46, "rmse": 5.5, "smape": 18.012, "mase": null,
                          "coverage_80": null, "coverage_95": null},
            })
        );
        assert_eq!(
            object["forecast"][1],
            json!({"time": "2010-12-02", "value": 21.0, "lo_80": 15.0, "hi_80": 27.0,
                   "lo_95": null, "hi_95": null})
        );
        assert_eq!(object["forecast"][2]["value"], Value::Null);
        assert_eq!(
            object["files"],
            json!({"forecast": "forecast.csv", "report": "report.html",
                   "model": "model.safetensors"})
        );
    }
}
