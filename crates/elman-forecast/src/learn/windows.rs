//! From a series to examples: a window of the past, what the calendar says of
//! past and future, and the steps to forecast.
//!
//! An origin is the first step that is not known. Its window holds the
//! `look_back` steps before it, filled from what is known there; nothing at or
//! after the origin goes into an input.

use crate::calendar::Calendar;
use crate::gaps::Filled;
use crate::options::{Gaps, Scaling};
use crate::time::TimeAxis;
use crate::{Error, Result};
use elman::ndarray::{Array2, Array3};
use elman::train::{Batch, Examples};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::ops::Range;

/// A series made ready for windows.
#[derive(Debug)]
pub struct Prepared {
    values: Vec<f64>,
    filled: Filled,
    calendar: Vec<f32>,
    calendar_width: usize,
    first: usize,
}

/// What a series is prepared by.
#[derive(Debug, Clone, Copy)]
pub struct Preparation<'a> {
    /// The calendar inputs.
    pub calendar: &'a Calendar,
    /// Steps after the last value that the calendar has to reach.
    pub horizon: usize,
    /// How gaps are filled.
    pub gaps: Gaps,
    /// Steps of a season.
    pub season: usize,
    /// The number of the first step in the series that a season is counted
    /// from.
    pub offset: i64,
}

impl Prepared {
    /// Fills the gaps and computes the calendar.
    ///
    /// # Errors
    /// Where a gap is refused, or every value is missing.
    pub fn new(values: &[f64], axis: &TimeAxis, by: Preparation<'_>) -> Result<Self> {
        let len = values.len() + by.horizon;
        let first = values.iter().position(|v| !v.is_nan()).unwrap_or(0);
        let mut missing = (first..values.len()).filter(|i| values[*i].is_nan());
        if by.gaps == Gaps::Refuse
            && let Some(gap) = missing.next()
        {
            return Err(Error::input(format!(
                "{} values are missing, the first at {}; fill them in, or choose another way than --gaps refuse",
                1 + missing.count(),
                axis.label(gap)
            )));
        }
        Ok(Self {
            filled: Filled::new(&values[first..], by.gaps, by.season)?,
            calendar: by.calendar.rows(axis, by.offset, len),
            calendar_width: by.calendar.width(),
            first,
            values: values.to_vec(),
        })
    }

    /// The first step whose value is there; no window begins before it.
    pub fn first(&self) -> usize {
        self.first
    }

    /// Number of steps.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// True where there is no step.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The steps from the first value to an origin, filled as known there.
    pub fn history(&self, origin: usize) -> Cow<'_, [f64]> {
        self.filled.until(origin.saturating_sub(self.first))
    }

    /// The last `out.len()` of them.
    fn window(&self, origin: usize, out: &mut [f64]) {
        self.filled.window(origin - self.first, out);
    }

    /// The values of some steps, NaN where missing or not there yet.
    pub fn truth(&self, steps: Range<usize>) -> Vec<f64> {
        steps
            .map(|i| self.values.get(i).copied().unwrap_or(f64::NAN))
            .collect()
    }

    /// How much of a window's distance from the mean is left in the steps after
    /// it: the slope of their mean on the window's mean. About 1 where the
    /// level wanders, about 0 where it returns.
    pub fn persistence(&self, origins: &[usize], look_back: usize, steps: usize) -> f64 {
        let mut window = vec![0.0; look_back];
        let pairs = origins.iter().map(|origin| {
            self.window(*origin, &mut window);
            (mean(&window), mean(&self.truth(*origin..origin + steps)))
        });
        let pairs: Vec<(f64, f64)> = pairs.filter(|(_, next)| next.is_finite()).collect();
        let (x, y): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
        let (x_mean, y_mean) = (mean(&x), mean(&y));
        let products = pairs.iter().map(|(x, y)| (x - x_mean) * (y - y_mean));
        let squares: f64 = x.iter().map(|x| (x - x_mean).powi(2)).sum();
        let slope = products.sum::<f64>() / squares;
        if slope.is_finite() { slope } else { 1.0 }
    }

    fn calendar(&self, step: usize) -> &[f32] {
        &self.calendar[step * self.calendar_width..][..self.calendar_width]
    }
}

/// The centre and the spread that numbers are scaled by.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Scale {
    /// Mean of the values before the end of the training part.
    mean: f64,
    /// Root mean square of what is to be forecast, after a window's centre has
    /// been subtracted.
    spread: f64,
}

impl Scale {
    /// From the values before `end` and the windows of the training origins.
    pub fn of(prepared: &Prepared, shape: Shape, origins: &[usize], end: usize) -> Self {
        let mean = mean(&prepared.values[..end]);
        let unit = Self { mean, spread: 1.0 };
        let windows = Windows::new(prepared, shape, unit, origins.to_vec());
        let errors = (0..origins.len()).flat_map(|i| windows.regression(i).1);
        let errors: Vec<f64> = errors.filter(|e| !e.is_nan()).collect();
        let largest = errors.iter().fold(0.0, |l: f64, e| l.max(e.abs()));
        let spread = if largest > 0.0 {
            let count = errors.len() as f64;
            let squares = errors.iter().map(|e| (e / largest).powi(2) / count);
            largest * squares.sum::<f64>().sqrt()
        } else {
            0.0
        };
        Self { mean, spread }
    }

    /// True where nothing but the centre is to be forecast.
    pub fn is_constant(&self) -> bool {
        self.spread == 0.0
    }

    /// False where it cannot have come from any values.
    pub(crate) fn is_legal(&self) -> bool {
        self.mean.is_finite() && self.spread.is_finite() && self.spread >= 0.0
    }

    fn down(&self, value: f64, centre: f64) -> f64 {
        if self.is_constant() {
            0.0
        } else {
            (value - centre) / self.spread
        }
    }

    fn up(&self, output: f64, centre: f64) -> f64 {
        centre + self.spread * output
    }
}

/// How examples are cut out of a series.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Shape {
    /// Steps of the past in a window.
    pub look_back: usize,
    /// Steps that the network forecasts at once.
    pub steps: usize,
    /// What is subtracted from a window.
    pub scaling: Scaling,
}

impl Shape {
    /// Features of an input step: the value, whether it is to be forecast, the
    /// calendar.
    pub fn features(&self, calendar: &Calendar) -> usize {
        2 + calendar.width()
    }

    /// Features of the vector beside the sequence: the window and the calendar
    /// of the first step to forecast.
    pub fn beside(&self, calendar: &Calendar) -> usize {
        self.look_back.saturating_add(calendar.width())
    }

    fn centre(&self, window: &[f64], scale: &Scale) -> f64 {
        match self.scaling {
            Scaling::Last => window.last().copied().unwrap_or(scale.mean),
            Scaling::Mean => mean(window),
            Scaling::None => scale.mean,
        }
    }
}

/// The mean of the values that are there, NaN where none is. It lies between
/// the least and the largest: that of a constant is the constant.
fn mean(values: &[f64]) -> f64 {
    let known = || values.iter().copied().filter(|v| !v.is_nan());
    let count = known().count() as f64;
    // Divided one by one, so that large values do not overflow.
    let mean: f64 = known().map(|v| v / count).sum();
    let least = known().fold(f64::NAN, f64::min);
    let largest = known().fold(f64::NAN, f64::max);
    if count > 0.0 {
        mean.max(least).min(largest)
    } else {
        f64::NAN
    }
}

/// Examples at some origins.
#[derive(Debug)]
pub struct Windows<'a> {
    prepared: &'a Prepared,
    shape: Shape,
    scale: Scale,
    origins: Vec<usize>,
    /// The windows where they are not the series' own: the forecasts that a
    /// recursive strategy has made are in them.
    own: Option<Vec<Vec<f64>>>,
}

impl<'a> Windows<'a> {
    /// The windows of the series before these origins, each with at least
    /// `look_back` steps before it.
    pub fn new(prepared: &'a Prepared, shape: Shape, scale: Scale, origins: Vec<usize>) -> Self {
        Self {
            prepared,
            shape,
            scale,
            origins,
            own: None,
        }
    }

    /// Windows of one's own before these origins.
    pub fn with(
        prepared: &'a Prepared,
        shape: Shape,
        scale: Scale,
        origins: Vec<usize>,
        windows: Vec<Vec<f64>>,
    ) -> Self {
        Self {
            own: Some(windows),
            ..Self::new(prepared, shape, scale, origins)
        }
    }

    /// The window of an example, in the units of the table.
    pub fn window(&self, example: usize) -> Vec<f64> {
        match &self.own {
            Some(windows) => windows[example].clone(),
            None => {
                let mut window = vec![0.0; self.shape.look_back];
                self.prepared.window(self.origins[example], &mut window);
                window
            }
        }
    }

    /// Outputs of the network for an example in the units of the table.
    pub fn unscale(&self, example: usize, outputs: impl Iterator<Item = f64>) -> Vec<f64> {
        let centre = self.shape.centre(&self.window(example), &self.scale);
        outputs.map(|y| self.scale.up(y, centre)).collect()
    }

    /// The vector beside the sequence, and the scaled truths (NaN where
    /// missing): what a linear regression is fitted on.
    pub fn regression(&self, example: usize) -> (Vec<f64>, Vec<f64>) {
        let window = self.window(example);
        let centre = self.shape.centre(&window, &self.scale);
        let origin = self.origins[example];
        let scaled = window.iter().map(|v| self.scale.down(*v, centre));
        let calendar = self.prepared.calendar(origin).iter().map(|c| f64::from(*c));
        let truth = self.prepared.truth(origin..origin + self.shape.steps);
        let truth = truth.iter().map(|v| {
            if v.is_nan() {
                f64::NAN
            } else {
                self.scale.down(*v, centre)
            }
        });
        (scaled.chain(calendar).collect(), truth.collect())
    }
}

impl Examples<f32> for Windows<'_> {
    fn len(&self) -> usize {
        self.origins.len()
    }

    fn gather(&self, numbers: &[usize], batch: &mut Batch<f32>) {
        let Shape {
            look_back, steps, ..
        } = self.shape;
        let (rows, calendar) = (numbers.len(), self.prepared.calendar_width);
        let Batch {
            input,
            skip,
            target,
            weight,
            ..
        } = batch;
        let skip = skip.get_or_insert_with(|| Array2::zeros((0, 0)));
        let weight = weight.get_or_insert_with(|| Array3::zeros((0, 0, 0)));
        for (array, steps, features) in [
            (&mut *input, look_back + steps, 2 + calendar),
            (&mut *target, steps, 1),
            (&mut *weight, steps, 1),
        ] {
            if array.dim() != (steps, rows, features) {
                *array = Array3::zeros((steps, rows, features));
            }
        }
        if skip.dim() != (rows, look_back + calendar) {
            *skip = Array2::zeros((rows, look_back + calendar));
        }
        for (row, number) in numbers.iter().enumerate() {
            let origin = self.origins[*number];
            let (beside, truth) = self.regression(*number);
            for t in 0..look_back + steps {
                let known = t < look_back;
                input[[t, row, 0]] = if known { beside[t] as f32 } else { 0.0 };
                input[[t, row, 1]] = if known { 0.0 } else { 1.0 };
                let step = self.prepared.calendar(origin + t - look_back);
                for (c, x) in step.iter().enumerate() {
                    input[[t, row, 2 + c]] = *x;
                }
            }
            for (i, x) in beside.into_iter().enumerate() {
                skip[[row, i]] = x as f32;
            }
            for (k, truth) in truth.into_iter().enumerate() {
                let missing = truth.is_nan();
                weight[[k, row, 0]] = if missing { 0.0 } else { 1.0 };
                target[[k, row, 0]] = if missing { 0.0 } else { truth as f32 };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prepared(values: &[f64]) -> Prepared {
        let axis = TimeAxis::steps(values.len());
        let calendar = Calendar::of(&axis, 3);
        let by = Preparation {
            calendar: &calendar,
            horizon: 4,
            gaps: Gaps::Interpolate,
            season: 3,
            offset: 0,
        };
        Prepared::new(values, &axis, by).unwrap()
    }

    /// From the windows that end before `end`.
    fn scale(prepared: &Prepared, end: usize) -> Scale {
        let shape = Shape {
            look_back: 2,
            steps: 1,
            scaling: Scaling::Last,
        };
        let origins: Vec<usize> = (2..end).collect();
        Scale::of(prepared, shape, &origins, end)
    }

    fn inputs(prepared: &Prepared, scale: Scale, scaling: Scaling, origin: usize) -> Batch<f32> {
        let shape = Shape {
            look_back: 5,
            steps: 4,
            scaling,
        };
        let mut batch = Batch::default();
        Windows::new(prepared, shape, scale, vec![origin]).gather(&[0], &mut batch);
        batch
    }

    proptest! {
        /// Whatever stands at or after an origin, an input before it has the
        /// same bits.
        #[test]
        fn nothing_looks_ahead(
            values in prop::collection::vec(prop_oneof![3 => -9.0..9.0, 1 => Just(f64::NAN)], 12..30),
            other in prop::collection::vec(prop_oneof![1 => -9e9..9e9, 1 => Just(f64::NAN)], 30),
            at in 0.0..1.0,
        ) {
            let mut values = values;
            values[0] = 1.0;
            let origin = 5 + ((values.len() - 5) as f64 * at) as usize;
            let mut changed = values.clone();
            changed[origin..].copy_from_slice(&other[origin..values.len()]);
            let (a, b) = (prepared(&values), prepared(&changed));
            let scale = scale(&a, origin);
            prop_assert_eq!(scale, self::scale(&b, origin));
            for scaling in [Scaling::Last, Scaling::Mean, Scaling::None] {
                let (x, y) = (inputs(&a, scale, scaling, origin), inputs(&b, scale, scaling, origin));
                prop_assert_eq!(x.input, y.input);
                prop_assert_eq!(x.skip, y.skip);
            }
        }
    }

    #[test]
    fn missing_truth_has_no_weight() {
        let mut values: Vec<f64> = (0..12).map(f64::from).collect();
        values[8] = f64::NAN;
        let prepared = prepared(&values);
        let scale = scale(&prepared, 7);
        let batch = inputs(&prepared, scale, Scaling::Last, 7);
        let weight: Vec<f32> = batch.weight.unwrap().into_iter().collect();
        assert_eq!(weight, [1.0, 0.0, 1.0, 1.0]);
    }

    #[test]
    fn a_constant_is_forecast_exactly() {
        let prepared = prepared(&[0.1; 12]);
        let scale = scale(&prepared, 12);
        assert!(scale.is_constant());
        let shape = Shape {
            look_back: 5,
            steps: 4,
            scaling: Scaling::Last,
        };
        let windows = Windows::new(&prepared, shape, scale, vec![12]);
        assert_eq!(windows.unscale(0, [3.0, -1.0].into_iter()), [0.1, 0.1]);
    }
}
