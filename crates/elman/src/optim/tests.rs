use super::*;
use proptest::prelude::*;

/// Every optimiser with all of its buffers.
fn optimizers() -> Vec<(Optimizer, &'static [&'static str])> {
    let momentum = Sgd {
        momentum: 0.9,
        ..Sgd::default()
    };
    let all = RmsProp {
        momentum: 0.5,
        centered: true,
        ..RmsProp::default()
    };
    vec![
        (Optimizer::Sgd(Sgd::default()), &[]),
        (Optimizer::Sgd(momentum), &["momentum_buffer"]),
        (Optimizer::Adam(Adam::default()), &["exp_avg", "exp_avg_sq"]),
        (
            Optimizer::AdamW(AdamW::default()),
            &["exp_avg", "exp_avg_sq"],
        ),
        (Optimizer::RmsProp(RmsProp::default()), &["square_avg"]),
        (
            Optimizer::RmsProp(all),
            &["square_avg", "momentum_buffer", "grad_avg"],
        ),
    ]
}

#[test]
fn a_restored_optimizer_goes_on_bit_for_bit() {
    for (optimizer, names) in optimizers() {
        let mut params = [1.0_f32, -2.0, 0.5];
        let mut state = optimizer.start(3).unwrap();
        let advance = |state: &mut OptimizerState<f32>, params: &mut [f32; 3]| {
            let grads = params.map(|w| w * w * w - 1.0);
            state.step(params, &grads, 0.03).unwrap();
        };
        (0..5).for_each(|_| advance(&mut state, &mut params));

        let kept: Vec<_> = state.buffers().collect();
        assert_eq!(
            kept.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
            names
        );
        let find = |name: &str| kept.iter().find(|(n, _)| *n == name).map(|(_, b)| *b);
        let mut restored = optimizer.start(3).unwrap();
        restored.restore(state.steps(), find).unwrap();
        assert_eq!(restored, state);

        let mut other = params;
        (0..5).for_each(|_| advance(&mut state, &mut params));
        (0..5).for_each(|_| advance(&mut restored, &mut other));
        assert_eq!((params, state), (other, restored));
    }
}

/// Lengths around those of the parts, which may be taken in any order.
#[test]
fn a_step_in_parts_is_the_step() {
    for (optimizer, _) in optimizers() {
        for len in [0, 1, 4096, 4097, 70_001] {
            let number = |i: usize| ((i * 37) % 101) as f32 / 50.0 - 1.0;
            let mut params: Vec<f32> = (0..len).map(number).collect();
            let (mut whole, mut other) = (optimizer.start(len).unwrap(), params.clone());
            let mut in_parts = whole.clone();
            for round in 1..4 {
                let grads: Vec<f32> = (0..len).map(|i| number(i + round)).collect();
                let scaled: Vec<f32> = grads.iter().map(|g| 0.3 * g).collect();
                whole.step(&mut params, &scaled, 0.01).unwrap();
                let mut grads = grads;
                let parts = in_parts.step_in_parts(&mut other, &mut grads, 0.01);
                let (step, mut parts) = parts.unwrap();
                for part in parts.iter_mut().rev() {
                    step.take_part(part, Some(0.3));
                }
            }
            assert_eq!(other, params);
            assert_eq!(in_parts, whole);
        }
    }
}

#[test]
fn a_norm_is_that_of_all_parts() {
    for len in [1, 4097, 70_001] {
        let number = |i: usize| ((i * 37) % 101) as f64 / 50.0 - 1.0;
        let mut grads: Vec<f64> = (0..len).map(number).collect();
        let expected = grads.iter().map(|g| g * g).sum::<f64>().sqrt();
        let norm = clip_grad_norm(&mut grads, 0.5).unwrap();
        assert!((norm / expected - 1.0).abs() < 1e-12, "{norm} {expected}");
        let clipped = clip_grad_norm(&mut grads, f64::INFINITY).unwrap();
        assert!((clipped - norm.min(0.5)).abs() < 1e-5, "{clipped}");
    }
}

#[test]
fn what_does_not_fit_changes_nothing() {
    for (optimizer, names) in optimizers() {
        let mut state = optimizer.start::<f64>(2).unwrap();
        state.step(&mut [1.0, 2.0], &[0.5, 0.5], 0.1).unwrap();
        let before = state.clone();
        let mut params = [1.0, 2.0, 3.0];

        let error = state.step(&mut params, &[0.0; 2], 0.1).unwrap_err();
        assert_eq!(error.to_string(), "params: expected 2 numbers, got 3");
        let error = state.step(&mut params[..2], &[0.0; 3], 0.1).unwrap_err();
        assert_eq!(error.to_string(), "grads: expected 2 numbers, got 3");
        for lr in [-1.0, f64::NAN, f64::INFINITY] {
            let error = state.step(&mut params[..2], &[1.0; 2], lr).unwrap_err();
            assert!(error.to_string().starts_with("lr: expected"), "{error}");
        }
        if let Some(last) = names.last() {
            let buffer = [0.0; 3];
            let error = state.restore(9, |_| None).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("{}: expected 2 numbers, got none", names[0])
            );
            let lookup = |name: &str| Some(&buffer[..if name == *last { 3 } else { 2 }]);
            let error = state.restore(9, lookup).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("{last}: expected 2 numbers, got 3")
            );
        }
        assert_eq!(state, before);
        assert_eq!(params, [1.0, 2.0, 3.0]);
    }
}

#[test]
fn illegal_options_are_refused() {
    let sgd = |momentum, dampening, nesterov, weight_decay| {
        Optimizer::Sgd(Sgd {
            momentum,
            dampening,
            nesterov,
            weight_decay,
        })
    };
    let adam = |betas, eps, weight_decay| {
        Optimizer::Adam(Adam {
            betas,
            eps,
            weight_decay,
        })
    };
    let adamw = |betas, eps, weight_decay| {
        Optimizer::AdamW(AdamW {
            betas,
            eps,
            weight_decay,
        })
    };
    let rmsprop = |alpha, eps, momentum| {
        Optimizer::RmsProp(RmsProp {
            alpha,
            eps,
            momentum,
            ..RmsProp::default()
        })
    };
    let nan = f64::NAN;
    let cases = [
        (sgd(-0.1, 0.0, false, 0.0), "momentum"),
        (sgd(nan, 0.0, false, 0.0), "momentum"),
        (sgd(0.9, nan, false, 0.0), "dampening"),
        (sgd(0.9, 0.0, false, -1.0), "weight_decay"),
        (sgd(0.0, 0.0, true, 0.0), "nesterov"),
        (sgd(0.9, 0.1, true, 0.0), "nesterov"),
        (adam((1.0, 0.9), 0.0, 0.0), "betas[0]"),
        (adam((0.9, -0.1), 0.0, 0.0), "betas[1]"),
        (adam((0.9, nan), 0.0, 0.0), "betas[1]"),
        (adam((0.9, 0.9), -1e-8, 0.0), "eps"),
        (adam((0.9, 0.9), 0.0, nan), "weight_decay"),
        (adamw((nan, 0.9), 0.0, 0.0), "betas[0]"),
        (adamw((0.9, 0.9), nan, 0.0), "eps"),
        (adamw((0.9, 0.9), 0.0, f64::INFINITY), "weight_decay"),
        (rmsprop(1.1, 0.0, 0.0), "alpha"),
        (rmsprop(0.9, nan, 0.0), "eps"),
        (rmsprop(0.9, 0.0, -1.0), "momentum"),
    ];
    for (optimizer, name) in cases {
        let error = optimizer.start::<f32>(1).unwrap_err();
        assert!(error.is_option(), "{error}");
        assert!(
            error.to_string().starts_with(&format!("{name}: expected")),
            "{error}"
        );
    }

    let cosine = Cosine::new(10);
    let plateau = Plateau::default();
    let step = |step_size, gamma| Schedule::StepLr(StepLr { step_size, gamma });
    let cases = [
        (step(0, 0.1), "step_size"),
        (step(1, nan), "gamma"),
        (Schedule::Cosine(Cosine::new(0)), "t_max"),
        (
            Schedule::Cosine(Cosine {
                eta_min: -1.0,
                ..cosine
            }),
            "eta_min",
        ),
        (
            Schedule::Cosine(Cosine {
                start_factor: 0.0,
                ..cosine
            }),
            "start_factor",
        ),
        (
            Schedule::Plateau(Plateau {
                factor: 1.0,
                ..plateau
            }),
            "factor",
        ),
        (
            Schedule::Plateau(Plateau {
                threshold: nan,
                ..plateau
            }),
            "threshold",
        ),
        (
            Schedule::Plateau(Plateau {
                min_lr: -1.0,
                ..plateau
            }),
            "min_lr",
        ),
        (
            Schedule::Plateau(Plateau {
                eps: nan,
                ..plateau
            }),
            "eps",
        ),
    ];
    for (schedule, name) in cases {
        let error = schedule.start(0.1).unwrap_err();
        assert!(
            error.to_string().starts_with(&format!("{name}: expected")),
            "{error}"
        );
    }
    assert!(Schedule::Constant.start(nan).is_err());

    for bound in [-1.0, nan] {
        assert!(clip_grad_norm(&mut [1.0], bound).is_err());
        assert!(clip_grad_value(&mut [1.0], bound).is_err());
    }
}

#[test]
fn names_in_json() {
    fn check<T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug>(
        x: &T,
        short: &str,
    ) {
        assert_eq!(serde_json::from_str::<T>(short).unwrap(), *x);
        let json = serde_json::to_string(x).unwrap();
        assert_eq!(serde_json::from_str::<T>(&json).unwrap(), *x, "{json}");
    }
    check(&Optimizer::Sgd(Sgd::default()), r#"{"sgd": {}}"#);
    check(&Optimizer::Adam(Adam::default()), r#"{"adam": {}}"#);
    check(&Optimizer::AdamW(AdamW::default()), r#"{"adamw": {}}"#);
    check(
        &Optimizer::RmsProp(RmsProp::default()),
        r#"{"rmsprop": {}}"#,
    );
    check(&Schedule::Constant, r#""constant""#);
    check(
        &Schedule::Cosine(Cosine::new(7)),
        r#"{"cosine": {"t_max": 7}}"#,
    );
    check(&Schedule::Plateau(Plateau::default()), r#"{"plateau": {}}"#);
    check(
        &Schedule::StepLr(StepLr {
            step_size: 3,
            gamma: 0.5,
        }),
        r#"{"step_lr": {"step_size": 3, "gamma": 0.5}}"#,
    );
    for unknown in [r#"{"sgd": {"lr": 0.1}}"#, r#"{"adam": {"amsgrad": true}}"#] {
        assert!(serde_json::from_str::<Optimizer>(unknown).is_err());
    }
}

#[test]
fn a_gradient_that_is_not_finite_is_reported_and_left() {
    for bad in [f64::NAN, f64::INFINITY] {
        let mut grads = [3.0, bad, -4.0];
        let norm = clip_grad_norm(&mut grads, 1.0).unwrap();
        assert!(!norm.is_finite());
        assert_eq!((grads[0], grads[2]), (3.0, -4.0));
    }
    let mut grads = [f32::NAN, f32::NEG_INFINITY];
    clip_grad_value(&mut grads, 0.5).unwrap();
    assert!(grads[0].is_nan() && grads[1] == -0.5);
}

proptest! {
    #[test]
    fn clipping_keeps_direction_and_bound(
        grads in prop::collection::vec(-1e30_f32..1e30, 0..40),
        max_norm in 0.0..1e3,
    ) {
        let mut clipped = grads.clone();
        let norm = clip_grad_norm(&mut clipped, max_norm).unwrap();
        let after = clip_grad_norm(&mut clipped.clone(), f64::INFINITY).unwrap();
        prop_assert!(after <= max_norm * (1.0 + 1e-6) + 1e-30);
        let scale = (max_norm / (norm + 1e-6)).min(1.0);
        for (a, b) in clipped.iter().zip(&grads) {
            let expected = f64::from(*b) * scale;
            prop_assert!((f64::from(*a) - expected).abs() <= 1e-6 * expected.abs() + 1e-40);
        }
    }
}

/// A checkpoint may hold any numbers.
#[test]
fn far_positions_do_not_overflow() {
    let step = StepLr {
        step_size: 1,
        gamma: 0.5,
    };
    for schedule in [
        Schedule::Constant,
        Schedule::StepLr(step),
        Schedule::Cosine(Cosine::new(1)),
        Schedule::Plateau(Plateau::default()),
    ] {
        let far = format!(
            r#"{{"t": {0}, "plateau_lr": 0.1, "best": -1e308, "num_bad": {0}, "cooldown": 0}}"#,
            u64::MAX
        );
        let mut scheduler = schedule.start(0.1).unwrap();
        scheduler.restore(serde_json::from_str(&far).unwrap());
        scheduler.step();
        scheduler.observe(0.0);
        assert!((0.0..=0.1).contains(&scheduler.lr()), "{schedule:?}");
    }
    let mut state = Optimizer::Adam(Adam::default()).start::<f64>(1).unwrap();
    state.restore(u64::MAX, |_| Some(&[1.0])).unwrap();
    let mut params = [1.0];
    state.step(&mut params, &[0.0], 0.1).unwrap();
    assert!(params[0].is_finite());
}
