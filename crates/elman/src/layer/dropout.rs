//! Dropout masks: functions of seed, step, layer, row and time, so that no
//! division of the work changes them.

use crate::Float;
use crate::rng::Stream;

/// Fills `mask` with 0 (with probability `p`) or `1 / (1 - p)`.
pub(crate) fn draw<F: Float>(mut stream: Stream, p: f64, mask: &mut [F]) {
    let (p, scale) = (F::lit(p), F::lit(1.0 / (1.0 - p)));
    for m in mask {
        *m = if stream.uniform::<F>() < p {
            F::zero()
        } else {
            scale
        };
    }
}
