//! What a weights file holds, for people.

use super::number::grouped;
use super::table::{numbers, words};
use super::{Page, Paint};
use crate::convert::Proof;
use crate::weights::{Header, Tensor};
use elman::network::ChainLayer;
use elman::weights::{Compared, FoundLayer};
use elman_forecast::model::ModelFacts;

const PLAIN_LOOP: &str =
    "The cells run in the plain loop: the kernels know neither layer_norm nor reset_before.";

/// The facts of a model, if it is elman's, the layers and the tensors of the
/// file.
pub fn inspection(model: Option<&ModelFacts>, header: &Header, paint: Paint) -> String {
    let mut page = Page::new(paint);
    match model {
        Some(model) => {
            let facts = model.describe();
            let lines: Vec<_> = facts.iter().map(|f| [&*f.label, &*f.value]).collect();
            page.section("Model", &words(&lines, paint));
        }
        None => {
            let lines: Vec<_> = header.metadata.iter().map(|(k, v)| [&**k, &**v]).collect();
            page.section("Metadata", &words(&lines, paint));
        }
    }
    page.section("Layers", &layers(&header.layers, paint));
    if header.plain_loop {
        page.block(PLAIN_LOOP);
    }
    page.section("Tensors", &tensors(header, paint));
    page.text
}

/// The layers that names and shapes tell; nothing where there are none.
fn layers(found: &[FoundLayer], paint: Paint) -> String {
    if found.is_empty() {
        return String::new();
    }
    let line = |found: &FoundLayer| {
        vec![
            found.prefix.clone(),
            kind(&found.layer),
            grouped(found.parameters),
            grouped(found.multiply_adds),
        ]
    };
    let total = |f: fn(&FoundLayer) -> usize| found.iter().map(f).fold(0, usize::saturating_add);
    let all = vec![
        format!("{} in all", grouped(found.len())),
        String::new(),
        grouped(total(|f| f.parameters)),
        grouped(total(|f| f.multiply_adds)),
    ];
    let lines: Vec<_> = found.iter().map(line).chain([all]).collect();
    let header = ["prefix", "layer", "parameters", "multiply-adds"];
    numbers(&header, &lines, lines.len().checked_sub(1), paint)
}

/// A layer and its sizes in a few words.
fn kind(layer: &ChainLayer) -> String {
    let name = layer.name();
    match layer {
        ChainLayer::Embedding {
            num_embeddings: n,
            embedding_dim: dim,
            ..
        } => format!("{name} {n} x {dim}"),
        ChainLayer::Recurrent(config) => {
            let stack = &config.stack;
            let mut text = format!("{name} {} -> {}", config.input_size, config.output_size());
            if stack.num_layers > 1 {
                text += &format!(", {} layers", stack.num_layers);
            }
            if stack.bidirectional {
                text += ", bidirectional";
            }
            if stack.reverse {
                text += ", in reverse";
            }
            text
        }
        ChainLayer::Linear {
            in_features,
            out_features,
            ..
        } => format!("{name} {in_features} -> {out_features}"),
        ChainLayer::LayerNorm { features, .. } => format!("{name} {features}"),
        _ => name.to_owned(),
    }
}

/// The comparison of two files, and the verdict on the last line.
pub fn proof(proof: &Proof, verdict: &str, paint: Paint) -> String {
    let mut page = Page::new(paint);
    let line = |t: &Compared| {
        let name = if t.name == t.renamed {
            t.name.clone()
        } else {
            format!("{} -> {}", t.name, t.renamed)
        };
        let difference = if t.bit_for_bit {
            ["bit for bit".to_owned(), String::new()]
        } else {
            [t.largest_absolute, t.largest_relative].map(tiny)
        };
        let dtype = if t.from == t.to {
            t.from.clone()
        } else {
            format!("{} -> {}", t.from, t.to)
        };
        let [absolute, relative] = difference;
        vec![name, shape(&t.shape), dtype, absolute, relative]
    };
    let lines: Vec<_> = proof.tensors.iter().map(line).collect();
    let header = ["name", "shape", "type", "largest difference", "relative"];
    page.section(
        "Tensors, read again",
        &numbers(&header, &lines, None, paint),
    );
    if let Some(probed) = &proof.outputs {
        let found = format!(
            "  {}: {} numbers, largest difference {}\n",
            probed.what,
            grouped(probed.numbers),
            tiny(probed.largest)
        );
        page.section("Run from both files", &found);
    }
    page.block(verdict);
    page.text
}

/// One line: whether the files are the same.
pub fn verdict(proof: &Proof) -> String {
    let n = proof.tensors.len();
    let tensors = match n {
        1 => "1 tensor".to_owned(),
        n => format!("{} tensors", grouped(n)),
    };
    let worst = (proof.tensors.iter())
        .max_by(|a, b| a.largest_relative.total_cmp(&b.largest_relative))
        .map_or((0.0, 0.0), |t| (t.largest_absolute, t.largest_relative));
    let differ = proof.tensors.iter().filter(|t| !t.bit_for_bit).count();
    let outputs = match &proof.outputs {
        None => String::new(),
        Some(probed) if probed.largest == 0.0 => ", and so are the outputs".to_owned(),
        Some(probed) => format!(", outputs by at most {}", tiny(probed.largest)),
    };
    if proof.tensors.iter().all(|t| t.bit_for_bit) {
        format!("The same: {tensors}, bit for bit{outputs}.")
    } else if worst.0 == 0.0 {
        format!("The same: {tensors}, every number equal in its new type{outputs}.")
    } else {
        format!(
            "Rounded: {} of {tensors} differ{}, at the worst by {} ({} of the largest number){outputs}.",
            grouped(differ),
            if differ == 1 { "s" } else { "" },
            tiny(worst.0),
            tiny(worst.1)
        )
    }
}

/// A difference.
fn tiny(difference: f64) -> String {
    if difference == 0.0 {
        "0".to_owned()
    } else {
        format!("{difference:.2e}")
    }
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
            layers: vec![FoundLayer {
                prefix: "head".into(),
                layer: ChainLayer::Linear {
                    in_features: 64,
                    out_features: 10,
                    bias: true,
                },
                parameters: 650,
                multiply_adds: 640,
            }],
            plain_loop: false,
        };
        let paint = Paint {
            colour: false,
            width: 80,
        };
        let expected = "\
Metadata
  format  pt

Layers
  prefix              layer  parameters  multiply-adds
  head      linear 64 -> 10         650            640
  1 in all                          650            640

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
