//! What one cell holds.

/// How a missing value may be written, without regard to case or to blanks
/// around it; an empty cell is one too.
pub const MISSING: [&str; 12] = [
    "na", "n/a", "#n/a", "nan", "null", "nil", "none", "missing", "-", "--", "?", ".",
];

/// What a cell looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Missing,
    /// A number without a decimal mark.
    Whole,
    /// A number with a decimal point.
    Point,
    /// A number with a decimal comma.
    Comma,
    Infinite,
    Text,
}

/// The shape of a cell without blanks around it.
pub(super) fn shape(cell: &str) -> Shape {
    let unsigned = cell.strip_prefix(['+', '-']).unwrap_or(cell);
    if unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.' || c == ',')
        && let Some(shape) = number_shape(unsigned)
    {
        return shape;
    }
    if cell.is_empty() || MISSING.iter().any(|word| cell.eq_ignore_ascii_case(word)) {
        return Shape::Missing;
    }
    let infinite = ["inf", "infinity", "infinite", "∞"]
        .iter()
        .any(|word| unsigned.eq_ignore_ascii_case(word));
    if infinite {
        Shape::Infinite
    } else {
        Shape::Text
    }
}

/// `digits[mark digits][e[sign]digits]`, with a digit on one side of the mark
/// at least.
fn number_shape(unsigned: &str) -> Option<Shape> {
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    if let Some(exponent) = exponent {
        let power = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        if power.is_empty() || !digits(power) {
            return None;
        }
    }
    let mark = mantissa.find(['.', ',']);
    let (whole, part) = match mark {
        Some(at) => (&mantissa[..at], &mantissa[at + 1..]),
        None => (mantissa, ""),
    };
    if whole.len() + part.len() == 0 || !digits(whole) || !digits(part) {
        return None;
    }
    Some(match mark.map(|at| mantissa.as_bytes()[at]) {
        Some(b',') => Shape::Comma,
        Some(_) => Shape::Point,
        None => Shape::Whole,
    })
}

/// The value of a cell whose shape is a number's; infinite where it is too
/// large.
pub(super) fn number(cell: &str, shape: Shape) -> Option<f64> {
    match shape {
        Shape::Whole | Shape::Point => cell.parse().ok(),
        Shape::Comma => cell.replacen(',', ".", 1).parse().ok(),
        Shape::Missing | Shape::Infinite | Shape::Text => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape() {
        for (cells, want) in [
            (
                &[
                    "", "NA", "n/a", "NaN", "nan", "NULL", "None", "-", "--", "?", ".", "#N/A",
                ][..],
                Shape::Missing,
            ),
            (
                &["0", "-12", "+7", "007", "1e3", "1e+9", "1E999"],
                Shape::Whole,
            ),
            (&["1.5", "-.5", "5.", "1.5E-3", "1.e999"], Shape::Point),
            (&["1,5", ",5", "-1,", "1,5e3"], Shape::Comma),
            (&["inf", "-Inf", "+INFINITY", "∞"], Shape::Infinite),
            (
                &[
                    "1.2.3", "1,234.5", "1.234,5", "1 234", "1_000", "e5", "1e", "1e+", "12a",
                    "0x10", "+-1", ",", "1'000", "٣", "--1",
                ],
                Shape::Text,
            ),
        ] {
            for cell in cells {
                assert_eq!(shape(cell), want, "{cell}");
                let numeric = matches!(want, Shape::Whole | Shape::Point | Shape::Comma);
                assert_eq!(number(cell, want).is_some(), numeric, "{cell}");
            }
        }
        assert_eq!(number("-1,25", Shape::Comma), Some(-1.25));
        assert_eq!(number("1.e999", Shape::Point), Some(f64::INFINITY));
    }
}
