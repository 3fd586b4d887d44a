//! Half-precision numbers: widened, every one of them is an `f32` too; and the
//! nearest one to a wider number.

/// An IEEE half (`float16`).
pub(crate) fn f16(bits: u16) -> f32 {
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
pub(crate) fn bf16(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// The nearest IEEE half, the even one of two; infinite beyond the largest.
pub(crate) fn to_f16(x: f64) -> u16 {
    narrow(x, 10, 15)
}

/// The nearest `bfloat16`, the even one of two; infinite beyond the largest.
pub(crate) fn to_bf16(x: f64) -> u16 {
    narrow(x, 7, 127)
}

fn narrow(x: f64, mantissa_bits: i32, bias: i32) -> u16 {
    let sign = if x.is_sign_negative() { 0x8000 } else { 0 };
    let one = 1_i32 << mantissa_bits;
    let infinity = 0x7fff & -one;
    let magnitude = if x.is_nan() {
        infinity | one >> 1
    } else {
        // The exponent of x, but not below that of the smallest normal number,
        // and x in units of the last place there.
        let exponent = (x.abs().to_bits() >> 52) as i32 - 1023;
        let exponent = exponent.max(1 - bias);
        let units = (x.abs() / 2_f64.powi(exponent - mantissa_bits)).round_ties_even();
        if exponent > bias {
            infinity
        } else {
            (((exponent + bias) << mantissa_bits) + units as i32 - one).min(infinity)
        }
    };
    sign | magnitude as u16
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

    fn nearest(widen: fn(u16) -> f32, narrow: fn(f64) -> u16) {
        for bits in 0..=u16::MAX {
            let x = f64::from(widen(bits));
            if x.is_nan() {
                assert!(widen(narrow(x)).is_nan());
                continue;
            }
            assert_eq!(narrow(x), bits, "{bits:#x}");
            // Between two neighbours.
            let next = f64::from(widen(bits.wrapping_add(1)));
            if x.is_finite() && next.is_finite() && bits & 0x7fff != 0x7fff {
                let middle = f64::midpoint(x, next);
                let even = bits + (bits & 1);
                assert_eq!(narrow(middle), even, "{bits:#x}");
                let (near, far) = if x.abs() < next.abs() {
                    (bits, bits + 1)
                } else {
                    (bits + 1, bits)
                };
                assert_eq!(
                    narrow(middle.next_down()),
                    if middle > 0.0 { near } else { far }
                );
                assert_eq!(
                    narrow(middle.next_up()),
                    if middle > 0.0 { far } else { near }
                );
            }
        }
        for huge in [f64::MAX, 1e39, f64::INFINITY] {
            assert_eq!(widen(narrow(huge)), f32::INFINITY);
            assert_eq!(widen(narrow(-huge)), f32::NEG_INFINITY);
        }
        assert_eq!(narrow(f64::MIN_POSITIVE / 4.0), 0);
        assert_eq!(narrow(-f64::MIN_POSITIVE), 0x8000);
    }

    #[test]
    fn every_number_becomes_the_nearest_half() {
        nearest(f16, to_f16);
        nearest(bf16, to_bf16);
    }
}
