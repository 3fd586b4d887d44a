//! Half-precision numbers, widened. Every one of them is an `f32` too.

/// An IEEE half (`float16`).
pub(super) fn f16(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let magnitude = u32::from(bits & 0x7fff);
    // At the place of an f32's exponent and mantissa, the exponent is 112 short.
    let shifted = magnitude << 13;
    let widened = if magnitude < 0x7c00 {
        (f32::from_bits(shifted) * f32::from_bits((127 + 112) << 23)).to_bits()
    } else {
        0x7f80_0000 | shifted
    };
    f32::from_bits(sign | widened)
}

/// The upper half of an `f32` (`bfloat16`).
pub(super) fn bf16(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By definition: sign, exponent, mantissa of so many bits.
    fn check(widen: fn(u16) -> f32, mantissa_bits: i32, bias: i32) {
        for bits in 0..=u16::MAX {
            let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
            let top = (1 << (15 - mantissa_bits)) - 1;
            let exponent = i32::from(bits & 0x7fff) >> mantissa_bits;
            let mantissa = f64::from(i32::from(bits) & ((1 << mantissa_bits) - 1));
            let fraction = mantissa * 2_f64.powi(-mantissa_bits);
            let got = widen(bits);
            if exponent == top {
                assert_eq!(got.is_nan(), mantissa != 0.0, "{bits:#x}");
                assert_eq!(got.is_infinite(), mantissa == 0.0, "{bits:#x}");
            } else {
                let expected = if exponent == 0 {
                    fraction * 2_f64.powi(1 - bias)
                } else {
                    (1.0 + fraction) * 2_f64.powi(exponent - bias)
                };
                assert_eq!(f64::from(got), sign * expected, "{bits:#x}");
            }
            assert_eq!(got.is_sign_negative(), bits >> 15 == 1, "{bits:#x}");
        }
    }

    #[test]
    fn every_half_keeps_its_value() {
        check(f16, 10, 15);
        check(bf16, 7, 127);
    }
}
