//! What the tests share: PyTorch's numbers, read from `fixtures/torch`, the
//! measure of every comparison, and finite differences.

#![allow(dead_code)] // every test file uses its own part

pub mod leaky;
pub mod problem;
pub mod variants;

use elman::Float;
use elman::ndarray::{ArrayD, ArrayView, ArrayView1, Dimension, IxDyn};
use elman::rng::TorchRng;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// One file of fixtures.
pub struct Fixtures {
    bytes: Vec<u8>,
    cases: BTreeMap<String, Value>,
}

/// One case of a file.
pub struct Case<'a> {
    pub name: &'a str,
    pub options: &'a Value,
    tensors: SafeTensors<'a>,
}

impl Fixtures {
    pub fn open(file: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/torch");
        let bytes = std::fs::read(path.join(file)).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let metadata = header.metadata().as_ref().unwrap();
        let cases = serde_json::from_str(&metadata["cases"]).unwrap();
        Self { bytes, cases }
    }

    pub fn cases(&self) -> impl Iterator<Item = Case<'_>> {
        self.cases.iter().map(|(name, options)| Case {
            name,
            options,
            tensors: SafeTensors::deserialize(&self.bytes).unwrap(),
        })
    }
}

impl Case<'_> {
    pub fn get<F: Float>(&self, name: &str) -> Option<ArrayD<F>> {
        let view = self.tensors.tensor(&format!("{}/{name}", self.name)).ok()?;
        assert_eq!(
            view.data().len(),
            view.shape().iter().product::<usize>() * F::BYTES
        );
        let values = view.data().chunks_exact(F::BYTES).map(F::from_le).collect();
        Some(ArrayD::from_shape_vec(IxDyn(view.shape()), values).unwrap())
    }

    /// A tensor as the file has it.
    pub fn view(&self, name: &str) -> TensorView<'_> {
        self.tensors
            .tensor(&format!("{}/{name}", self.name))
            .unwrap()
    }

    pub fn need<F: Float>(&self, name: &str) -> ArrayD<F> {
        self.get(name)
            .unwrap_or_else(|| panic!("{}: no {name}", self.name))
    }

    pub fn lengths(&self) -> Option<Vec<usize>> {
        let view = self
            .tensors
            .tensor(&format!("{}/lengths", self.name))
            .ok()?;
        let numbers = view.data().chunks_exact(8);
        Some(
            numbers
                .map(|b| i64::from_le_bytes(b.try_into().unwrap()) as usize)
                .collect(),
        )
    }

    /// Names of the case's tensors that begin with `prefix`, without it.
    pub fn names(&self, prefix: &str) -> Vec<String> {
        let start = format!("{}/{prefix}", self.name);
        let names = self.tensors.names();
        names
            .iter()
            .filter_map(|n| n.strip_prefix(&start).map(str::to_owned))
            .collect()
    }
}

/// The measure of every comparison: max|a - b| / max|b|, or max|a - b| where b
/// is zero.
pub fn error<F: Float, D: Dimension>(a: ArrayView<'_, F, D>, b: ArrayView<'_, F, D>) -> f64 {
    assert_eq!(a.shape(), b.shape());
    let (mut worst, mut scale) = (0.0_f64, 0.0_f64);
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (a.f64(), b.f64());
        assert!(!a.is_nan(), "a NaN");
        worst = worst.max((a - b).abs());
        scale = scale.max(b.abs());
    }
    if scale > 0.0 { worst / scale } else { worst }
}

/// [`error`] of two slices.
pub fn slice_error<F: Float>(a: &[F], b: &[F]) -> f64 {
    error(ArrayView1::from(a), ArrayView1::from(b))
}

/// Numbers from U(-1, 1).
pub fn numbers<F: Float>(seed: u64, n: usize) -> Vec<F> {
    let mut rng = TorchRng::new(seed);
    (0..n).map(|_| rng.uniform(-1.0, 1.0)).collect()
}

/// What finite differences say about a gradient.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    /// max|gradient - difference| / max|difference|.
    pub error: f64,
    /// Values left out: `f` has a kink beside them.
    pub kinks: usize,
}

/// Compares the gradient of `f` at `values` with central differences, steps of
/// 1e-5 max(1, |w|). The values come back as they were.
///
/// A kink is where a smaller step gives another difference, so that neither is
/// a derivative; that is asked of `f` alone, and only where the gradient is
/// not the difference.
pub fn gradcheck(values: &mut [f64], mut f: impl FnMut(&[f64]) -> f64, gradient: &[f64]) -> Found {
    assert_eq!(values.len(), gradient.len());
    let mut difference = |values: &mut [f64], i: usize, step: f64| {
        let w = values[i];
        let (above, below) = (w + step, w - step);
        values[i] = above;
        let up = f(values);
        values[i] = below;
        let down = f(values);
        values[i] = w;
        (up - down) / (above - below)
    };
    let step = |w: f64| 1e-5 * w.abs().max(1.0);
    let mut differences: Vec<_> = (0..values.len())
        .map(|i| difference(values, i, step(values[i])))
        .collect();
    let scale = differences.iter().fold(0.0_f64, |m, d| m.max(d.abs()));
    let mut kinks = 0;
    for i in 0..values.len() {
        if (differences[i] - gradient[i]).abs() > 1e-6 * scale {
            let closer = difference(values, i, step(values[i]) / 8.0);
            if (closer - differences[i]).abs() > 1e-6 * scale {
                differences[i] = gradient[i];
                kinks += 1;
            }
        }
    }
    Found {
        error: slice_error(gradient, &differences),
        kinks,
    }
}
