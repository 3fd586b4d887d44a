//! Numbers as a reader wants them: about four significant digits, the same
//! number of decimals down a column.

/// How the numbers of one column, or of one axis, are written.
#[derive(Debug, Clone, Copy)]
pub struct Digits {
    decimals: usize,
    scientific: bool,
}

impl Digits {
    /// Four significant digits of the largest value; whole digits are kept.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let largest = largest(values);
        Self::resolving(largest, largest / 1000.0)
    }

    /// Enough digits to tell values apart that differ by `step`.
    pub fn resolving(largest: f64, step: f64) -> Self {
        let (top, unit) = (magnitude(largest), magnitude(step));
        let scientific = !(-4..7).contains(&top);
        let decimals = if scientific { top - unit } else { -unit };
        Self {
            decimals: decimals.clamp(0, 15) as usize,
            scientific,
        }
    }

    pub fn show(self, value: f64) -> String {
        if !value.is_finite() {
            return MISSING.to_owned();
        }
        let decimals = self.decimals;
        let digits = if self.scientific {
            format!("{:.decimals$e}", value.abs())
        } else {
            grouped(format!("{:.decimals$}", value.abs()))
        };
        let zero = !digits
            .split('e')
            .next()
            .is_some_and(|mantissa| mantissa.contains(|c: char| c.is_ascii_digit() && c != '0'));
        match (zero, value < 0.0) {
            (true, _) if self.scientific => "0".to_owned(),
            (false, true) => format!("\u{2212}{digits}"),
            _ => digits,
        }
    }

    pub fn show_option(self, value: Option<f64>) -> String {
        value.map_or_else(|| MISSING.to_owned(), |v| self.show(v))
    }
}

/// What stands where a number is undefined.
pub const MISSING: &str = "\u{2013}";

/// A share from 0 to 1 in percent.
pub fn percent(share: Option<f64>) -> String {
    match share {
        Some(s) if (0.0..=1.0).contains(&s) => format!("{:.1}\u{a0}%", 100.0 * s),
        _ => MISSING.to_owned(),
    }
}

/// A count, its thousands set apart.
pub fn count(n: usize) -> String {
    grouped(n.to_string())
}

/// A count and its noun: `1 step`, `7 steps`.
pub fn counted(n: usize, noun: &str) -> String {
    format!("{} {noun}{}", count(n), if n == 1 { "" } else { "s" })
}

/// The smallest step among 1, 2 and 5 times a power of ten that cuts `range`
/// into at most `parts`.
pub fn round_step(range: f64, parts: usize) -> f64 {
    let raw = range / parts.max(1) as f64;
    let power = 10f64.powi(magnitude(raw));
    let factor = match raw / power {
        m if m <= 1.0 => 1.0,
        m if m <= 2.0 => 2.0,
        m if m <= 5.0 => 5.0,
        _ => 10.0,
    };
    factor * power
}

fn largest(values: impl IntoIterator<Item = f64>) -> f64 {
    values
        .into_iter()
        .filter(|v| v.is_finite())
        .fold(0.0, |top, v| v.abs().max(top))
}

/// The power of ten of the first digit; 0 for zero.
fn magnitude(value: f64) -> i32 {
    match value.abs().log10().floor() {
        power if power.is_finite() => power as i32,
        _ => 0,
    }
}

/// Commas between the thousands of a plain decimal number from 10,000 on.
fn grouped(number: String) -> String {
    let whole = number.find('.').unwrap_or(number.len());
    if whole < 5 {
        return number;
    }
    let mut out = String::with_capacity(number.len() + whole / 3);
    for (i, c) in number.chars().enumerate() {
        if 0 < i && i < whole && (whole - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_shares_its_decimals() {
        let check = |values: &[f64], shown: &[&str]| {
            let digits = Digits::of(values.iter().copied());
            let out: Vec<_> = values.iter().map(|&v| digits.show(v)).collect();
            assert_eq!(out, shown);
        };
        check(&[23.3147, 4.0, -0.001], &["23.31", "4.00", "0.00"]);
        check(&[0.0, -0.0], &["0", "0"]);
        check(&[-93352.53, 1209.176], &["\u{2212}93,353", "1209"]);
        check(&[0.012345, 0.5], &["0.0123", "0.5000"]);
        check(
            &[1.23456e9, -2e7, 0.0],
            &["1.235e9", "\u{2212}2.000e7", "0"],
        );
        check(&[1e-300, f64::NAN], &["1.000e-300", MISSING]);
        check(&[f64::MAX, f64::INFINITY], &["1.798e308", MISSING]);
        check(&[5e-324], &["5e-324"]);
    }

    #[test]
    fn counts_and_shares() {
        assert_eq!(counted(1, "step"), "1 step");
        assert_eq!(counted(17_420, "row"), "17,420 rows");
        assert_eq!(count(1440), "1440");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(percent(Some(0.8034)), "80.3\u{a0}%");
        for undefined in [None, Some(f64::NAN), Some(1e307)] {
            assert_eq!(percent(undefined), MISSING);
        }
    }

    #[test]
    fn steps_are_round() {
        for (range, parts, step) in [
            (7.0, 5, 2.0),
            (10.0, 4, 5.0),
            (0.9, 5, 0.2),
            (180.0, 3, 100.0),
            (3e-9, 3, 1e-9),
        ] {
            assert!((round_step(range, parts) - step).abs() < 1e-12 * step);
        }
    }
}
