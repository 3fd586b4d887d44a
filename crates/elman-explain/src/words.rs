//! Every sentence of the page, in English and in Japanese; remarks, which the
//! terminal has, too.

use crate::text::fill;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// The sentences by their keys: `{"key": {"en": "...", "ja": "..."}}`. A letter
/// in braces stands for what the page puts there.
pub const WORDS: &str = include_str!("words.json");

/// A remark on what is explained.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Note {
    /// The key of its sentence.
    pub key: &'static str,
    /// What stands for the letters in braces.
    pub values: BTreeMap<char, String>,
    /// The sentence in English.
    pub text: String,
}

impl Note {
    /// The remark with a sentence of [`WORDS`].
    pub fn new<const N: usize>(key: &'static str, values: [(char, String); N]) -> Self {
        let words: Value = serde_json::from_str(WORDS).unwrap_or_default();
        let sentence = words[key]["en"].as_str().unwrap_or(key).to_owned();
        Self {
            key,
            text: fill(&sentence, values.iter().cloned()),
            values: values.into_iter().collect(),
        }
    }
}
