//! Numbers for people: as many digits as they can use, the same in a column.

/// Digits that matter in the largest number of a column.
const DIGITS: i32 = 4;

/// How the numbers of one column are rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// To so many decimals.
    Decimals(usize),
    /// To so few digits that only the exponent tells the size.
    Scientific,
}

impl Rounding {
    /// Four digits for the largest of the values; digits before the point
    /// always stay.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let largest = values
            .into_iter()
            .filter(|x| x.is_finite())
            .fold(0.0, |most: f64, x| most.max(x.abs()));
        if largest == 0.0 {
            return Self::Decimals(0);
        }
        let exponent = largest.log10().floor() as i32;
        match exponent {
            -5..=9 => Self::Decimals(usize::try_from(DIGITS - 1 - exponent).unwrap_or(0)),
            _ => Self::Scientific,
        }
    }

    /// The number in words; `-` where it is undefined.
    pub fn show(self, value: Option<f64>) -> String {
        let Some(value) = value.filter(|x| x.is_finite()) else {
            return "-".into();
        };
        let text = match self {
            Self::Decimals(decimals) => format!("{value:.decimals$}"),
            Self::Scientific => format!("{value:.3e}"),
        };
        // No minus before a zero.
        match text.strip_prefix('-') {
            Some(rest) if !rest.contains(|c: char| ('1'..='9').contains(&c)) => rest.into(),
            _ => text,
        }
    }
}

/// A single number.
pub fn significant(value: Option<f64>) -> String {
    Rounding::of(value).show(value)
}

/// A share from 0 to 1 in percent.
pub fn percent(share: Option<f64>) -> String {
    match share {
        Some(share) if (0.0..=1.0).contains(&share) => format!("{:.1} %", 100.0 * share),
        _ => "-".into(),
    }
}

/// A whole number with its thousands apart: `12,345`.
pub fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_rounded_by_its_largest_number() {
        let cases: [(&[f64], &[&str]); 9] = [
            (&[23.456, 1.0, -0.001], &["23.46", "1.00", "0.00"]),
            (&[-1234.5, 2.0], &["-1234", "2"]),
            (&[0.81234], &["0.8123"]),
            (&[9.9999], &["10.000"]),
            (&[0.0, -0.0], &["0", "0"]),
            (&[1_234_567.0], &["1234567"]),
            (&[1e300, 1.0], &["1.000e300", "1.000e0"]),
            (&[1.5e-7], &["1.500e-7"]),
            (&[f64::NAN, f64::INFINITY, 2.0], &["-", "-", "2.000"]),
        ];
        for (values, expected) in cases {
            let rounding = Rounding::of(values.iter().copied());
            let shown: Vec<_> = values.iter().map(|x| rounding.show(Some(*x))).collect();
            assert_eq!(shown, expected);
        }
        assert_eq!(significant(None), "-");
        assert_eq!(percent(Some(0.8125)), "81.2 %");
        assert_eq!(percent(Some(f64::NAN)), "-");
    }

    #[test]
    fn thousands_stand_apart() {
        let shown = [0, 12, 999, 1000, 12_345, 1_234_567].map(grouped);
        assert_eq!(shown, ["0", "12", "999", "1,000", "12,345", "1,234,567"]);
    }
}
