//! Named tensors in a safetensors file or in one of PyTorch's own.

use super::header::{self, Header, Index};
use super::infer::is_recurrent_weight;
use super::torch::{self, StateDict};
use crate::float::half::{bf16, f16};
use crate::params::Storage;
use crate::{Error, Float, Result};
use ndarray::{ArrayD, ArrayView, ArrayViewD, IxDyn, ShapeBuilder};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// A floating-point type that networks compute with.
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

/// Named tensors in a file in memory, checked: places, sizes and shapes agree.
///
/// The file is a safetensors file, or what `torch.save` wrote of a state_dict
/// or of a checkpoint with one. The numbers stay in the bytes of the file until
/// they are asked for.
///
/// ```
/// use elman::ndarray::array;
/// use elman::weights::{TensorFile, write_tensors};
///
/// let bias = array![0.5_f32, 1.0].into_dyn();
/// let bytes = write_tensors([("bias".to_owned(), bias.view())], None)?;
/// let file = TensorFile::read(&bytes)?;
/// assert_eq!(file.names(), ["bias"]);
/// assert_eq!(file.get::<f32>("bias")?, Some(bias));
/// # Ok::<(), elman::Error>(())
/// ```
#[derive(Debug)]
pub struct TensorFile<'a> {
    tensors: Vec<(String, Tensor<'a>)>,
    index: Index,
    metadata: BTreeMap<String, String>,
    place: String,
    widened: bool,
}

impl<'a> TensorFile<'a> {
    /// Finds the tensors of a safetensors file, or of a PyTorch file: the zip
    /// archive of `torch.save` or its format before version 1.6, with the
    /// state_dict as its object or at most two keys deep.
    ///
    /// A PyTorch file is not run. Whatever is not needed for a state_dict, a
    /// whole module among it, is refused by its Python name.
    ///
    /// # Errors
    /// Where the bytes are neither, or a damaged file, or several state_dicts
    /// are in it and none or several of them are called `state_dict`,
    /// `model_state_dict` or `model`.
    pub fn read(bytes: &'a [u8]) -> Result<Self> {
        if Self::is_torch(bytes) {
            let StateDict { tensors, place } = torch::read(bytes)?;
            return Ok(Self {
                index: Index::new(&tensors)?,
                tensors,
                metadata: BTreeMap::new(),
                place,
                widened: false,
            });
        }
        Self::with_header(Header::parse(bytes, bytes.len() as u64)?, bytes)
    }

    /// A safetensors file whose header was read before.
    ///
    /// # Errors
    /// Where the header is another file's.
    pub fn with_header(header: Header, bytes: &'a [u8]) -> Result<Self> {
        let data = bytes.get(header.data..).unwrap_or_default();
        let metadata = header.metadata().clone();
        let tensors = header.tensors.into_iter().zip(header.scales);
        let tensors = tensors.map(|((name, info), scales)| {
            let bytes = |(from, to)| {
                let bytes = data.get(from..to);
                bytes.ok_or_else(|| {
                    Error::file(format!("{name}: the tensor lies outside of the file"))
                })
            };
            let tensor = Tensor {
                data: bytes(info.data_offsets)?,
                scales: scales.map(bytes).transpose()?,
                dtype: info.dtype,
                shape: info.shape,
                strides: None,
            };
            Ok((name, tensor))
        });
        Ok(Self {
            tensors: tensors.collect::<Result<_>>()?,
            index: header.index,
            metadata,
            place: String::new(),
            widened: false,
        })
    }

    /// True where bytes that begin so are, if anything, a PyTorch file; a
    /// safetensors file is told from it by its first nine bytes.
    pub fn is_torch(start: &[u8]) -> bool {
        torch::is_torch(start)
    }

    /// Bytes at the beginning and at the end of a file that
    /// [`check_ends`](Self::check_ends) looks at.
    pub const ENDS: usize = 64;

    /// Refuses a PyTorch file by its first and last [`ENDS`](Self::ENDS) bytes
    /// (all of a smaller file), before the rest of it is read.
    ///
    /// ```
    /// use elman::weights::TensorFile;
    /// let e = TensorFile::check_ends(b"PK\x03\x04", &[0; 64]).unwrap_err();
    /// assert!(e.to_string().contains("does not end with its directory"));
    /// ```
    ///
    /// # Errors
    /// Where an archive does not end with its directory, or the format's magic
    /// number is not at the beginning of a pickle.
    pub fn check_ends(start: &[u8], end: &[u8]) -> Result<()> {
        torch::check_ends(start, end)
    }

    /// From now on numbers of fewer bits count as wider ones, which have the
    /// same values: `F16` and `BF16` as `F32`, whole numbers as `I64`. Whole
    /// numbers of 8 bits with a scale for each row beside them (`NAME_scale`)
    /// count as `F32` anyway.
    #[must_use]
    pub fn widened(mut self) -> Self {
        self.widened = true;
        self
    }

    /// The metadata of that key; a PyTorch file has none.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }

    /// All metadata, by key.
    pub fn all_metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Where in a checkpoint of PyTorch the tensors are, its keys joined by
    /// dots (`model_state_dict`); `None` where they are the file itself.
    /// Everything else in the checkpoint is passed over.
    pub fn place(&self) -> Option<&str> {
        Some(&*self.place).filter(|place| !place.is_empty())
    }

    /// Names of the tensors, in the order of the file.
    pub fn names(&self) -> Vec<&str> {
        self.tensors.iter().map(|(name, _)| &**name).collect()
    }

    /// Shape of a tensor; `None` where there is none of that name.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        Some(&self.tensor(name)?.shape)
    }

    /// What a tensor is stored as, in safetensors' words: `F32`.
    pub fn stored(&self, name: &str) -> Option<String> {
        Some(self.tensor(name)?.dtype.to_string())
    }

    /// What the weights of all recurrent layers are stored as, where it is less
    /// than 32 bits and the same for all: how the kernels are to keep them.
    pub fn storage(&self) -> Storage {
        let weights = self
            .tensors
            .iter()
            .filter(|(name, _)| is_recurrent_weight(name));
        let kept = weights.map(|(_, tensor)| match (tensor.dtype, tensor.scales) {
            (safetensors::Dtype::BF16, _) => Storage::Bf16,
            (safetensors::Dtype::I8, Some(_)) => Storage::Int8,
            _ => Storage::Full,
        });
        let all = kept.map(Some).reduce(|a, b| a.filter(|_| a == b));
        all.flatten().unwrap_or_default()
    }

    /// The floating-point type that all tensors have whose names are `counted`;
    /// `None` where there are none of them.
    ///
    /// # Errors
    /// Where they have different ones, or one that is not read.
    pub fn float_dtype(&self, counted: impl Fn(&str) -> bool) -> Result<Option<Dtype>> {
        let mut found: Option<(&str, Dtype)> = None;
        for (name, tensor) in self.tensors.iter().filter(|(name, _)| counted(name)) {
            let dtype = match self.dtype(tensor) {
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
    /// Where its type is not `F`.
    pub fn get<F: Float>(&self, name: &str) -> Result<Option<ArrayD<F>>> {
        use safetensors::Dtype as Stored;
        let Some(tensor) = self.expect(name, Dtype::stored::<F>())? else {
            return Ok(None);
        };
        let lit = |x: f32| F::lit(x.into());
        let values = match tensor.dtype {
            Stored::I8 => tensor.scaled(),
            Stored::F16 => tensor.map(|b| lit(f16(u16::from_le_bytes(*b)))),
            Stored::BF16 => tensor.map(|b| lit(bf16(u16::from_le_bytes(*b)))),
            Stored::F32 => tensor.map(|b: &[u8; 4]| F::from_le(b)),
            _ => tensor.map(|b: &[u8; 8]| F::from_le(b)),
        };
        values.map(Some).map_err(|e| e.at(name))
    }

    /// The numbers of a tensor as `f64`, which hold all others exactly but for
    /// the largest integers; `None` where there is none of that name.
    ///
    /// # Errors
    /// Where its type is not read.
    pub fn get_f64(&self, name: &str) -> Result<Option<ArrayD<f64>>> {
        use safetensors::Dtype as Stored;
        let Some(tensor) = self.tensor(name) else {
            return Ok(None);
        };
        let values = match tensor.dtype {
            Stored::F16 => tensor.map(|b| f16(u16::from_le_bytes(*b)).into()),
            Stored::BF16 => tensor.map(|b| bf16(u16::from_le_bytes(*b)).into()),
            Stored::F32 => tensor.map(|b| f32::from_le_bytes(*b).into()),
            Stored::F64 => tensor.map(|b| f64::from_le_bytes(*b)),
            Stored::I8 if tensor.scales.is_some() => tensor.scaled(),
            Stored::BOOL | Stored::U8 => tensor.map(|b| u8::from_le_bytes(*b).into()),
            Stored::I8 => tensor.map(|b| i8::from_le_bytes(*b).into()),
            Stored::U16 => tensor.map(|b| u16::from_le_bytes(*b).into()),
            Stored::I16 => tensor.map(|b| i16::from_le_bytes(*b).into()),
            Stored::U32 => tensor.map(|b| u32::from_le_bytes(*b).into()),
            Stored::I32 => tensor.map(|b| i32::from_le_bytes(*b).into()),
            Stored::U64 => tensor.map(|b| u64::from_le_bytes(*b) as f64),
            Stored::I64 => tensor.map(|b| i64::from_le_bytes(*b) as f64),
            other => Err(Error::file(format!("{other} numbers are not read"))),
        };
        values.map(Some).map_err(|e| e.at(name))
    }

    /// A tensor as it is stored, row-major.
    pub(super) fn stored_tensor(&self, name: &str) -> Result<Option<Stored<'a>>> {
        let Some(tensor) = self.tensor(name) else {
            return Ok(None);
        };
        Ok(Some(Stored {
            dtype: tensor.dtype,
            shape: tensor.shape.clone(),
            bytes: tensor.row_major().map_err(|e| e.at(name))?,
            scales: tensor.scales.map(<[u8]>::to_vec),
        }))
    }

    /// The 64-bit integers of a tensor; `None` where there is none of that
    /// name.
    ///
    /// # Errors
    /// Where its type is not a 64-bit integer.
    pub fn get_i64(&self, name: &str) -> Result<Option<ArrayD<i64>>> {
        use safetensors::Dtype as Stored;
        let Some(tensor) = self.expect(name, Stored::I64)? else {
            return Ok(None);
        };
        let values = match tensor.dtype {
            Stored::U8 => tensor.map(|b| u8::from_le_bytes(*b).into()),
            Stored::I8 => tensor.map(|b| i8::from_le_bytes(*b).into()),
            Stored::U16 => tensor.map(|b| u16::from_le_bytes(*b).into()),
            Stored::I16 => tensor.map(|b| i16::from_le_bytes(*b).into()),
            Stored::U32 => tensor.map(|b| u32::from_le_bytes(*b).into()),
            Stored::I32 => tensor.map(|b| i32::from_le_bytes(*b).into()),
            _ => tensor.map(|b| i64::from_le_bytes(*b)),
        };
        values.map(Some).map_err(|e| e.at(name))
    }

    fn tensor(&self, name: &str) -> Option<&Tensor<'a>> {
        self.index.find(&self.tensors, name)
    }

    /// What a tensor counts as.
    fn dtype(&self, tensor: &Tensor<'_>) -> safetensors::Dtype {
        use safetensors::Dtype::{BF16, F16, F32, I8, I16, I32, I64, U8, U16, U32};
        match tensor.dtype {
            I8 if tensor.scales.is_some() => F32,
            F16 | BF16 if self.widened => F32,
            I8 | I16 | I32 | U8 | U16 | U32 if self.widened => I64,
            stored => stored,
        }
    }

    fn expect(&self, name: &str, expected: safetensors::Dtype) -> Result<Option<&Tensor<'a>>> {
        match self.tensor(name) {
            Some(tensor) if self.dtype(tensor) != expected => Err(Error::file(format!(
                "{name}: expected {expected} numbers, got {}",
                tensor.dtype
            ))),
            tensor => Ok(tensor),
        }
    }
}

/// A tensor in the bytes of a file.
#[derive(Debug)]
pub(super) struct Tensor<'a> {
    dtype: safetensors::Dtype,
    shape: Vec<usize>,
    /// Numbers from one place to the next along each axis; `None`: row-major.
    strides: Option<Vec<usize>>,
    /// From the first number on.
    data: &'a [u8],
    /// Of whole numbers: an `f32` for each row that it is multiplied with.
    scales: Option<&'a [u8]>,
}

impl<'a> Tensor<'a> {
    /// A tensor anywhere in a storage; strides and offset count numbers.
    pub(super) fn strided(
        dtype: safetensors::Dtype,
        shape: Vec<usize>,
        strides: Vec<usize>,
        offset: usize,
        storage: &'a [u8],
    ) -> Result<Self> {
        if strides.len() != shape.len() {
            return Err(Error::file(format!(
                "{} axes, but {} strides",
                shape.len(),
                strides.len()
            )));
        }
        let width = dtype.bitsize() / 8;
        let empty = shape.contains(&0);
        let steps = shape.iter().zip(&strides);
        // A sum that saturates is beyond every storage.
        let last = steps.fold(offset, |last, (side, stride)| {
            last.saturating_add(side.saturating_sub(1).saturating_mul(*stride))
        });
        let inside = last < storage.len() / width;
        if !empty && !inside {
            return Err(Error::file(format!(
                "shape {shape:?}, strides {strides:?} and offset {offset} reach beyond the storage of {} numbers",
                storage.len() / width
            )));
        }
        let data = if empty {
            None
        } else {
            storage.get(offset * width..)
        };
        Ok(Self {
            dtype,
            shape,
            strides: (!empty).then_some(strides),
            data: data.unwrap_or_default(),
            scales: None,
        })
    }

    /// Bytes of all its numbers; `None` where no memory holds them.
    pub(super) fn bytes(&self) -> Option<usize> {
        let mut sides = self.shape.iter();
        sides.try_fold(self.dtype.bitsize() / 8, |n, side| n.checked_mul(*side))
    }

    /// Its whole numbers times the scales of their rows.
    fn scaled<F: Float>(&self) -> Result<ArrayD<F>> {
        let (scales, _) = self.scales.unwrap_or_default().as_chunks();
        let mut values = self.map(|b| F::lit(i8::from_le_bytes(*b).into()))?;
        for (mut row, scale) in values.outer_iter_mut().zip(scales) {
            let scale = F::lit(f32::from_le_bytes(*scale).into());
            row.mapv_inplace(|x| x * scale);
        }
        Ok(values)
    }

    /// The bytes of its numbers, row-major.
    fn row_major(&self) -> Result<Cow<'a, [u8]>> {
        if self.strides.is_none() {
            return Ok(Cow::Borrowed(self.data));
        }
        fn copy<const N: usize>(tensor: &Tensor<'_>) -> Result<Vec<u8>> {
            let numbers = tensor.map(|number: &[u8; N]| *number)?;
            Ok(numbers.iter().flatten().copied().collect())
        }
        let bytes = match self.dtype.bitsize() {
            8 => copy::<1>(self),
            16 => copy::<2>(self),
            32 => copy::<4>(self),
            64 => copy::<8>(self),
            bits => Err(Error::file(format!("numbers of {bits} bits are not read"))),
        };
        bytes.map(Cow::Owned)
    }

    /// Its numbers of N bytes, each changed by `f`, row-major.
    fn map<const N: usize, T>(&self, f: impl Fn(&[u8; N]) -> T) -> Result<ArrayD<T>> {
        let (numbers, _) = self.data.as_chunks();
        let dim = IxDyn(&self.shape);
        let view = match &self.strides {
            Some(strides) => ArrayView::from_shape(dim.clone().strides(IxDyn(strides)), numbers),
            None => ArrayView::from_shape(dim.clone(), numbers),
        };
        let values = |view: ArrayViewD<'_, _>| view.iter().map(f).collect();
        view.and_then(|view| ArrayD::from_shape_vec(dim, values(view)))
            .map_err(|e| Error::file(format!("shape {:?}: {e}", self.shape)))
    }
}

/// The bytes of a safetensors file with these tensors and at most one entry of
/// metadata, so that the same contents are the same bytes.
///
/// # Errors
/// Where two tensors have the same name or one is named `__metadata__`, or
/// names and metadata together take more than the 1 MiB that is read.
pub fn write_tensors<'a, F: Float>(
    tensors: impl IntoIterator<Item = (String, ArrayViewD<'a, F>)>,
    metadata: Option<(&str, String)>,
) -> Result<Vec<u8>> {
    let mut entries: Vec<(String, Stored<'_>)> = Vec::new();
    for (name, array) in tensors {
        let mut bytes = Vec::with_capacity(array.len() * F::BYTES);
        array.iter().for_each(|x| x.push_le(&mut bytes));
        let stored = Stored {
            dtype: Dtype::stored::<F>(),
            shape: array.shape().to_vec(),
            bytes: Cow::Owned(bytes),
            scales: None,
        };
        entries.push((name, stored));
    }
    check_names(&entries)?;
    let metadata = metadata.map(|(key, value)| (key.to_owned(), value));
    header::write(entries, &metadata.into_iter().collect())
}

/// Refuses two tensors of one name.
pub(super) fn check_names(tensors: &[(String, Stored<'_>)]) -> Result<()> {
    let mut names: Vec<_> = tensors.iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    match names.windows(2).find(|w| w[0] == w[1]) {
        Some(pair) => Err(Error::file(format!("two tensors are named {}", pair[0]))),
        None => Ok(()),
    }
}

/// One tensor on its way into a file, row-major and little-endian.
#[derive(Debug, Clone)]
pub(super) struct Stored<'a> {
    pub(super) dtype: safetensors::Dtype,
    pub(super) shape: Vec<usize>,
    pub(super) bytes: Cow<'a, [u8]>,
    /// Of 8-bit whole numbers: an `f32` a row.
    pub(super) scales: Option<Vec<u8>>,
}

/// For the comparison with the format's own crate.
#[cfg(test)]
impl safetensors::View for Stored<'_> {
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
        assert!(e.to_string().contains("PyTorch file"), "{e}");
    }
}
