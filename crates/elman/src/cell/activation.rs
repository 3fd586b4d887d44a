//! Activations whose derivative is known from their value, so that a step need
//! not save what went in.

use crate::float::{Apart, Scalar};
use crate::{Error, Float, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// An activation with PyTorch's definition and default constants; the names are
/// those of Keras where the two differ.
///
/// ```
/// use elman::cell::Activation;
/// let relu: Activation = "relu".parse()?;
/// assert_eq!((relu.value(-2.0), relu.value(3.0)), (0.0, 3.0));
/// assert_eq!((relu.slope(0.0), relu.slope(3.0)), (0.0, 1.0));
/// # Ok::<(), elman::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// The hyperbolic tangent.
    Tanh,
    /// `max(x, 0)`.
    Relu,
    /// `x` above 0, `0.01 x` below.
    LeakyRelu,
    /// `x` above 0, `exp(x) - 1` below.
    Elu,
    /// `min(max(x + 3, 0), 6) / 6`.
    HardSigmoid,
    /// `min(max(x, -1), 1)`.
    HardTanh,
    /// `x / (1 + |x|)`.
    Softsign,
    /// `log(1 + exp(x))`, also above 20, where PyTorch takes `x`.
    Softplus,
    /// `x`.
    Identity,
}

/// The slope of the leaky ReLU below 0.
const LEAK: f64 = 0.01;

impl Activation {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Sigmoid,
        Self::Tanh,
        Self::Relu,
        Self::LeakyRelu,
        Self::Elu,
        Self::HardSigmoid,
        Self::HardTanh,
        Self::Softsign,
        Self::Softplus,
        Self::Identity,
    ];

    /// The name as it is written in files: `leaky_relu`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sigmoid => "sigmoid",
            Self::Tanh => "tanh",
            Self::Relu => "relu",
            Self::LeakyRelu => "leaky_relu",
            Self::Elu => "elu",
            Self::HardSigmoid => "hard_sigmoid",
            Self::HardTanh => "hard_tanh",
            Self::Softsign => "softsign",
            Self::Softplus => "softplus",
            Self::Identity => "identity",
        }
    }

    /// `y = f(x)`. A NaN stays a NaN.
    #[inline(always)]
    pub fn value<S: Scalar>(self, x: S) -> S {
        let mut y = x;
        S::apart(Value(self, &mut y));
        y
    }

    /// `f'(x)` from `y = f(x)`; at a kink the one that PyTorch takes.
    #[inline(always)]
    pub fn slope<S: Scalar>(self, y: S) -> S {
        let mut slope = y;
        S::apart(Slope(self, &mut slope));
        slope
    }

    #[inline(always)]
    fn value_here<S: Scalar>(self, x: S) -> S {
        let (zero, one) = (S::lit(0.0), S::lit(1.0));
        match self {
            Self::Sigmoid => x.sigmoid(),
            Self::Tanh => x.tanh(),
            Self::Relu => x.relu(),
            Self::LeakyRelu => x.select_less(zero, x * S::lit(LEAK), x),
            Self::Elu => {
                let (s, q) = (-x.abs()).exp_parts();
                x.select_less(zero, s.mul_add(q, s - one), x)
            }
            Self::HardSigmoid => (x + S::lit(3.0)).limited(zero, S::lit(6.0)) / S::lit(6.0),
            Self::HardTanh => x.limited(-one, one),
            Self::Softsign => x / (one + x.abs()),
            Self::Softplus => {
                let (s, q) = (-x.abs()).exp_parts();
                x.relu() + log1p(s.mul_add(q, s))
            }
            Self::Identity => x,
        }
    }

    #[inline(always)]
    fn slope_here<S: Scalar>(self, y: S) -> S {
        let (zero, one) = (S::lit(0.0), S::lit(1.0));
        match self {
            Self::Sigmoid => y * (one - y),
            Self::Tanh => one - y * y,
            Self::Relu => y.positive(),
            Self::LeakyRelu => zero.select_less(y, one, S::lit(LEAK)),
            Self::Elu => zero.select_less(y, one, y + one),
            Self::HardSigmoid => (y * (one - y)).positive() / S::lit(6.0),
            Self::HardTanh => (one - y.abs()).positive(),
            Self::Softsign => {
                let rest = one - y.abs();
                rest * rest
            }
            Self::Softplus => {
                let (s, q) = (-y).exp_parts();
                -s.mul_add(q, s - one)
            }
            Self::Identity => one,
        }
    }
}

/// A value in the place of its argument.
struct Value<'a, S>(Activation, &'a mut S);

impl<S: Scalar> Apart for Value<'_, S> {
    #[inline(always)]
    fn run(self) {
        *self.1 = self.0.value_here(*self.1);
    }
}

/// A slope in the place of the value.
struct Slope<'a, S>(Activation, &'a mut S);

impl<S: Scalar> Apart for Slope<'_, S> {
    #[inline(always)]
    fn run(self) {
        *self.1 = self.0.slope_here(*self.1);
    }
}

/// `log(1 + e)` for `0 <= e <= 1`, as `2 artanh(u)`, `u = e / (2 + e)`: the
/// series in `u^2 <= 1/9` ends where a term is below a tenth of an ulp.
#[inline(always)]
fn log1p<S: Scalar>(e: S) -> S {
    let u = e / (S::lit(2.0) + e);
    let square = u * u;
    let terms = match S::Base::BYTES {
        4 => 7,
        _ => 16,
    };
    let mut sum = S::lit(0.0);
    for k in (0..terms).rev() {
        sum = sum.mul_add(square, S::lit(2.0 / f64::from(2 * k + 1)));
    }
    sum * u
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Activation {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|a| a.name() == name);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Error::option(format!("unknown activation `{name}`; use one of {names}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{Dispatch, Lanes, Task};

    fn grid() -> impl Iterator<Item = f64> {
        let ends = [0.0, 1e-30, 700.0, 1e30, f64::INFINITY];
        let ends = ends.into_iter().flat_map(|x| [x, -x]);
        ends.chain((-60_000..=60_000).map(|i| f64::from(i) * 1.003e-3))
    }

    /// The functions as PyTorch's manual writes them.
    fn truth(activation: Activation, x: f64) -> f64 {
        match activation {
            Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Activation::Tanh => x.tanh(),
            Activation::Relu => x.max(0.0),
            Activation::LeakyRelu if x < 0.0 => 0.01 * x,
            Activation::Elu if x < 0.0 => x.exp_m1(),
            Activation::HardSigmoid => (x + 3.0).clamp(0.0, 6.0) / 6.0,
            Activation::HardTanh => x.clamp(-1.0, 1.0),
            Activation::Softsign if x.is_finite() => x / (1.0 + x.abs()),
            Activation::Softplus if x < 700.0 => x.exp().ln_1p(),
            _ => x,
        }
    }

    fn check<F: Float>(ulps: f64) {
        for activation in Activation::ALL {
            for x in grid() {
                let x = F::lit(x);
                let (y, t) = (activation.value(x).f64(), truth(activation, x.f64()));
                let near = (y - t).abs() <= ulps * F::epsilon().f64() * t.abs().max(1e-30);
                let endless = x.is_infinite() && activation == Activation::Softsign;
                assert!(near || y == t || endless, "{activation} {x}: {y} {t}");
            }
            assert!(activation.value(F::nan()).is_nan(), "{activation}");
        }
    }

    #[test]
    fn values() {
        check::<f32>(4.0);
        check::<f64>(4.0);
    }

    #[test]
    fn slopes_are_derivatives() {
        for activation in Activation::ALL {
            for x in (-4000..4000).map(|i| f64::from(i) * 1.9993e-3 + 1e-4) {
                let f = |x| truth(activation, x);
                let numeric = (f(x + 1e-6) - f(x - 1e-6)) / 2e-6;
                let slope = activation.slope(activation.value(x));
                assert!((slope - numeric).abs() < 1e-8, "{activation} {x}");
            }
        }
    }

    #[test]
    fn kinks_are_pytorchs() {
        for (activation, x, slope) in [
            (Activation::Relu, 0.0, 0.0),
            (Activation::LeakyRelu, 0.0, 0.01),
            (Activation::Elu, 0.0, 1.0),
            (Activation::HardSigmoid, -3.0, 0.0),
            (Activation::HardSigmoid, 3.0, 0.0),
            (Activation::HardTanh, -1.0, 0.0),
            (Activation::HardTanh, 1.0, 0.0),
        ] {
            assert_eq!(activation.slope(activation.value(x)), slope, "{activation}");
        }
    }

    /// Values and slopes of sixteen numbers.
    struct Functions<F>(Activation, [F; 16]);

    impl<F: Float> Task<F> for Functions<F> {
        type Out = Vec<F>;

        #[inline(always)]
        fn run<V: Lanes<F>>(self) -> Vec<F> {
            let mut out = vec![F::zero(); 32];
            let (values, slopes) = out.split_at_mut(16);
            for at in (0..16).step_by(V::N) {
                let y = self.0.value(V::load(&self.1[at..]));
                y.store(&mut values[at..]);
                self.0.slope(y).store(&mut slopes[at..]);
            }
            out
        }
    }

    /// Vectors may round once where numbers round twice: values within six
    /// epsilon of those of numbers, slopes within six beside 1; and the bits are
    /// the same in whatever lane a number stands.
    #[test]
    fn vectors_have_the_values_of_numbers() {
        fn check<F: Float + Dispatch>() {
            let same = |a: F, b: F| a == b || (a.is_nan() && b.is_nan());
            let bound = F::lit(6.0) * F::epsilon();
            let xs: Vec<_> = grid().chain([f64::NAN; 6]).map(F::lit).collect();
            for activation in Activation::ALL {
                for x in xs.chunks_exact(16) {
                    let x: [F; 16] = std::array::from_fn(|i| x[i]);
                    let wide = F::dispatch(Functions(activation, x));
                    let alone = Functions(activation, x).run::<F>();
                    for (i, (a, b)) in wide.iter().zip(&alone).enumerate() {
                        let unit = if i < 16 { b.abs() } else { F::one() };
                        let near = (*a - *b).abs() <= bound * unit;
                        assert!(near || same(*a, *b), "{activation} {x:?}: {a} {b}");
                    }
                    let turned = std::array::from_fn(|i| x[(i + 3) % 16]);
                    let turned = F::dispatch(Functions(activation, turned));
                    for (i, turned) in turned.into_iter().enumerate() {
                        let lane = i / 16 * 16 + (i + 3) % 16;
                        assert!(same(turned, wide[lane]), "{activation} {x:?}");
                    }
                }
            }
        }
        check::<f32>();
        check::<f64>();
    }

    #[test]
    fn names() {
        for activation in Activation::ALL {
            let name = activation.name();
            assert_eq!(name.parse(), Ok(activation));
            let json = serde_json::to_string(&activation).unwrap();
            assert_eq!(json, format!("\"{name}\""));
            assert_eq!(
                serde_json::from_str::<Activation>(&json).unwrap(),
                activation
            );
        }
        let error = "gelu".parse::<Activation>().unwrap_err();
        let words = "unknown activation `gelu`; use one of sigmoid, tanh, relu, leaky_relu, elu";
        assert!(
            error.is_option() && error.to_string().starts_with(words),
            "{error}"
        );
    }
}
