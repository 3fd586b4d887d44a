//! Named tensors in a safetensors file.

use crate::{Error, Float, Result};
use ndarray::{ArrayD, ArrayViewD, IxDyn};
use safetensors::SafeTensors;
use std::borrow::Cow;
use std::collections::HashMap;

/// What the numbers of a tensor are stored as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    /// 32-bit floating point.
    F32,
    /// 64-bit floating point.
    F64,
}

impl Dtype {
    fn stored<F: Float>() -> safetensors::Dtype {
        if F::BYTES == 4 {
            safetensors::Dtype::F32
        } else {
            safetensors::Dtype::F64
        }
    }
}

/// A safetensors file in memory, checked: offsets, sizes and shapes agree.
#[derive(Debug)]
pub struct TensorFile<'a> {
    tensors: SafeTensors<'a>,
    shapes: HashMap<String, Vec<usize>>,
    metadata: HashMap<String, String>,
}

impl<'a> TensorFile<'a> {
    /// Reads the header.
    ///
    /// # Errors
    /// Where the bytes are not a safetensors file, or a damaged one.
    pub fn read(bytes: &'a [u8]) -> Result<Self> {
        let not = |e: safetensors::SafeTensorError| {
            let pytorch = bytes.starts_with(b"PK") || bytes.starts_with(b"\x80");
            let mend = if pytorch {
                "; it looks like a PyTorch file: save its state_dict with safetensors.torch.save_file"
            } else {
                ""
            };
            Error::file(format!("not a safetensors file: {e}{mend}"))
        };
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(not)?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let tensors = SafeTensors::deserialize(bytes).map_err(not)?;
        let shapes = tensors
            .iter()
            .map(|(name, view)| (name.to_owned(), view.shape().to_vec()));
        Ok(Self {
            shapes: shapes.collect(),
            tensors,
            metadata,
        })
    }

    /// The metadata of that key.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }

    /// Names of the tensors, sorted.
    pub fn names(&self) -> Vec<&str> {
        let mut names = self.tensors.names();
        names.sort_unstable();
        names
    }

    /// Shape of a tensor; `None` where there is none of that name.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.shapes.get(name).map(Vec::as_slice)
    }

    /// What a tensor is stored as, in safetensors' words: `F32`.
    pub fn stored(&self, name: &str) -> Option<String> {
        Some(self.tensors.tensor(name).ok()?.dtype().to_string())
    }

    /// The floating-point type that all of the named tensors have; `None` where
    /// there are none of them.
    ///
    /// # Errors
    /// Where they have different ones, or one that is not read.
    pub fn float_dtype<'n>(
        &self,
        names: impl IntoIterator<Item = &'n str>,
    ) -> Result<Option<Dtype>> {
        let mut found: Option<(&str, Dtype)> = None;
        for name in names {
            let Ok(view) = self.tensors.tensor(name) else {
                continue;
            };
            let dtype = match view.dtype() {
                safetensors::Dtype::F32 => Dtype::F32,
                safetensors::Dtype::F64 => Dtype::F64,
                other => {
                    return Err(Error::file(format!(
                        "{name}: expected F32 or F64 numbers, got {other}; convert the file"
                    )));
                }
            };
            match found {
                Some((first, other)) if other != dtype => {
                    return Err(Error::file(format!(
                        "{name} is {dtype:?}, but {first} is {other:?}: expected one type throughout; convert one of them"
                    )));
                }
                _ => found = Some((name, dtype)),
            }
        }
        Ok(found.map(|(_, dtype)| dtype))
    }

    /// The numbers of a tensor; `None` where there is none of that name.
    ///
    /// # Errors
    /// Where it is not stored as `F`.
    pub fn get<F: Float>(&self, name: &str) -> Result<Option<ArrayD<F>>> {
        let Some((shape, bytes)) = self.bytes(name, Dtype::stored::<F>())? else {
            return Ok(None);
        };
        let values = bytes.chunks_exact(F::BYTES).map(F::from_le).collect();
        shaped(name, shape, values).map(Some)
    }

    /// The 64-bit integers of a tensor; `None` where there is none of that
    /// name.
    ///
    /// # Errors
    /// Where it is not stored as 64-bit integers.
    pub fn get_i64(&self, name: &str) -> Result<Option<ArrayD<i64>>> {
        let Some((shape, bytes)) = self.bytes(name, safetensors::Dtype::I64)? else {
            return Ok(None);
        };
        let numbers = bytes.as_chunks().0.iter();
        let values = numbers.map(|b| i64::from_le_bytes(*b)).collect();
        shaped(name, shape, values).map(Some)
    }

    fn bytes(
        &self,
        name: &str,
        expected: safetensors::Dtype,
    ) -> Result<Option<(&[usize], &'a [u8])>> {
        let (Ok(view), Some(shape)) = (self.tensors.tensor(name), self.shape(name)) else {
            return Ok(None);
        };
        if view.dtype() != expected {
            return Err(Error::file(format!(
                "{name}: expected {expected} numbers, got {}",
                view.dtype()
            )));
        }
        Ok(Some((shape, view.data())))
    }
}

fn shaped<T>(name: &str, shape: &[usize], values: Vec<T>) -> Result<ArrayD<T>> {
    ArrayD::from_shape_vec(IxDyn(shape), values)
        .map_err(|e| Error::file(format!("{name}: shape {shape:?}: {e}")))
}

/// The bytes of a safetensors file with these tensors and at most one entry of
/// metadata, so that the same contents are the same bytes.
///
/// # Errors
/// Where two tensors have the same name.
pub fn write_tensors<'a, F: Float>(
    tensors: impl IntoIterator<Item = (String, ArrayViewD<'a, F>)>,
    metadata: Option<(&str, String)>,
) -> Result<Vec<u8>> {
    let mut entries: Vec<(String, Stored)> = Vec::new();
    for (name, array) in tensors {
        let mut bytes = Vec::with_capacity(array.len() * F::BYTES);
        array.iter().for_each(|x| x.push_le(&mut bytes));
        let stored = Stored {
            dtype: Dtype::stored::<F>(),
            shape: array.shape().to_vec(),
            bytes,
        };
        entries.push((name, stored));
    }
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    if let Some(pair) = entries.windows(2).find(|w| w[0].0 == w[1].0) {
        return Err(Error::file(format!("two tensors are named {}", pair[0].0)));
    }
    let metadata = metadata.map(|(key, value)| HashMap::from([(key.to_owned(), value)]));
    safetensors::serialize(entries, metadata).map_err(|e| Error::file(e.to_string()))
}

/// One tensor on its way into a file.
struct Stored {
    dtype: safetensors::Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl safetensors::View for Stored {
    fn dtype(&self) -> safetensors::Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn numbers_come_back_bit_for_bit() {
        let a = array![[1.5_f32, f32::NAN], [f32::MIN_POSITIVE / 2.0, -0.0]].into_dyn();
        let bytes = write_tensors([("a".into(), a.view())], Some(("k", "v".into()))).unwrap();
        let file = TensorFile::read(&bytes).unwrap();
        assert_eq!(file.metadata("k"), Some("v"));
        let back = file.get::<f32>("a").unwrap().unwrap();
        assert_eq!(back.shape(), [2, 2]);
        let bits = |a: &ArrayD<f32>| a.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&back), bits(&a));
        assert!(file.get::<f64>("a").unwrap_err().is_file());
        assert!(file.get::<f32>("b").unwrap().is_none());
    }

    #[test]
    fn damaged_files_are_refused() {
        let a = array![1.0_f64].into_dyn();
        let good = write_tensors([("a".into(), a.view())], None).unwrap();
        for end in 0..good.len() {
            assert!(TensorFile::read(&good[..end]).unwrap_err().is_file());
        }
        let mut huge = good.clone();
        huge[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(TensorFile::read(&huge).unwrap_err().is_file());
        let e = TensorFile::read(b"PK\x03\x04rest of an archive").unwrap_err();
        assert!(e.to_string().contains("state_dict"), "{e}");
    }
}
