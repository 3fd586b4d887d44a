//! What a weights file says about itself: its tensors and its metadata. Of a
//! safetensors file the header is read, however large the rest is.

use crate::failure::Failure;
use elman::weights::TensorFile;
use safetensors::tensor::Metadata;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// Bytes before the header, which hold its length.
const LENGTH: u64 = 8;
/// The longest header the format allows.
const LONGEST: u64 = 100_000_000;

/// What a weights file holds.
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

/// Reads the header of the safetensors file at `path`, or a PyTorch file.
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
    let about = file.metadata().map_err(unread)?;
    if about.is_dir() {
        return Err(unread(io::ErrorKind::IsADirectory.into()));
    }
    if !about.is_file() {
        return Err(Failure::Input(format!(
            "{}: not a regular file; save what it gives to a file and name that",
            path.display()
        )));
    }
    let size = about.len();
    let mut start = Vec::new();
    // One byte more: with it a PyTorch file is known.
    (&mut file)
        .take(LENGTH + 1)
        .read_to_end(&mut start)
        .map_err(unread)?;
    if TensorFile::is_torch(&start) {
        return read_torch(path);
    }
    let length = match start.first_chunk() {
        Some(bytes) => u64::from_le_bytes(*bytes),
        None => return Err(wrong(&format!("it has {size} bytes"))),
    };
    if length > LONGEST || length > size.saturating_sub(LENGTH) {
        return Err(wrong(&"its first 8 bytes give no length of a header"));
    }
    file.seek(SeekFrom::Start(LENGTH)).map_err(unread)?;
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

/// A PyTorch file has no header: all of it is read.
fn read_torch(path: &Path) -> Result<Header, Failure> {
    let wrong = |e: &dyn std::fmt::Display| Failure::Input(format!("{}: {e}", path.display()));
    let bytes = fs::read(path).map_err(|e| wrong(&e))?;
    let file = TensorFile::read(&bytes).map_err(|e| wrong(&e))?;
    let tensors = file.names().into_iter().filter_map(|name| {
        Some(Tensor {
            name: name.to_owned(),
            dtype: file.stored(name)?,
            shape: file.shape(name)?.to_vec(),
        })
    });
    let place = file.place().map(|place| ("state_dict", place));
    let metadata = [("format", "PyTorch")].into_iter().chain(place);
    Ok(Header {
        tensors: tensors.collect(),
        metadata: metadata.map(|(k, v)| (k.into(), v.into())).collect(),
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
    fn a_pytorch_file_says_where_its_state_dict_is() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/torch/files");
        for name in ["checkpoint.pt", "checkpoint_legacy.pt"] {
            let header = read(&folder.join(name)).unwrap();
            assert_eq!(header.metadata["format"], "PyTorch");
            assert_eq!(header.metadata["state_dict"], "model_state_dict");
            assert_eq!(header.tensors[1].name, "model.rnn.weight_hh_l0");
            assert_eq!(header.tensors[1].dtype, "F32");
            assert_eq!(header.tensors[1].shape, [12, 3]);
            assert!(!header.is_own());
        }
        match read(&folder.join("attack.pt")) {
            Err(Failure::Input(message)) => assert!(message.contains("os.system"), "{message}"),
            other => panic!("{other:?}"),
        }
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
