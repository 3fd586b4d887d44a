//! The generator, the losses, the optimisers, the schedules and clipping
//! against PyTorch. The numbers come from `fixtures/torch/optim.py`.

use elman::Float;
use elman::loss::{Loss, Reduction};
use elman::ndarray::Array3;
use elman::optim::{Optimizer, Schedule, clip_grad_norm, clip_grad_value};
use elman::rng::TorchRng;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// All cases of the file, by name.
struct Fixture {
    bytes: Vec<u8>,
    cases: BTreeMap<String, Value>,
}

/// One case: its options and its tensors.
struct Case<'a> {
    name: &'a str,
    options: &'a Value,
    tensors: SafeTensors<'a>,
}

impl Fixture {
    fn read() -> Self {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/torch/optim.safetensors");
        let bytes = std::fs::read(path).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let cases = serde_json::from_str(&header.metadata().as_ref().unwrap()["cases"]).unwrap();
        Self { bytes, cases }
    }

    /// Runs `check` over the cases of a kind, of which there are `count`.
    fn each(&self, kind: &str, count: usize, check: impl Fn(&Case)) {
        let cases = self.cases.iter().filter(|(name, _)| name.starts_with(kind));
        let mut seen = 0;
        for (name, options) in cases {
            let tensors = SafeTensors::deserialize(&self.bytes).unwrap();
            check(&Case {
                name,
                options,
                tensors,
            });
            seen += 1;
        }
        assert_eq!(seen, count, "{kind}");
    }
}

impl Case<'_> {
    fn options<T: DeserializeOwned>(&self) -> T {
        T::deserialize(self.options).unwrap_or_else(|e| panic!("{}: {e}", self.name))
    }

    fn has(&self, key: &str) -> bool {
        self.tensors.tensor(&format!("{}/{key}", self.name)).is_ok()
    }

    fn shaped<F: Float>(&self, key: &str) -> (Vec<usize>, Vec<F>) {
        let tensor = self
            .tensors
            .tensor(&format!("{}/{key}", self.name))
            .unwrap();
        let data = tensor.data();
        let numbers = match tensor.dtype() {
            Dtype::F32 => data
                .chunks(4)
                .map(|b| F::lit(f32::from_le(b).f64()))
                .collect(),
            Dtype::F64 => data.chunks(8).map(|b| F::lit(f64::from_le(b))).collect(),
            other => panic!("{other:?}"),
        };
        (tensor.shape().to_vec(), numbers)
    }

    fn vec<F: Float>(&self, key: &str) -> Vec<F> {
        self.shaped(key).1
    }

    fn array<F: Float>(&self, key: &str) -> Array3<F> {
        let (shape, numbers) = self.shaped(key);
        Array3::from_shape_vec((shape[0], shape[1], shape[2]), numbers).unwrap()
    }

    fn near<F: Float>(&self, what: &str, got: &[F], expected: &[F], bar: f64) {
        assert_eq!(got.len(), expected.len());
        let max = |numbers: &mut dyn Iterator<Item = f64>| {
            // `f64::max` would lose a NaN.
            numbers.fold(0.0, |a: f64, b| if b > a || b.is_nan() { b } else { a })
        };
        let pairs = got.iter().zip(expected);
        let worst = max(&mut pairs.map(|(a, b)| (a.f64() - b.f64()).abs()));
        let scale = max(&mut expected.iter().map(|b| b.f64().abs()));
        let scale = if scale == 0.0 { 1.0 } else { scale };
        let error = worst / scale;
        assert!(error <= bar, "{} {what}, {}: {error:e}", self.name, F::NAME);
    }
}

#[test]
fn generator_draws_pytorchs_bits() {
    #[derive(Deserialize)]
    struct Options {
        seed: String,
        a: f64,
        b: f64,
    }
    fn check<F: Float>(case: &Case, key: &str) {
        let Options { seed, a, b } = case.options();
        let mut rng = TorchRng::new(seed.parse().unwrap());
        let expected = case.vec::<F>(key);
        let got: Vec<F> = expected.iter().map(|_| rng.uniform(a, b)).collect();
        assert_eq!(got, expected, "{}", case.name);
    }
    Fixture::read().each("uniform/", 6, |case| {
        check::<f32>(case, "f32");
        check::<f64>(case, "f64");
    });
}

#[test]
fn losses_and_gradients() {
    #[derive(Deserialize)]
    struct Options {
        loss: Loss,
        reduction: Reduction,
    }
    fn check<F: Float>(case: &Case, bar: f64) {
        let Options { loss, reduction } = case.options();
        let prediction = case.array::<F>("prediction");
        let target = case.array::<F>("target");
        let weight = case.has("weight").then(|| case.array::<F>("weight"));
        let weight = weight.as_ref().map(|w| w.view());
        let mut gradient = Array3::from_elem(prediction.dim(), F::nan());
        let divisor = loss.divisor(reduction, target.view(), weight).unwrap();
        let value = loss
            .evaluate(
                prediction.view(),
                target.view(),
                weight,
                divisor,
                gradient.view_mut(),
            )
            .unwrap();
        case.near("value", &[value], &case.vec("value"), bar);
        let gradient: Vec<F> = gradient.into_iter().collect();
        case.near("gradient", &gradient, &case.vec("gradient"), bar);
    }
    Fixture::read().each("loss/", 102, |case| {
        check::<f64>(case, 1e-12);
        check::<f32>(case, 1e-5);
    });
}

#[test]
fn schedules() {
    #[derive(Deserialize)]
    struct Options {
        schedule: Schedule,
        lr: f64,
    }
    Fixture::read().each("schedule/", 7, |case| {
        let Options { schedule, lr: lr0 } = case.options();
        let mut scheduler = schedule.start(lr0).unwrap();
        let rates = case.vec::<f64>("metric").into_iter().map(|metric| {
            let lr = scheduler.lr();
            scheduler.step();
            scheduler.observe(metric);
            // A checkpoint changes nothing.
            let position = serde_json::to_string(&scheduler.position()).unwrap();
            scheduler = schedule.start(lr0).unwrap();
            scheduler.restore(serde_json::from_str(&position).unwrap());
            lr
        });
        case.near(
            "rates",
            &rates.collect::<Vec<_>>(),
            &case.vec("rates"),
            1e-12,
        );
    });
}

#[test]
fn clipping() {
    let fixture = Fixture::read();
    fixture.each("clip_norm/", 4, |case| {
        let mut grads = case.vec::<f64>("grads");
        let norm = clip_grad_norm(&mut grads, case.vec("bound")[0]).unwrap();
        case.near("norm", &[norm], &case.vec("norm"), 1e-12);
        case.near("clipped", &grads, &case.vec("clipped"), 1e-12);
    });
    fixture.each("clip_value", 1, |case| {
        let mut grads = case.vec::<f64>("grads");
        clip_grad_value(&mut grads, case.vec("bound")[0]).unwrap();
        case.near("clipped", &grads, &case.vec("clipped"), 0.0);
    });
}

/// The problem of the optimisers: with 0 after the last w,
/// g_i = c_i (w_i - (step mod 7 - 3) t_i) + w_i^3 / 10 + 3/10 (w_i - w_(i+1)).
struct Springs<F> {
    start: Vec<F>,
    stiffness: Vec<F>,
    rest: Vec<F>,
}

impl<F: Float> Springs<F> {
    fn read(fixture: &Fixture) -> Self {
        let case = Case {
            name: "springs",
            options: &Value::Null,
            tensors: SafeTensors::deserialize(&fixture.bytes).unwrap(),
        };
        Self {
            start: case.vec("start"),
            stiffness: case.vec("stiffness"),
            rest: case.vec("rest"),
        }
    }

    fn gradient(&self, w: &[F], step: u32) -> Vec<F> {
        let shake = F::lit(f64::from(step % 7) - 3.0);
        let next = w.iter().skip(1).copied().chain([F::zero()]);
        let springs = self.stiffness.iter().zip(&self.rest);
        w.iter()
            .zip(next)
            .zip(springs)
            .map(|((w, next), (c, t))| {
                *c * (*w - *t * shake)
                    + *w * *w * *w / F::lit(10.0)
                    + (*w - next) * F::lit(3.0) / F::lit(10.0)
            })
            .collect()
    }
}

#[test]
fn optimizers_for_a_hundred_steps() {
    #[derive(Deserialize)]
    struct Options {
        optimizer: Optimizer,
        schedule: Schedule,
        lr: f64,
        max_norm: Option<f64>,
    }
    fn check<F: Float>(fixture: &Fixture, case: &Case, prefix: &str, bar: f64) {
        let options: Options = case.options();
        let springs = Springs::<F>::read(fixture);
        let mut w = springs.start.clone();
        let mut optimizer = options.optimizer.start::<F>(w.len()).unwrap();
        let mut scheduler = options.schedule.start(options.lr).unwrap();
        for step in 1..=100 {
            let mut grads = springs.gradient(&w, step);
            if let Some(max_norm) = options.max_norm {
                clip_grad_norm(&mut grads, max_norm).unwrap();
            }
            optimizer.step(&mut w, &grads, scheduler.lr()).unwrap();
            scheduler.step();
            let key = format!("{prefix}-{step}");
            if case.has(&key) {
                case.near(&key, &w, &case.vec(&key), bar);
            }
        }
        assert_eq!(optimizer.steps(), 100);
        for (name, buffer) in optimizer.buffers() {
            let key = format!("{prefix}-{name}");
            case.near(&key, buffer, &case.vec(&key), bar);
        }
    }
    let fixture = Fixture::read();
    fixture.each("optimizer/", 13, |case| {
        check::<f64>(&fixture, case, "f64", 1e-9);
        check::<f32>(&fixture, case, "f32", 1e-5);
    });
}
