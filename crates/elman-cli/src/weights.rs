//! What a safetensors file says about itself: its tensors and its metadata,
//! read from the header, however large the rest is.

use crate::failure::Failure;
use safetensors::tensor::Metadata;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::Path;

/// Bytes before the header, which hold its length.
const LENGTH: u64 = 8;
/// The longest header the format allows.
const LONGEST: u64 = 100_000_000;

/// The header of a safetensors file.
#[derive(Debug)]
pub struct Header {
    /// In the order they are stored.
    pub tensors: Vec<Tensor>,
    pub metadata: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
pub struct Tensor {
    pub name: String,
    pub dtype: String,
    pub shape: Vec<usize>,
}

impl Header {
    /// Whether elman wrote the file.
    pub fn is_own(&self) -> bool {
        self.metadata.contains_key("elman")
    }

    /// How many numbers the tensors hold together.
    pub fn numbers(&self) -> usize {
        self.tensors
            .iter()
            .map(Tensor::numbers)
            .fold(0, usize::saturating_add)
    }
}

impl Tensor {
    pub fn numbers(&self) -> usize {
        self.shape.iter().fold(1, |n, side| n.saturating_mul(*side))
    }
}

/// Reads the header of the safetensors file at `path`.
pub fn read(path: &Path) -> Result<Header, Failure> {
    let wrong = |why: &dyn std::fmt::Display| {
        Failure::Input(format!("{}: not a safetensors file: {why}", path.display()))
    };
    let unread = |e: io::Error| {
        let why = match e.kind() {
            io::ErrorKind::NotFound => "there is no such file; check the path".to_owned(),
            io::ErrorKind::IsADirectory => "this is a folder; name a file in it".to_owned(),
            _ => format!("cannot be read: {e}"),
        };
        Failure::Input(format!("{}: {why}", path.display()))
    };

    let mut file = fs::File::open(path).map_err(unread)?;
    let size = file.metadata().map_err(unread)?.len();
    let mut start = Vec::new();
    (&mut file)
        .take(LENGTH)
        .read_to_end(&mut start)
        .map_err(unread)?;
    if start.starts_with(b"PK\x03\x04") {
        return Err(wrong(
            &"it looks like a PyTorch file; in Python, save the state_dict with safetensors.torch.save_file",
        ));
    }
    let length = match <[u8; LENGTH as usize]>::try_from(start) {
        Ok(bytes) => u64::from_le_bytes(bytes),
        Err(_) => return Err(wrong(&format!("it has {size} bytes"))),
    };
    if length > LONGEST || length > size - LENGTH {
        return Err(wrong(&"its first 8 bytes give no length of a header"));
    }
    let mut header = Vec::new();
    (&mut file)
        .take(length)
        .read_to_end(&mut header)
        .map_err(unread)?;
    let parsed: Metadata = serde_json::from_slice(&header).map_err(|e| wrong(&e))?;
    let expected = LENGTH + length + parsed.data_len() as u64;
    if expected != size {
        return Err(wrong(&format!(
            "its header describes {expected} bytes, the file has {size}; was it cut off?"
        )));
    }
    let tensors = parsed
        .offset_keys()
        .into_iter()
        .filter_map(|name| {
            let info = parsed.info(&name)?;
            Some(Tensor {
                dtype: format!("{:?}", info.dtype),
                shape: info.shape.clone(),
                name,
            })
        })
        .collect();
    let metadata = parsed.metadata().clone().unwrap_or_default();
    Ok(Header {
        tensors,
        metadata: metadata.into_iter().collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: usize) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend(vec![0; data]);
        bytes
    }

    #[test]
    fn tensors_come_in_the_order_they_are_stored() {
        let header = r#"{"__metadata__":{"elman":"{}"},
            "b":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},
            "a":{"dtype":"F64","shape":[],"data_offsets":[24,32]}}"#;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.safetensors");
        fs::write(&path, file(header, 32)).unwrap();
        let header = read(&path).unwrap();
        assert!(header.is_own());
        assert_eq!(header.numbers(), 7);
        let names: Vec<_> = header
            .tensors
            .iter()
            .map(|t| (&*t.name, &*t.dtype))
            .collect();
        assert_eq!(names, [("b", "F32"), ("a", "F64")]);
    }

    #[test]
    fn a_broken_file_is_refused_with_the_reason() {
        let tensor = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
        let vast = r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}}"#;
        let far = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,18446744073709551615]}}"#;
        let cases: [(&str, Vec<u8>, &str); 9] = [
            ("empty", vec![], "0 bytes"),
            ("short", vec![1, 2, 3], "3 bytes"),
            (
                "a csv file",
                b"ds,y\n2020-01-01,1\n".to_vec(),
                "length of a header",
            ),
            ("pytorch", b"PK\x03\x04 and so on".to_vec(), "PyTorch"),
            ("no json", file("hello", 0), "expected value"),
            ("cut off", file(tensor, 7), "cut off"),
            ("too long", file(tensor, 9), "cut off"),
            ("overflowing shape", file(vast, 8), "not a safetensors file"),
            ("overflowing offset", file(far, 8), "not a safetensors file"),
        ];
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes, part) in cases {
            let path = dir.path().join(name);
            fs::write(&path, bytes).unwrap();
            match read(&path) {
                Err(Failure::Input(message)) => {
                    assert!(
                        message.contains(part) && message.contains(name),
                        "{message}"
                    );
                }
                other => panic!("{name}: {other:?}"),
            }
        }
    }
}
