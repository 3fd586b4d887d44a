//! Weights files: what one says about itself, its tensors and its metadata, and
//! the whole of it in memory. Of a safetensors file the header is read first, of
//! a PyTorch file the first and last bytes: what is wrong there is refused,
//! however large the rest is.

use crate::failure::Failure;
use elman::weights::{FoundLayer, METADATA_KEY, TensorFile, found_layers, model_layers};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

/// What a weights file holds.
#[derive(Debug)]
pub struct Header {
    /// In the order they are stored.
    pub tensors: Vec<Tensor>,
    pub metadata: BTreeMap<String, String>,
    /// Of elman's own files as their metadata has them, of others what names and
    /// shapes tell.
    pub layers: Vec<FoundLayer>,
    /// Whether it is a model of elman's with cells that do not run through the
    /// kernels.
    pub plain_loop: bool,
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
        self.metadata.contains_key(METADATA_KEY)
    }

    /// How many numbers the tensors hold together.
    pub fn numbers(&self) -> usize {
        self.tensors
            .iter()
            .map(Tensor::numbers)
            .fold(0, usize::saturating_add)
    }

    fn of_safetensors(header: &elman::weights::Header) -> Self {
        let tensors = header.tensors().map(|(name, dtype, shape)| Tensor {
            name: name.to_owned(),
            dtype,
            shape: shape.to_vec(),
        });
        Self {
            tensors: tensors.collect(),
            metadata: header.metadata().clone(),
            // Where its own metadata cannot be read, what is there to see.
            layers: model_layers(header).unwrap_or_else(|_| found_layers(header)),
            plain_loop: header.network().is_some_and(|network| !network.kernels()),
        }
    }

    fn of_torch(file: &TensorFile<'_>) -> Self {
        let tensors = file.names().into_iter().filter_map(|name| {
            Some(Tensor {
                name: name.to_owned(),
                dtype: file.stored(name)?,
                shape: file.shape(name)?.to_vec(),
            })
        });
        let place = file.place().map(|place| ("state_dict", place));
        let metadata = [("format", "PyTorch")].into_iter().chain(place);
        Self {
            tensors: tensors.collect(),
            metadata: metadata.map(|(k, v)| (k.into(), v.into())).collect(),
            layers: found_layers(file),
            plain_loop: false,
        }
    }
}

impl Tensor {
    pub fn numbers(&self) -> usize {
        self.shape.iter().fold(1, |n, side| n.saturating_mul(*side))
    }
}

/// A weights file whose beginning has been read: a safetensors file's header,
/// or all of a PyTorch file, which has none.
struct Begun {
    path: PathBuf,
    file: fs::File,
    bytes: Vec<u8>,
    header: Option<elman::weights::Header>,
}

/// A weights file in memory.
#[derive(Debug)]
pub struct Weights {
    path: PathBuf,
    bytes: Vec<u8>,
    header: Option<elman::weights::Header>,
}

impl Begun {
    fn new(path: &Path) -> Result<Self, Failure> {
        // Before it is opened: a pipe would wait for its other end.
        let about = fs::metadata(path).map_err(|e| unread(path, &e))?;
        if about.is_dir() {
            return Err(unread(path, &io::ErrorKind::IsADirectory.into()));
        }
        if !about.is_file() {
            return Err(Failure::Input(format!(
                "{}: not a regular file; save what it gives to a file and name that",
                path.display()
            )));
        }
        let mut file = fs::File::open(path).map_err(|e| unread(path, &e))?;
        let size = about.len();
        if size == 0 {
            return Err(Failure::Input(format!(
                "{}: the file is empty; write it again, as torch.save or elman does, and see that it is whole",
                path.display()
            )));
        }
        let wrong = |e: elman::Error| Failure::from(e.at(path.display()));
        let mut bytes = Vec::new();
        let mut read_to = |end: usize, bytes: &mut Vec<u8>| {
            let more = end.saturating_sub(bytes.len()) as u64;
            let read = (&mut file).take(more).read_to_end(bytes);
            read.map(drop).map_err(|e| unread(path, &e))
        };
        read_to(elman::weights::Header::START, &mut bytes)?;
        let end = elman::weights::Header::len(&bytes, size).map_err(wrong)?;
        let torch = TensorFile::is_torch(&bytes);
        if torch {
            read_to(TensorFile::ENDS, &mut bytes)?;
            let last = last_bytes(path, size).map_err(|e| unread(path, &e))?;
            TensorFile::check_ends(&bytes, &last).map_err(wrong)?;
        }
        read_to(end, &mut bytes)?;
        let header = if torch {
            None
        } else {
            Some(elman::weights::Header::parse(&bytes, size).map_err(wrong)?)
        };
        Ok(Self {
            path: path.to_owned(),
            file,
            bytes,
            header,
        })
    }
}

/// The last bytes of a file of that size.
fn last_bytes(path: &Path, size: u64) -> io::Result<Vec<u8>> {
    let mut file = fs::File::open(path)?;
    file.seek(io::SeekFrom::Start(
        size.saturating_sub(TensorFile::ENDS as u64),
    ))?;
    let mut bytes = Vec::new();
    file.take(TensorFile::ENDS as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl Weights {
    /// Reads the file at `path`.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let mut begun = Begun::new(path)?;
        let rest = begun.file.read_to_end(&mut begun.bytes);
        rest.map_err(|e| unread(path, &e))?;
        Ok(Self {
            path: begun.path,
            bytes: begun.bytes,
            header: begun.header,
        })
    }

    /// Whether `torch.save` wrote it.
    pub fn is_torch(&self) -> bool {
        TensorFile::is_torch(&self.bytes)
    }

    /// Its tensors.
    pub fn tensors(&mut self) -> Result<TensorFile<'_>, Failure> {
        let tensors = match self.header.take() {
            Some(header) => TensorFile::with_header(header, &self.bytes),
            None => TensorFile::read(&self.bytes),
        };
        tensors.map_err(|e| e.at(self.path.display()).into())
    }
}

/// Reads what the file at `path` says about itself.
pub fn read(path: &Path) -> Result<Header, Failure> {
    let begun = Begun::new(path)?;
    match &begun.header {
        Some(header) => Ok(Header::of_safetensors(header)),
        None => {
            let file = TensorFile::read(&begun.bytes).map_err(|e| e.at(path.display()))?;
            Ok(Header::of_torch(&file))
        }
    }
}

fn unread(path: &Path, e: &io::Error) -> Failure {
    let why = match e.kind() {
        io::ErrorKind::NotFound => "there is no such file; check the path".to_owned(),
        io::ErrorKind::IsADirectory => "this is a folder; name a file in it".to_owned(),
        _ => format!("cannot be read: {e}"),
    };
    Failure::Input(format!("{}: {why}", path.display()))
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
            ("empty", vec![], "the file is empty"),
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
