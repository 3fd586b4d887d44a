//! What a weights file holds, for people.

use super::number::grouped;
use super::table::{numbers, words};
use super::{Page, Paint};
use crate::weights::{Header, Tensor};
use elman_forecast::outcome::Fact;

/// The facts of a model, if it is elman's, and the tensors of the file.
pub fn inspection(facts: Option<&[Fact]>, header: &Header, paint: Paint) -> String {
    let mut page = Page::new(paint);
    match facts {
        Some(facts) => {
            let lines: Vec<_> = facts.iter().map(|f| [&*f.label, &*f.value]).collect();
            page.section("Model", &words(&lines, paint));
        }
        None => {
            let lines: Vec<_> = header.metadata.iter().map(|(k, v)| [&**k, &**v]).collect();
            page.section("Metadata", &words(&lines, paint));
        }
    }
    page.section("Tensors", &tensors(header, paint));
    page.text
}

/// The tensors of a file.
pub fn tensors(header: &Header, paint: Paint) -> String {
    let line = |t: &Tensor| {
        vec![
            t.name.clone(),
            shape(&t.shape),
            t.dtype.clone(),
            grouped(t.numbers()),
        ]
    };
    let total = vec![
        format!("{} in all", grouped(header.tensors.len())),
        String::new(),
        String::new(),
        grouped(header.numbers()),
    ];
    let lines: Vec<_> = header.tensors.iter().map(line).chain([total]).collect();
    let last = lines.len().checked_sub(1);
    numbers(&["name", "shape", "type", "numbers"], &lines, last, paint)
}

/// As PyTorch writes it: `(256, 64)`, `(256,)`.
fn shape(shape: &[usize]) -> String {
    match shape {
        [n] => format!("({n},)"),
        sides => {
            let sides: Vec<_> = sides.iter().map(usize::to_string).collect();
            format!("({})", sides.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_file_shows_its_metadata_and_tensors() {
        let tensor = |name: &str, shape: &[usize]| Tensor {
            name: name.into(),
            dtype: "F32".into(),
            shape: shape.into(),
        };
        let header = Header {
            tensors: vec![
                tensor("weight_hh_l0", &[256, 64]),
                tensor("bias_hh_l0", &[256]),
                tensor("step", &[]),
            ],
            metadata: [("format".to_owned(), "pt".to_owned())].into(),
        };
        let paint = Paint {
            colour: false,
            width: 80,
        };
        let expected = "\
Metadata
  format  pt

Tensors
  name              shape  type  numbers
  weight_hh_l0  (256, 64)   F32   16,384
  bias_hh_l0       (256,)   F32      256
  step                 ()   F32        1
  3 in all                        16,641
";
        assert_eq!(inspection(None, &header, paint), expected);
    }
}
