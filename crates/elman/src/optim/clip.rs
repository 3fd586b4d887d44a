use super::expect;
use super::state::split;
use crate::{Float, Result};

/// Scales the gradients so that their 2-norm is at most `max_norm`, and
/// returns the norm they had (`torch.nn.utils.clip_grad_norm_`): with n the
/// norm, they are multiplied by min(1, `max_norm` / (n + 1e-6)).
///
/// The norm is summed in `f64`. Where it is not finite the gradients are left
/// as they are: look at the answer before taking a step.
///
/// # Errors
///
/// `max_norm` is negative or NaN. Infinity never scales.
pub fn clip_grad_norm<F: Float>(grads: &mut [F], max_norm: f64) -> Result<f64> {
    let norm = split(grads).map(|part| square_sum(part));
    let norm = norm.iter().sum::<f64>().sqrt();
    if let Some(scale) = clip_scale(norm, max_norm)? {
        grads.iter_mut().for_each(|g| *g *= scale);
    }
    Ok(norm)
}

/// The squares of a part of the gradients, added up.
pub(crate) fn square_sum<F: Float>(part: &[F]) -> f64 {
    part.iter().map(|g| g.f64() * g.f64()).sum()
}

/// What [`clip_grad_norm`] multiplies gradients of that norm with, where they are
/// clipped.
pub(crate) fn clip_scale<F: Float>(norm: f64, max_norm: f64) -> Result<Option<F>> {
    expect(
        max_norm >= 0.0,
        "max_norm",
        "a number of at least 0",
        max_norm,
    )?;
    let scale = max_norm / (norm + 1e-6);
    Ok((norm.is_finite() && scale < 1.0).then(|| F::lit(scale)))
}

/// Cuts each gradient off at `-clip_value` and `clip_value`
/// (`torch.nn.utils.clip_grad_value_`). A NaN stays one.
///
/// # Errors
///
/// `clip_value` is negative or NaN.
pub fn clip_grad_value<F: Float>(grads: &mut [F], clip_value: f64) -> Result<()> {
    expect(
        clip_value >= 0.0,
        "clip_value",
        "a number of at least 0",
        clip_value,
    )?;
    let bound = F::lit(clip_value);
    for g in grads {
        if g.abs() > bound {
            *g = bound.copysign(*g);
        }
    }
    Ok(())
}
