//! Numbers, words and templates as readers see them. Nothing is computed here.

use std::fmt::Display;

/// A number in as many digits as can be read: six places below 1, six digits or
/// one more from there, four and a power of ten where it is very small or large.
pub fn short(x: f64) -> String {
    let size = x.abs();
    let text = if x == 0.0 {
        "0".to_owned()
    } else if (1e-4..1e6).contains(&size) {
        let decimals = match size {
            s if s >= 1e4 => 1,
            s if s >= 1e2 => 3,
            s if s >= 1.0 => 5,
            _ => 6,
        };
        let fixed = format!("{x:.decimals$}");
        fixed.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        format!("{x:.3e}")
    };
    minus(&text)
}

/// A number inside of a formula: in brackets where it is negative.
pub fn bracketed(x: f64) -> String {
    match short(x) {
        negative if x < 0.0 => format!("({negative})"),
        other => other,
    }
}

/// A power of ten.
pub fn power(x: f64) -> String {
    minus(&format!("{x:e}"))
}

/// How far something is off: two digits and a power of ten.
pub fn tiny(x: f64) -> String {
    minus(&format!("{x:.1e}"))
}

/// A number with all its digits.
pub fn long(x: f64) -> String {
    match x.abs() {
        0.0 | 1e-4..1e16 => minus(&x.to_string()),
        _ => power(x),
    }
}

/// A number as it was given: dividing and multiplying it again has left twelve
/// digits of it.
pub(crate) fn given(x: f64) -> String {
    long(format!("{x:.11e}").parse().unwrap_or(x))
}

/// A learning rate with all its digits, but without a line of zeros.
pub(crate) fn rate(x: f64) -> String {
    match x.abs() {
        0.0 | 1e-6..1e9 => x.to_string(),
        _ => power(x),
    }
}

/// A number as Rust writes it, with the minus sign of formulas.
fn minus(text: &str) -> String {
    text.replace('-', "−")
}

/// `1 step`, `2 steps`.
pub(crate) fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// A template with texts in place of its keys: `{key}`.
pub(crate) fn fill<K: Display>(
    template: &str,
    texts: impl IntoIterator<Item = (K, String)>,
) -> String {
    let each = texts.into_iter();
    each.fold(template.to_owned(), |text, (key, own)| {
        text.replace(&format!("{{{key}}}"), &own)
    })
}
