use super::*;
use crate::rng::{Key, Purpose};
use ndarray::{Array3, s};

/// Every loss with every option, and features of prediction and target.
fn losses() -> Vec<(Loss, usize, usize)> {
    let ce = CrossEntropy::default();
    let weights = Some(vec![0.5, 2.0, 0.0, 1.25]);
    vec![
        (Loss::Mse, 4, 4),
        (Loss::L1, 4, 4),
        (Loss::Huber { delta: 0.7 }, 4, 4),
        (Loss::SmoothL1 { beta: 0.7 }, 4, 4),
        (Loss::SmoothL1 { beta: 0.0 }, 4, 4),
        (
            Loss::Quantile {
                levels: vec![0.025, 0.1, 0.5, 0.9],
            },
            4,
            1,
        ),
        (Loss::CrossEntropy(ce.clone()), 4, 1),
        (
            Loss::CrossEntropy(CrossEntropy {
                ignore_index: 2,
                class_weights: weights.clone(),
                label_smoothing: 0.2,
            }),
            4,
            1,
        ),
        (Loss::BceWithLogits { pos_weight: None }, 4, 4),
        (
            Loss::BceWithLogits {
                pos_weight: weights,
            },
            4,
            4,
        ),
        (
            Loss::GaussianNll {
                full: true,
                eps: 1e-6,
            },
            4,
            2,
        ),
    ]
}

struct Batch {
    prediction: Array3<f64>,
    target: Array3<f64>,
    weight: Array3<f64>,
}

const STEPS: usize = 5;
const ROWS: usize = 3;

impl Batch {
    /// Numbers that every loss accepts, with one prediction that hits its
    /// target and some weights of 0.
    fn new(loss: &Loss, features: usize, target_features: usize) -> Self {
        let mut stream = Key::new(11, Purpose::Sampling).stream(0, 0);
        let mut draw = |features, low: f64, high: f64| {
            Array3::from_shape_simple_fn((STEPS, ROWS, features), || {
                low + (high - low) * stream.uniform::<f64>()
            })
        };
        let mut prediction = draw(features, -2.0, 2.0);
        let mut target = draw(target_features, 0.0, 1.0);
        let mut weight = draw(target_features, -0.5, 1.0);
        weight.mapv_inplace(|w| w.max(0.0));
        weight[[1, 1, 0]] = 1.0;
        match loss {
            Loss::CrossEntropy(_) => target.mapv_inplace(|y| (y * 4.0).floor()),
            Loss::GaussianNll { .. } => prediction
                .slice_mut(s![.., .., 2..])
                .mapv_inplace(|v| v.abs() + 0.1),
            _ => prediction[[1, 1, 0]] = target[[1, 1, 0]],
        }
        Self {
            prediction,
            target,
            weight,
        }
    }

    fn evaluate(&self, loss: &Loss, reduction: Reduction) -> (f64, Array3<f64>) {
        let (target, weight) = (self.target.view(), Some(self.weight.view()));
        let divisor = loss.divisor(reduction, target, weight).unwrap();
        let mut gradient = Array3::from_elem(self.prediction.dim(), f64::NAN);
        let prediction = self.prediction.view();
        let value = loss
            .evaluate(prediction, target, weight, divisor, gradient.view_mut())
            .unwrap();
        (value, gradient)
    }
}

#[test]
fn gradients_are_finite_differences() {
    for (loss, features, target_features) in losses() {
        let mut batch = Batch::new(&loss, features, target_features);
        let (_, gradient) = batch.evaluate(&loss, Reduction::Mean);
        let scale = gradient.fold(0.0, |a: f64, b| a.max(b.abs()));
        let (mut worst, mut kinks) = (0.0_f64, 0);
        for (place, slope) in gradient.indexed_iter() {
            let x = batch.prediction[place];
            let h = 1e-5 * x.abs().max(1.0);
            let mut at = |x: f64| {
                batch.prediction[place] = x;
                let (value, gradient) = batch.evaluate(&loss, Reduction::Mean);
                (value, gradient[place])
            };
            let ((high, slope_high), (low, slope_low)) = (at(x + h), at(x - h));
            batch.prediction[place] = x;
            // A smooth slope hardly moves over 2 h.
            if (slope_high - slope_low).abs() > 0.01 * scale {
                kinks += 1;
                continue;
            }
            worst = worst.max(((high - low) / (2.0 * h) - slope).abs());
        }
        let has_kink = match loss {
            Loss::L1 | Loss::Quantile { .. } => true,
            Loss::SmoothL1 { beta } => beta == 0.0,
            _ => false,
        };
        assert_eq!(kinks, usize::from(has_kink), "{loss:?}");
        assert!(worst / scale < 1e-6, "{loss:?}: {:e}", worst / scale);
    }
}

#[test]
fn blocks_of_rows_add_up_to_the_batch() {
    for (loss, features, target_features) in losses() {
        for reduction in [Reduction::Mean, Reduction::Sum] {
            let batch = Batch::new(&loss, features, target_features);
            let (value, gradient) = batch.evaluate(&loss, reduction);
            let weight = Some(batch.weight.view());
            let divisor = loss.divisor(reduction, batch.target.view(), weight);
            let divisor = divisor.unwrap();

            let mut sum = 0.0;
            let mut pieces = Array3::from_elem(gradient.dim(), f64::NAN);
            for rows in [0..2, 2..2, 2..3] {
                let rows = s![.., rows, ..];
                sum += loss
                    .evaluate(
                        batch.prediction.slice(rows),
                        batch.target.slice(rows),
                        weight.as_ref().map(|w| w.slice(rows)),
                        divisor,
                        pieces.slice_mut(rows),
                    )
                    .unwrap();
            }
            assert_eq!(pieces, gradient, "{loss:?}");
            assert!((sum - value).abs() <= 1e-14 * value.abs(), "{loss:?}");
        }
    }
}

/// What weighs nothing may be anything; the order of axes in memory is free.
#[test]
fn weightless_numbers_and_strides_change_no_bit() {
    for (loss, features, target_features) in losses() {
        let mut batch = Batch::new(&loss, features, target_features);
        let (value, gradient) = batch.evaluate(&loss, Reduction::Mean);

        let blank = |t: usize, row: usize, numbers: &mut Array3<f64>| {
            numbers.slice_mut(s![t, row, ..]).fill(f64::NAN);
        };
        for t in 0..STEPS {
            for row in 0..ROWS {
                if batch.weight.slice(s![t, row, ..]).sum() == 0.0 {
                    blank(t, row, &mut batch.prediction);
                    blank(t, row, &mut batch.target);
                }
            }
        }
        let swapped = |mut numbers: Array3<f64>| {
            numbers.swap_axes(0, 1);
            let mut numbers = numbers.as_standard_layout().into_owned();
            numbers.swap_axes(0, 1);
            numbers
        };
        batch.prediction = swapped(batch.prediction);
        batch.target = swapped(batch.target);
        let (again, gradient_again) = batch.evaluate(&loss, Reduction::Mean);
        assert_eq!((again, gradient_again), (value, gradient), "{loss:?}");
    }
}

#[test]
fn where_nothing_counts_all_is_zero() {
    for (loss, features, target_features) in losses() {
        let mut batch = Batch::new(&loss, features, target_features);
        batch.weight.fill(0.0);
        batch.prediction.fill(f64::NAN);
        batch.target.fill(f64::NAN);
        for reduction in [Reduction::Mean, Reduction::Sum] {
            let (value, gradient) = batch.evaluate(&loss, reduction);
            assert_eq!(value, 0.0, "{loss:?}");
            assert!(gradient.iter().all(|d| *d == 0.0), "{loss:?}");
        }
        let (x, y) = (batch.prediction, batch.target);
        let (x, y) = (x.slice(s![.., 0..0, ..]), y.slice(s![.., 0..0, ..]));
        let divisor = loss.divisor(Reduction::Mean, y, None).unwrap();
        let mut gradient = Array3::zeros(x.dim());
        let value = loss.evaluate(x, y, None, divisor, gradient.view_mut());
        assert_eq!(value, Ok(0.0), "{loss:?}");
    }
}

#[test]
fn numbers_that_count_and_are_not_finite_are_seen() {
    for (loss, features, target_features) in losses() {
        let mut batch = Batch::new(&loss, features, target_features);
        batch.prediction[[1, 1, 0]] = f64::NAN;
        let (value, gradient) = batch.evaluate(&loss, Reduction::Mean);
        assert!(value.is_nan(), "{loss:?}");
        assert!(gradient[[1, 1, 0]].is_nan(), "{loss:?}");
    }
}

#[test]
fn illegal_options_are_refused() {
    let ce = CrossEntropy::default();
    let quantile = |levels: &[f64]| Loss::Quantile {
        levels: levels.into(),
    };
    let nll = |eps| Loss::GaussianNll { full: false, eps };
    let smoothing = |label_smoothing| {
        Loss::CrossEntropy(CrossEntropy {
            label_smoothing,
            ..ce.clone()
        })
    };
    let cases = [
        (
            Loss::Huber { delta: 0.0 },
            "delta: expected a number above 0, got 0",
        ),
        (Loss::Huber { delta: f64::NAN }, "got NaN"),
        (
            Loss::SmoothL1 { beta: -1.0 },
            "beta: expected a number of at least 0, got -1",
        ),
        (
            Loss::SmoothL1 {
                beta: f64::INFINITY,
            },
            "got inf",
        ),
        (quantile(&[]), "levels: expected at least one, got none"),
        (
            quantile(&[0.5, 1.0]),
            "levels: expected numbers between 0 and 1, got 1",
        ),
        (quantile(&[f64::NAN]), "got NaN"),
        (nll(0.0), "eps: expected a number above 0, got 0"),
        (
            smoothing(1.1),
            "label_smoothing: expected a number from 0 to 1, got 1.1",
        ),
        (smoothing(f64::NAN), "got NaN"),
        (
            Loss::CrossEntropy(CrossEntropy {
                class_weights: Some(vec![1.0, -1.0]),
                ..ce.clone()
            }),
            "class_weights: expected finite numbers of at least 0, got -1",
        ),
        (
            Loss::BceWithLogits {
                pos_weight: Some(vec![f64::NAN]),
            },
            "pos_weight: expected finite numbers of at least 0, got NaN",
        ),
    ];
    for (loss, message) in cases {
        let error = loss.validate().unwrap_err();
        assert!(
            error.is_option() && error.to_string().contains(message),
            "{error}"
        );
        let y = Array3::<f32>::zeros((1, 1, 1));
        assert!(loss.divisor(Reduction::Sum, y.view(), None).is_err());
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    struct Case {
        loss: Loss,
        prediction: Shape,
        target: Shape,
        weight: Shape,
        d_prediction: Shape,
        fill: f64,
        divisor: f64,
        message: &'static str,
    }
    let good = || Case {
        loss: Loss::Mse,
        prediction: (2, 3, 4),
        target: (2, 3, 4),
        weight: (2, 3, 1),
        d_prediction: (2, 3, 4),
        fill: 0.0,
        divisor: 1.0,
        message: "",
    };
    let ce = CrossEntropy::default();
    let cases = [
        Case {
            target: (2, 4, 4),
            message: "target: expected shape (2, 3, 4) = (steps, batch, features), got (2, 4, 4)",
            ..good()
        },
        Case {
            d_prediction: (2, 3, 1),
            message: "d_prediction: expected shape (2, 3, 4)",
            ..good()
        },
        Case {
            weight: (1, 3, 1),
            message: "weight: expected shape (2, 3, 1) or (2, 3, 4), got (1, 3, 1)",
            ..good()
        },
        Case {
            weight: (2, 3, 2),
            message: "weight: expected shape",
            ..good()
        },
        Case {
            divisor: -1.0,
            message: "divisor: expected a finite number of at least 0, got -1",
            ..good()
        },
        Case {
            divisor: f64::NAN,
            message: "divisor: expected",
            ..good()
        },
        Case {
            loss: Loss::Quantile { levels: vec![0.5] },
            message: "prediction: expected 1 features = levels, got 4 features",
            ..good()
        },
        Case {
            loss: Loss::Quantile {
                levels: vec![0.1, 0.2, 0.3, 0.4],
            },
            message: "target: expected shape (2, 3, 1)",
            ..good()
        },
        Case {
            loss: Loss::BceWithLogits {
                pos_weight: Some(vec![1.0]),
            },
            message: "prediction: expected 1 features = pos_weight",
            ..good()
        },
        Case {
            loss: Loss::CrossEntropy(CrossEntropy {
                class_weights: Some(vec![1.0; 3]),
                ..ce.clone()
            }),
            message: "prediction: expected 3 features = classes",
            ..good()
        },
        Case {
            loss: Loss::CrossEntropy(ce.clone()),
            target: (2, 3, 1),
            fill: 4.0,
            message: "step 0, row 0: target: expected a class below 4 or ignore_index = -100, got 4",
            ..good()
        },
        Case {
            loss: Loss::CrossEntropy(ce.clone()),
            target: (2, 3, 1),
            fill: 1.5,
            message: "got 1.5",
            ..good()
        },
        Case {
            loss: Loss::CrossEntropy(ce),
            target: (2, 3, 1),
            fill: f64::NAN,
            message: "got NaN",
            ..good()
        },
        Case {
            loss: Loss::GaussianNll {
                full: false,
                eps: 1e-6,
            },
            prediction: (2, 3, 3),
            message: "prediction: expected a variance for each mean, got 3 features",
            ..good()
        },
        Case {
            loss: Loss::GaussianNll {
                full: false,
                eps: 1e-6,
            },
            target: (2, 3, 2),
            fill: -1.0,
            message: "step 0, row 0: prediction[2]: expected a variance of at least 0, got -1",
            ..good()
        },
    ];
    for case in cases {
        let filled = |shape: Shape| Array3::from_elem(shape, case.fill);
        let error = case
            .loss
            .evaluate(
                filled(case.prediction).view(),
                filled(case.target).view(),
                Some(Array3::ones(case.weight).view()),
                case.divisor,
                filled(case.d_prediction).view_mut(),
            )
            .unwrap_err();
        assert!(error.to_string().contains(case.message), "{error}");
    }
}

#[test]
fn illegal_weights_are_refused() {
    let y = Array3::<f64>::zeros((2, 1, 1));
    for bad in [-1.0, f64::NAN, f64::INFINITY] {
        let mut weight = Array3::ones((2, 1, 1));
        weight[[1, 0, 0]] = bad;
        let error = Loss::Mse
            .divisor(Reduction::Mean, y.view(), Some(weight.view()))
            .unwrap_err();
        assert!(
            error
                .to_string()
                .contains("weight: expected finite numbers"),
            "{error}"
        );
    }
    let ce = Loss::CrossEntropy(CrossEntropy {
        class_weights: Some(vec![1.0; 2]),
        ..CrossEntropy::default()
    });
    let y = Array3::from_elem((1, 1, 1), 2.0);
    assert!(ce.divisor(Reduction::Mean, y.view(), None).is_err());
}

#[test]
fn names_in_json() {
    let names = [
        "\"mse\"",
        "\"l1\"",
        "{\"huber\"",
        "{\"smooth_l1\"",
        "{\"smooth_l1\"",
        "{\"quantile\"",
        "{\"cross_entropy\"",
        "{\"cross_entropy\"",
        "{\"bce_with_logits\"",
        "{\"bce_with_logits\"",
        "{\"gaussian_nll\"",
    ];
    for ((loss, ..), name) in losses().into_iter().zip(names) {
        let json = serde_json::to_string(&loss).unwrap();
        assert!(json.starts_with(name), "{json}");
        assert_eq!(serde_json::from_str::<Loss>(&json).unwrap(), loss);
    }
    for unknown in [
        r#"{"huber": {"delta": 1, "beta": 1}}"#,
        r#"{"cross_entropy": {"smoothing": 0.1}}"#,
        r#""hubert""#,
    ] {
        assert!(serde_json::from_str::<Loss>(unknown).is_err());
    }
}
