//! Ridge regression with several outputs (Hoerl and Kennard, *Ridge
//! Regression*, Technometrics 12, 1970).
//!
//! With features z standardised by their mean and standard deviation over the
//! training rows, every output k has the coefficients b and the intercept b_0
//! that minimise
//!
//! ```text
//! sum over rows with a target of (y_k - b_0 - z·b)^2  +  penalty * b·b
//! ```
//!
//! The intercept is not penalised, which makes it mean(y_k) - mean(z)·b and
//! leaves (G + penalty I) b = Z'(y_k - mean(y_k)), with G the Gram matrix of
//! the centred features.

use std::collections::BTreeMap;

use nalgebra::{Cholesky, DMatrix, Dyn};
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, Zip};

use crate::error::{Error, Result};

/// A fitted ridge regression.
///
/// ```
/// use elman_forecast::baseline::Ridge;
/// use ndarray::array;
///
/// // y = 3 x + 1, one target missing.
/// let x = array![[0.0], [1.0], [2.0], [5.0]];
/// let y = array![[1.0], [4.0], [f64::NAN], [16.0]];
/// let ridge = Ridge::fit(x.view(), y.view(), 0.0)?;
/// assert!((ridge.predict(&[10.0])?[0] - 31.0).abs() < 1e-6);
/// # Ok::<(), elman_forecast::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Ridge {
    features: Standard,
    /// (features, outputs), for standardised features.
    coefficients: Array2<f64>,
    intercepts: Array1<f64>,
}

impl Ridge {
    /// Penalties for [`Ridge::choose`]: half decades from 0.01 to 10^6. The
    /// features are standardised, so that a penalty weighs against the number
    /// of rows: the first leaves some hundred rows nearly unpenalised, the last
    /// one flattens many thousands.
    pub const PENALTIES: [f64; 17] = [
        1e-2, 3.16e-2, 1e-1, 3.16e-1, 1.0, 3.16, 1e1, 3.16e1, 1e2, 3.16e2, 1e3, 3.16e3, 1e4,
        3.16e4, 1e5, 3.16e5, 1e6,
    ];

    /// Fits `x` (rows, features) to `y` (rows, outputs) with one `penalty` for
    /// every output.
    ///
    /// A NaN in `y` is a missing target: that row is not used for that output.
    /// An output without any target predicts NaN. A constant feature gets the
    /// coefficient 0. A penalty below 1e-10 times the number of rows is raised
    /// to it, which picks one solution where many are equally good (more
    /// features than rows, repeated features).
    ///
    /// # Errors
    /// `x` and `y` differ in their number of rows, there is no row, `x` is not
    /// finite, `y` is infinite, the penalty is negative or not finite, or the
    /// numbers are too large to square.
    pub fn fit(x: ArrayView2<f64>, y: ArrayView2<f64>, penalty: f64) -> Result<Self> {
        let mut ridges = fit_all(x, y, &[penalty])?;
        ridges
            .pop()
            .ok_or_else(|| Error::failed("ridge: no penalty to fit"))
    }

    /// The prediction for one row of features, one value an output.
    ///
    /// # Errors
    /// `x.len()` is not the number of features that were fitted.
    pub fn predict(&self, x: &[f64]) -> Result<Vec<f64>> {
        let row = ArrayView1::from(x).insert_axis(Axis(0));
        Ok(self.predict_rows(row)?.into_iter().collect())
    }

    /// Fits the training rows with every penalty and keeps the one with the
    /// least mean absolute error over all targets of the validation rows, the
    /// larger of two that are equally good.
    ///
    /// The Gram matrix is computed once for all penalties, and outputs with the
    /// same missing rows share the factorisation.
    ///
    /// # Errors
    /// As [`Ridge::fit`], or there is no penalty or no validation target to
    /// choose by.
    pub fn choose(
        x_train: ArrayView2<f64>,
        y_train: ArrayView2<f64>,
        x_valid: ArrayView2<f64>,
        y_valid: ArrayView2<f64>,
        penalties: &[f64],
    ) -> Result<(Self, f64)> {
        check_rows(x_valid, y_valid).map_err(|e| e.at("ridge, validation"))?;
        if y_valid.ncols() != y_train.ncols() {
            return Err(Error::input(format!(
                "ridge, validation: expected {} outputs as in training, got {}",
                y_train.ncols(),
                y_valid.ncols()
            )));
        }
        let mut best: Option<(f64, f64, Self)> = None;
        for (ridge, &penalty) in fit_all(x_train, y_train, penalties)?
            .into_iter()
            .zip(penalties)
        {
            let predicted = ridge.predict_rows(x_valid)?;
            let mut count = 0_usize;
            let mut sum = 0.0;
            for (y, p) in y_valid.iter().zip(&predicted) {
                // NaN: no target here, or none in training.
                let error = (y - p).abs();
                if !error.is_nan() {
                    count += 1;
                    sum += error;
                }
            }
            let error = sum / count as f64;
            let better = match &best {
                None => !error.is_nan(),
                Some((least, of, _)) => error < *least || (error == *least && penalty > *of),
            };
            if better {
                best = Some((error, penalty, ridge));
            }
        }
        best.map(|(_, penalty, ridge)| (ridge, penalty))
            .ok_or_else(|| {
                Error::input(
                    "ridge: no target in the validation rows to choose the penalty by; \
                     give more rows, or fit with a penalty of your own",
                )
            })
    }

    /// (rows, features) -> (rows, outputs).
    fn predict_rows(&self, x: ArrayView2<f64>) -> Result<Array2<f64>> {
        let expected = self.coefficients.nrows();
        if x.ncols() != expected {
            return Err(Error::input(format!(
                "ridge: expected {expected} features as in training, got {}",
                x.ncols()
            )));
        }
        Ok(self.features.apply(x).dot(&self.coefficients) + &self.intercepts)
    }
}

/// One ridge a penalty.
fn fit_all(x: ArrayView2<f64>, y: ArrayView2<f64>, penalties: &[f64]) -> Result<Vec<Ridge>> {
    check_rows(x, y).map_err(|e| e.at("ridge"))?;
    if let Some(bad) = penalties
        .iter()
        .find(|p| !(0.0..f64::INFINITY).contains(*p))
    {
        return Err(Error::input(format!(
            "ridge: expected a penalty of 0 or more, got {bad}"
        )));
    }
    let (rows, outputs) = y.dim();
    let features = Standard::fit(x);
    let z = features.apply(x);
    let total = z.t().dot(&z);

    let (targets, means) = centre(y);
    let moments = z.t().dot(&targets);
    let unfitted = Ridge {
        features,
        coefficients: Array2::zeros((z.ncols(), outputs)),
        intercepts: means,
    };
    let mut ridges = vec![unfitted; penalties.len()];

    for (missing, outputs) in by_missing_rows(y) {
        let used = rows - missing.len();
        if used == 0 {
            continue;
        }
        let (gram, mean) = gram_without(z.view(), &total, &missing);
        let rhs = moments.select(Axis(1), &outputs);
        for (ridge, &penalty) in ridges.iter_mut().zip(penalties) {
            let solved = solve(&gram, &rhs, penalty.max(1e-10 * rows as f64))?;
            for (column, &output) in solved.axis_iter(Axis(1)).zip(&outputs) {
                ridge.intercepts[output] -= mean.dot(&column);
                ridge.coefficients.column_mut(output).assign(&column);
            }
        }
    }
    Ok(ridges)
}

fn check_rows(x: ArrayView2<f64>, y: ArrayView2<f64>) -> Result<()> {
    if x.nrows() != y.nrows() {
        return Err(Error::input(format!(
            "expected as many rows of targets as of features, {}, got {}",
            x.nrows(),
            y.nrows()
        )));
    }
    if x.nrows() == 0 {
        return Err(Error::input("expected at least one row, got none"));
    }
    if let Some(((row, column), value)) = x.indexed_iter().find(|(_, v)| !v.is_finite()) {
        return Err(Error::input(format!(
            "feature {column} of row {row}: expected a finite number, got {value}; \
             fill gaps before fitting"
        )));
    }
    if let Some(((row, column), value)) = y.indexed_iter().find(|(_, v)| v.is_infinite()) {
        return Err(Error::input(format!(
            "target {column} of row {row}: expected a finite number or NaN where it is \
             missing, got {value}"
        )));
    }
    Ok(())
}

/// Mean and standard deviation of every column of the training rows.
#[derive(Debug, Clone)]
struct Standard {
    mean: Array1<f64>,
    deviation: Array1<f64>,
}

impl Standard {
    fn fit(x: ArrayView2<f64>) -> Self {
        let rows = x.nrows() as f64;
        let mut standard = Self {
            mean: Array1::zeros(x.ncols()),
            // A constant column stays at 0 whatever comes.
            deviation: Array1::from_elem(x.ncols(), f64::INFINITY),
        };
        for (i, column) in x.axis_iter(Axis(1)).enumerate() {
            // Relative to the largest value, so that no square overflows.
            let largest = column.fold(0.0_f64, |m, v| m.max(v.abs()));
            if largest < f64::MIN_POSITIVE {
                continue;
            }
            let mean = column.fold(0.0, |sum, v| sum + v / largest) / rows;
            let squares = column.fold(0.0, |sum, v| sum + (v / largest - mean).powi(2));
            let deviation = (squares / rows).sqrt();
            standard.mean[i] = mean * largest;
            // Below this a column varies by rounding only.
            if deviation > 1e-12 {
                standard.deviation[i] = deviation * largest;
            }
        }
        standard
    }

    fn apply(&self, x: ArrayView2<f64>) -> Array2<f64> {
        (&x - &self.mean) / &self.deviation
    }
}

/// The targets less the mean of each output, 0 where missing, and the means,
/// NaN for an output without targets.
fn centre(y: ArrayView2<f64>) -> (Array2<f64>, Array1<f64>) {
    let mut centred = y.to_owned();
    let mut means = Array1::zeros(y.ncols());
    Zip::from(centred.columns_mut())
        .and(&mut means)
        .for_each(|mut column, mean| {
            let known = || column.iter().filter(|v| !v.is_nan());
            *mean = known().sum::<f64>() / known().count() as f64;
            column.mapv_inplace(|v| if v.is_nan() { 0.0 } else { v - *mean });
        });
    (centred, means)
}

/// The outputs that lack the same rows, by these rows.
fn by_missing_rows(y: ArrayView2<f64>) -> BTreeMap<Vec<usize>, Vec<usize>> {
    let mut groups = BTreeMap::<_, Vec<usize>>::new();
    for (output, column) in y.axis_iter(Axis(1)).enumerate() {
        let missing: Vec<usize> = (0..column.len()).filter(|&r| column[r].is_nan()).collect();
        groups.entry(missing).or_default().push(output);
    }
    groups
}

/// The centred Gram matrix of the rows of `z` that are not `missing`, and their
/// mean. `total` is z'z over all rows: a few missing ones are taken off it.
fn gram_without(
    z: ArrayView2<f64>,
    total: &Array2<f64>,
    missing: &[usize],
) -> (Array2<f64>, Array1<f64>) {
    let used = z.nrows() - missing.len();
    let (gram, sum) = if missing.len() <= used {
        let gone = z.select(Axis(0), missing);
        let gram = total - &gone.t().dot(&gone);
        (gram, z.sum_axis(Axis(0)) - gone.sum_axis(Axis(0)))
    } else {
        let kept: Vec<usize> = (0..z.nrows())
            .filter(|row| missing.binary_search(row).is_err())
            .collect();
        let kept = z.select(Axis(0), &kept);
        (kept.t().dot(&kept), kept.sum_axis(Axis(0)))
    };
    let mean = sum / used as f64;
    let column = mean.view().insert_axis(Axis(1));
    let gram = gram - column.dot(&column.t()) * used as f64;
    (gram, mean)
}

/// Solves (gram + penalty I) b = rhs for every column of `rhs`.
///
/// Where rounding leaves the matrix short of positive definite, the penalty is
/// raised until it is not.
fn solve(gram: &Array2<f64>, rhs: &Array2<f64>, mut penalty: f64) -> Result<Array2<f64>> {
    let (size, outputs) = rhs.dim();
    let factor = loop {
        let matrix = DMatrix::from_fn(size, size, |i, j| {
            gram[[i, j]] + if i == j { penalty } else { 0.0 }
        });
        match Cholesky::<f64, Dyn>::new(matrix) {
            Some(factor) => break factor,
            None if penalty.is_finite() => penalty *= 100.0,
            None => return Err(Error::failed("ridge: the features are too large to square")),
        }
    };
    let solved = factor.solve(&DMatrix::from_fn(size, outputs, |i, k| rhs[[i, k]]));
    let solved = Array2::from_shape_fn((size, outputs), |at| solved[at]);
    if solved.iter().all(|b| b.is_finite()) {
        Ok(solved)
    } else {
        Err(Error::failed(
            "ridge: the targets are too large to sum; divide them by a constant",
        ))
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::*;

    const NAN: f64 = f64::NAN;

    fn example() -> (Array2<f64>, Array2<f64>) {
        (
            array![[1.0, 2.0], [2.0, 0.0], [3.0, 5.0], [4.0, 1.0], [7.0, 3.0]],
            array![[1.0, 0.0], [3.0, 1.0], [2.0, NAN], [5.0, 4.0], [9.0, 2.0]],
        )
    }

    /// The normal equations with an intercept column, solved by numpy.
    #[test]
    fn known_answers() {
        let (x, y) = example();
        let check = |penalty, expected: [f64; 2]| {
            let ridge = Ridge::fit(x.view(), y.view(), penalty).unwrap();
            let got = ridge.predict(&[5.0, 4.0]).unwrap();
            for (got, expected) in got.iter().zip(expected) {
                assert!((got - expected).abs() < 1e-12, "{penalty}: {got}");
            }
        };
        check(0.5, [5.3877780554861285, 1.1876968061178586]);
        check(20.0, [4.394148416687546, 1.8213401890959038]);
    }

    /// sum of squared errors + penalty * squared coefficients of one output.
    fn objective(
        ridge: &Ridge,
        x: &Array2<f64>,
        y: &Array2<f64>,
        output: usize,
        penalty: f64,
    ) -> f64 {
        let predicted = ridge.predict_rows(x.view()).unwrap();
        let errors = y.column(output).to_owned() - predicted.column(output);
        let fit: f64 = errors.iter().filter(|e| !e.is_nan()).map(|e| e * e).sum();
        fit + penalty * ridge.coefficients.column(output).mapv(|b| b * b).sum()
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            rng_seed: RngSeed::Fixed(0),
            failure_persistence: None,
            cases: 64,
            ..ProptestConfig::default()
        })]

        // The objective is convex: its minimum is where every finite
        // difference vanishes.
        #[test]
        fn the_objective_is_at_its_minimum(
            values in prop::collection::vec(-3.0..3.0_f64, 12 * 5),
            missing in prop::collection::vec(prop::bool::weighted(0.3), 12 * 2),
            penalty in prop_oneof![Just(0.01), 0.1..100.0_f64],
        ) {
            let all = Array2::from_shape_vec((12, 5), values).unwrap();
            let x = all.slice(ndarray::s![.., ..3]).to_owned();
            let mut y = all.slice(ndarray::s![.., 3..]).to_owned();
            for (y, missing) in y.iter_mut().zip(missing) {
                *y = if missing { NAN } else { *y };
            }
            let ridge = Ridge::fit(x.view(), y.view(), penalty).unwrap();
            for output in 0..2 {
                if y.column(output).iter().all(|y| y.is_nan()) {
                    continue;
                }
                // Parameter 3 is the intercept.
                for parameter in 0..4 {
                    let at = |shift: f64| {
                        let mut moved = ridge.clone();
                        match parameter {
                            3 => moved.intercepts[output] += shift,
                            i => moved.coefficients[[i, output]] += shift,
                        }
                        objective(&moved, &x, &y, output, penalty)
                    };
                    let slope = (at(1e-3) - at(-1e-3)) / 2e-3;
                    prop_assert!(slope.abs() < 1e-8, "output {output} {parameter}: {slope}");
                }
            }
        }

        #[test]
        fn no_input_panics(
            (rows, features, outputs) in (0..5_usize, 0..5_usize, 0..4_usize),
            values in prop::collection::vec(
                prop_oneof![
                    4 => -2.0..2.0_f64,
                    2 => (-1..2_i32).prop_map(f64::from),
                    1 => prop_oneof![Just(NAN), Just(f64::INFINITY), Just(1e300), Just(-1e308), Just(5e-324)],
                ],
                5 * 9,
            ),
            penalty in prop_oneof![Just(0.0), Just(1.0), Just(-1.0), Just(NAN), Just(f64::MAX)],
        ) {
            let all = Array2::from_shape_vec((5, 9), values).unwrap();
            let x = all.slice(ndarray::s![..rows, ..features]);
            let y = all.slice(ndarray::s![..rows, 5..5 + outputs]);
            if let Ok(ridge) = Ridge::fit(x, y, penalty) {
                let predicted = ridge.predict(&vec![1.0; features]).unwrap();
                prop_assert_eq!(predicted.len(), outputs);
                prop_assert!(ridge.predict(&vec![1.0; features + 1]).is_err());
            }
            // Validation rows of any other shape, too.
            let _ = Ridge::choose(x, y, all.slice(ndarray::s![.., ..features]), all.slice(ndarray::s![.., 5..7]), &[penalty, 2.0]);
        }
    }

    #[test]
    fn outputs_do_not_depend_on_each_other() {
        let (x, y) = example();
        let y = ndarray::concatenate![Axis(1), y, y.slice(ndarray::s![.., ..1]).mapv(|v| 1.0 - v)];
        let together = Ridge::fit(x.view(), y.view(), 2.0).unwrap();
        for output in 0..3 {
            let column = y.slice(ndarray::s![.., output..=output]);
            let alone = Ridge::fit(x.view(), column, 2.0).unwrap();
            let difference = together.predict(&[5.0, 4.0]).unwrap()[output]
                - alone.predict(&[5.0, 4.0]).unwrap()[0];
            assert!(difference.abs() < 1e-12, "output {output}: {difference}");
        }
    }

    #[test]
    fn degenerate_inputs_have_sensible_answers() {
        let check = |x: Array2<f64>, y: Array2<f64>, penalty, at: &[f64], expected: f64| {
            let ridge = Ridge::fit(x.view(), y.view(), penalty).unwrap();
            let got = ridge.predict(at).unwrap()[0];
            assert!(
                (got - expected).abs() < 1e-6 || (got.is_nan() && expected.is_nan()),
                "{x:?} {y:?} {penalty}: {got}, expected {expected}"
            );
        };
        let y = || array![[1.0], [2.0], [6.0]];
        // Nothing to learn from but the mean: no feature, constant features (0.1
        // has no exact mean), one row, a penalty beyond all measure.
        check(Array2::zeros((3, 0)), y(), 0.0, &[], 3.0);
        check(
            array![[0.1, 7e9], [0.1, 7e9], [0.1, 7e9]],
            y(),
            0.0,
            &[5.0, 0.0],
            3.0,
        );
        check(array![[4.0]], array![[2.5]], 0.0, &[100.0], 2.5);
        check(array![[1.0], [2.0], [3.0]], y(), 1e300, &[9.0], 3.0);
        // Equal targets, whatever the features.
        check(
            array![[1.0], [2.0], [4.0]],
            array![[0.1], [0.1], [0.1]],
            0.0,
            &[50.0],
            0.1,
        );
        // A repeated feature shares the slope; so do more features than rows.
        check(
            array![[1.0, 1.0], [2.0, 2.0]],
            array![[1.0], [3.0]],
            0.0,
            &[4.0, 4.0],
            7.0,
        );
        check(
            array![[1.0, 2.0, 9.0], [2.0, 4.0, 9.0]],
            array![[1.0], [3.0]],
            0.0,
            &[4.0, 8.0, 9.0],
            7.0,
        );
        // Squares that overflow; numbers too small to divide by count as 0.
        check(
            array![[1e200], [2e200]],
            array![[1.0], [3.0]],
            0.0,
            &[4e200],
            7.0,
        );
        check(
            array![[5e-324], [0.0]],
            array![[1.0], [3.0]],
            0.0,
            &[0.0],
            2.0,
        );
        // No target at all, or one.
        check(array![[1.0], [2.0]], array![[NAN], [NAN]], 1.0, &[1.0], NAN);
        check(array![[1.0], [2.0]], array![[NAN], [3.0]], 0.0, &[9.0], 3.0);
    }

    #[test]
    fn choose_takes_the_penalty_that_validates_best() {
        // y = x: least shrinkage is best, and the other way round where the
        // relation breaks. The second output has no validation target.
        let x = Array2::from_shape_fn((20, 1), |(i, _)| i as f64);
        let y = ndarray::concatenate![Axis(1), x, x];
        let check = |valid: fn(f64) -> f64, expected| {
            let mut y_valid = y.mapv(valid);
            y_valid.column_mut(1).fill(NAN);
            let (ridge, penalty) = Ridge::choose(
                x.view(),
                y.view(),
                x.view(),
                y_valid.view(),
                &[1.0, 100.0, 0.1],
            )
            .unwrap();
            assert_eq!(penalty, expected);
            let fitted = Ridge::fit(x.view(), y.view(), penalty).unwrap();
            assert_eq!(
                ridge.predict(&[30.0]).unwrap(),
                fitted.predict(&[30.0]).unwrap()
            );
        };
        check(|y| y, 0.1);
        check(|y| 19.0 - y, 100.0);

        // Every penalty fits a constant equally well: the largest is taken.
        let flat = Array2::from_elem((20, 1), 3.0);
        let (_, penalty) = Ridge::choose(
            x.view(),
            flat.view(),
            x.view(),
            flat.view(),
            &Ridge::PENALTIES,
        )
        .unwrap();
        assert_eq!(penalty, 1e6);

        let nothing = Array2::from_elem((20, 1), NAN);
        let error = Ridge::choose(x.view(), flat.view(), x.view(), nothing.view(), &[1.0]);
        assert!(
            error
                .unwrap_err()
                .to_string()
                .contains("no target in the validation rows")
        );
    }

    #[test]
    fn errors_name_the_place() {
        let x = array![[1.0], [2.0]];
        let check = |x: &Array2<f64>, y: Array2<f64>, penalty, expected: &str| {
            let error = Ridge::fit(x.view(), y.view(), penalty).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
            assert!(error.is_input());
        };
        check(&x, array![[1.0]], 1.0, "of features, 2, got 1");
        check(
            &Array2::zeros((0, 1)),
            Array2::zeros((0, 1)),
            1.0,
            "at least one row",
        );
        check(
            &array![[1.0], [NAN]],
            array![[1.0], [1.0]],
            1.0,
            "feature 0 of row 1",
        );
        check(&x, array![[1.0], [f64::INFINITY]], 1.0, "target 0 of row 1");
        check(
            &x,
            array![[1.0], [1.0]],
            -1.0,
            "penalty of 0 or more, got -1",
        );
        check(
            &x,
            array![[1.0], [1.0]],
            NAN,
            "penalty of 0 or more, got NaN",
        );
    }
}
