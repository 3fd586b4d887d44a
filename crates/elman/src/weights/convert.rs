//! From one kind of weights file to another, and the proof that nothing
//! changed.

use super::tensors::{Stored, check_names};
use super::{METADATA_KEY, TensorFile, header, torch};
use crate::float::half::{bf16, f16, to_bf16, to_f16};
use crate::{Error, Result};
use safetensors::Dtype;
use serde::Serialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

/// A kind of weights file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// safetensors.
    Safetensors,
    /// What `torch.save` writes of a state_dict.
    Torch,
}

impl Format {
    /// By the end of a file's name: `.safetensors`; `.pt`, `.pth`.
    pub fn of_path(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "safetensors" => Some(Self::Safetensors),
            "pt" | "pth" => Some(Self::Torch),
            _ => None,
        }
    }
}

/// How floating-point numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// 64 bits.
    F64,
    /// 32 bits.
    F32,
    /// IEEE half.
    F16,
    /// The upper half of 32 bits.
    Bf16,
    /// Matrices as whole numbers up to 127 and a 32-bit scale for each row,
    /// everything else in 32 bits. The recurrent layers compute with the whole
    /// numbers ([`Storage::Int8`](crate::params::Storage)).
    Int8,
}

impl Precision {
    fn dtype(self) -> Dtype {
        match self {
            Self::F64 => Dtype::F64,
            Self::F32 => Dtype::F32,
            Self::F16 => Dtype::F16,
            Self::Bf16 => Dtype::BF16,
            Self::Int8 => Dtype::I8,
        }
    }

    /// The nearest number of this precision, little-endian, and its value.
    fn nearest(self, x: f64, bytes: &mut Vec<u8>) -> f64 {
        let half = |bits: u16, value: f32, bytes: &mut Vec<u8>| {
            bytes.extend(bits.to_le_bytes());
            value.into()
        };
        match self {
            Self::F64 => {
                bytes.extend(x.to_le_bytes());
                x
            }
            Self::F32 | Self::Int8 => {
                bytes.extend((x as f32).to_le_bytes());
                (x as f32).into()
            }
            Self::F16 => half(to_f16(x), f16(to_f16(x)), bytes),
            Self::Bf16 => half(to_bf16(x), bf16(to_bf16(x)), bytes),
        }
    }
}

/// What changes on the way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConvertOptions {
    /// How floating-point numbers are stored; as they were unless set.
    pub precision: Option<Precision>,
    /// Taken away from the beginning of every name.
    pub prefix_strip: String,
    /// Put before every name, after that.
    pub prefix_add: String,
}

impl ConvertOptions {
    /// The new name of a tensor.
    ///
    /// # Errors
    /// Where the name does not begin with `prefix_strip`, or nothing is left of
    /// it.
    pub fn rename(&self, name: &str) -> Result<String> {
        let strip = &self.prefix_strip;
        match name.strip_prefix(strip.as_str()) {
            Some("") if !strip.is_empty() => Err(Error::option(format!(
                "{name}: nothing is left of the name without `{strip}`; strip less"
            ))),
            Some(rest) => Ok(format!("{}{rest}", self.prefix_add)),
            None => Err(Error::option(format!(
                "{name}: the name does not begin with `{strip}`, which is to be taken away; strip what all names begin with"
            ))),
        }
    }
}

/// What [`convert`] gives back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    /// The file.
    pub bytes: Vec<u8>,
    /// What is worth knowing: which part of a checkpoint was read, metadata
    /// that the format has no place for.
    pub notes: Vec<String>,
}

/// The file's tensors in another format. Tensors keep shapes and, but for
/// `options`, names and numbers; safetensors keeps metadata.
///
/// ```
/// use elman::ndarray::array;
/// use elman::weights::{
///     ConvertOptions, Format, TensorFile, compare, convert, write_tensors,
/// };
/// let bias = array![0.5_f32, -1.0].into_dyn();
/// let bytes = write_tensors([("bias".to_owned(), bias.view())], None)?;
/// let file = TensorFile::read(&bytes)?;
/// let options = ConvertOptions::default();
/// let torch = convert(&file, Format::Torch, &options)?;
/// let back = TensorFile::read(&torch.bytes)?;
/// assert!(compare(&file, &back, &options)?[0].bit_for_bit);
/// # Ok::<(), elman::Error>(())
/// ```
///
/// # Errors
/// Where the format has no such numbers, a finite number would become infinite,
/// two tensors get the same name, a model file of this crate is renamed, whose
/// metadata knows its names, or safetensors has no room for so many names or
/// none for one of them.
pub fn convert(
    file: &TensorFile<'_>,
    format: Format,
    options: &ConvertOptions,
) -> Result<Converted> {
    let own = file.metadata(METADATA_KEY).is_some();
    let renamed = !options.prefix_strip.is_empty() || !options.prefix_add.is_empty();
    if own && renamed && format == Format::Safetensors {
        return Err(Error::option(
            "a model file of elman finds its tensors by their names; convert it to a PyTorch file to rename them",
        ));
    }
    let names = file.names();
    if format == Format::Torch && names.len() > torch::MOST_TENSORS {
        return Err(torch::too_large());
    }
    let mut tensors = Vec::new();
    for name in names {
        let Some(stored) = file.stored_tensor(name)? else {
            continue;
        };
        let stored = match options.precision {
            Some(Precision::Int8) if stored.scales.is_some() => stored,
            Some(Precision::Int8) if is_float(stored.dtype) && stored.shape.len() == 2 => {
                whole(file, name, stored)?
            }
            Some(Precision::Int8) if is_float(stored.dtype) => {
                narrow(file, name, stored, Precision::F32)?
            }
            Some(precision) if stored.is_float() && stored.dtype != precision.dtype() => {
                narrow(file, name, stored, precision)?
            }
            _ => stored,
        };
        if stored.scales.is_some() && format == Format::Torch {
            return Err(Error::option(format!(
                "{name}: a PyTorch file has no place for the scales of int8; write a .safetensors file, or choose a wider type"
            )));
        }
        tensors.push((options.rename(name)?, stored));
    }
    if tensors.is_empty() {
        return Err(Error::file("the file has no tensors"));
    }
    let scales: Vec<_> = tensors.iter_mut().filter_map(scales_of).collect();
    tensors.extend(scales);
    check_names(&tensors)?;
    let mut notes = Vec::new();
    if let Some(place) = file.place() {
        notes.push(format!(
            "the tensors at `{place}` are converted; the rest of the file is left out"
        ));
    }
    let bytes = match format {
        Format::Safetensors => {
            let mut metadata = file.all_metadata().clone();
            if metadata.is_empty() {
                // Transformers asks which framework a file is for.
                metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
            }
            header::write(tensors, &metadata)?
        }
        Format::Torch => {
            let keys = file.all_metadata().keys().filter(|key| *key != "format");
            let keys: Vec<_> = keys.map(|key| format!("`{key}`")).collect();
            if !keys.is_empty() {
                notes.push(format!(
                    "the metadata {} is left out: a state_dict in a PyTorch file has no place for it; keep the safetensors file beside it",
                    keys.join(", ")
                ));
            }
            torch::write(&tensors)?
        }
    };
    Ok(Converted { bytes, notes })
}

fn is_float(dtype: Dtype) -> bool {
    matches!(dtype, Dtype::F64 | Dtype::F32 | Dtype::F16 | Dtype::BF16)
}

impl Stored<'_> {
    /// Whether it holds floating-point numbers, scaled ones among them.
    fn is_float(&self) -> bool {
        is_float(self.dtype) || self.scales.is_some()
    }
}

/// Takes the scales of a tensor, as one of their own.
fn scales_of((name, stored): &mut (String, Stored<'_>)) -> Option<(String, Stored<'static>)> {
    let scales = stored.scales.take()?;
    let scales = Stored {
        dtype: Dtype::F32,
        shape: stored.shape[..1].to_vec(),
        bytes: Cow::Owned(scales),
        scales: None,
    };
    Some((format!("{name}{}", header::SCALES), scales))
}

/// The largest whole number of 8 bits that is used.
const LARGEST: f64 = 127.0;

/// A matrix as whole numbers and the scales of its rows.
fn whole<'a>(file: &TensorFile<'a>, name: &str, stored: Stored<'a>) -> Result<Stored<'a>> {
    let values = file.get_f64(name)?.unwrap_or_default();
    let (mut bytes, mut scales) = (Vec::with_capacity(values.len()), Vec::new());
    for row in values.outer_iter() {
        if let Some(x) = row.iter().find(|x| !x.is_finite()) {
            return Err(Error::file(format!(
                "{name}: {x} is no number of 8 bits times a scale; choose another type"
            )));
        }
        let most = row.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
        let scale = (most / LARGEST) as f32;
        if scale.is_infinite() {
            return Err(Error::file(format!(
                "{name}: {most:e} is beyond the largest F32 number; choose a wider type"
            )));
        }
        scales.extend(scale.to_le_bytes());
        bytes.extend(row.iter().map(|x| {
            let x = match scale.is_normal() {
                true => (x / f64::from(scale)).round_ties_even(),
                false => 0.0,
            };
            x.clamp(-LARGEST, LARGEST) as i8 as u8
        }));
    }
    Ok(Stored {
        dtype: Dtype::I8,
        bytes: Cow::Owned(bytes),
        scales: Some(scales),
        ..stored
    })
}

fn narrow<'a>(
    file: &TensorFile<'a>,
    name: &str,
    stored: Stored<'a>,
    precision: Precision,
) -> Result<Stored<'a>> {
    let values = file.get_f64(name)?.unwrap_or_default();
    let mut bytes = Vec::with_capacity(values.len() * precision.dtype().bitsize() / 8);
    for x in &values {
        let got = precision.nearest(*x, &mut bytes);
        if x.is_finite() && !got.is_finite() {
            return Err(Error::file(format!(
                "{name}: {x:e} is beyond the largest {} number; choose a wider type",
                precision.dtype()
            )));
        }
    }
    Ok(Stored {
        dtype: precision.dtype(),
        bytes: Cow::Owned(bytes),
        scales: None,
        ..stored
    })
}

/// A tensor in two files.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Compared {
    /// Its name in the first file.
    pub name: String,
    /// Its name in the second file.
    pub renamed: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// What it is stored as in the first file, in safetensors' words: `F32`.
    pub from: String,
    /// What it is stored as in the second file.
    pub to: String,
    /// Whether type and bytes are the same.
    pub bit_for_bit: bool,
    /// max|a - b|; infinite where a NaN or an infinity is on one side only.
    pub largest_absolute: f64,
    /// max|a - b| / max|a|, the latter over the finite numbers of the first
    /// file; max|a - b| where these are all zero.
    pub largest_relative: f64,
}

/// |a - b|: 0 where both are NaN or the same infinity, infinite where one of
/// them is.
pub(crate) fn difference(a: f64, b: f64) -> f64 {
    if a == b || a.is_nan() && b.is_nan() {
        return 0.0;
    }
    let difference = (a - b).abs();
    if difference.is_nan() {
        f64::INFINITY
    } else {
        difference
    }
}

/// Every tensor of `a` beside the one of `b` that has its new name.
///
/// # Errors
/// Where a tensor is missing in `b`, is there and not in `a`, or has another
/// shape.
pub fn compare(
    a: &TensorFile<'_>,
    b: &TensorFile<'_>,
    options: &ConvertOptions,
) -> Result<Vec<Compared>> {
    let (ours, theirs) = (a.names(), b.names());
    if ours.len() != theirs.len() {
        return Err(Error::file(format!(
            "expected {} tensors, got {}",
            ours.len(),
            theirs.len()
        )));
    }
    let compared = ours.into_iter().map(|name| {
        let renamed = options.rename(name)?;
        let missing = || Error::file(format!("{renamed}: the tensor is missing"));
        let x = a.stored_tensor(name)?.ok_or_else(missing)?;
        let y = b.stored_tensor(&renamed)?.ok_or_else(missing)?;
        if x.shape != y.shape {
            return Err(Error::file(format!(
                "{renamed}: expected shape {:?}, got {:?}",
                x.shape, y.shape
            )));
        }
        let bit_for_bit = x.dtype == y.dtype && x.bytes == y.bytes && x.scales == y.scales;
        let (mut largest, mut scale) = (0.0_f64, 0.0_f64);
        if !bit_for_bit {
            let values = |file: &TensorFile<'_>, name: &str| {
                Ok::<_, Error>(file.get_f64(name)?.unwrap_or_default())
            };
            for (x, y) in values(a, name)?.iter().zip(&values(b, &renamed)?) {
                largest = largest.max(difference(*x, *y));
                scale = scale.max(if x.is_finite() { x.abs() } else { 0.0 });
            }
        }
        Ok(Compared {
            name: name.to_owned(),
            shape: x.shape,
            from: x.dtype.to_string(),
            to: y.dtype.to_string(),
            bit_for_bit,
            largest_absolute: largest,
            largest_relative: if scale > 0.0 {
                largest / scale
            } else {
                largest
            },
            renamed,
        })
    });
    compared.collect()
}
