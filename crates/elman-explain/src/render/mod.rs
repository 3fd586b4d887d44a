//! A trace as text, as JSON and as a page. Nothing is computed here.

pub mod page;
pub mod terminal;

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
    text.replace('-', "−")
}

/// A power of ten.
pub fn power(x: f64) -> String {
    format!("{x:e}").replace('-', "−")
}

/// How far something is off: two digits and a power of ten.
pub fn tiny(x: f64) -> String {
    format!("{x:.1e}").replace('-', "−")
}
