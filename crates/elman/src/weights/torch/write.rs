//! A state_dict as `torch.save` writes it since PyTorch 1.6, in the words that
//! `torch.load(weights_only=True)` takes: an `OrderedDict` of tensors, each with
//! a storage of its own.

use super::super::tensors::Stored;
use crate::{Error, Result};
use safetensors::Dtype;

/// The archive's folder, as `torch.save` calls it where it has no file name.
const FOLDER: &str = "archive";

/// The most tensors: with the other entries, what a zip archive counts in 16
/// bits.
pub(in crate::weights) const MOST_TENSORS: usize = 65_531;

/// Storages begin at multiples of this, so that they can be mapped.
const ALIGNMENT: usize = 64;

/// The bytes of the archive.
pub(in crate::weights) fn write(tensors: &[(String, Stored<'_>)]) -> Result<Vec<u8>> {
    let pickle = pickle(tensors)?;
    let mut archive = Archive::default();
    archive.add("data.pkl", &pickle)?;
    archive.add("byteorder", b"little")?;
    for (key, (_, tensor)) in tensors.iter().enumerate() {
        archive.add(&format!("data/{key}"), &tensor.bytes)?;
    }
    archive.add("version", b"3\n")?;
    archive.finish()
}

/// PyTorch's name for a storage of such numbers.
fn storage(dtype: Dtype) -> Option<&'static str> {
    Some(match dtype {
        Dtype::F16 => "HalfStorage",
        Dtype::BF16 => "BFloat16Storage",
        Dtype::F32 => "FloatStorage",
        Dtype::F64 => "DoubleStorage",
        Dtype::I8 => "CharStorage",
        Dtype::I16 => "ShortStorage",
        Dtype::I32 => "IntStorage",
        Dtype::I64 => "LongStorage",
        Dtype::U8 => "ByteStorage",
        Dtype::BOOL => "BoolStorage",
        _ => return None,
    })
}

/// The state_dict, protocol 2. In the notation of Python's `pickletools`:
///
/// ```text
/// OrderedDict() { name: _rebuild_tensor_v2(
///     persistent('storage', torch.FloatStorage, key, 'cpu', count),
///     offset 0, shape, strides, requires_grad False, OrderedDict()), .. }
/// ```
fn pickle(tensors: &[(String, Stored<'_>)]) -> Result<Vec<u8>> {
    let mut out = b"\x80\x02ccollections\nOrderedDict\n)R(".to_vec();
    for (key, (name, tensor)) in tensors.iter().enumerate() {
        let Some(storage) = storage(tensor.dtype) else {
            return Err(Error::file(format!(
                "{name}: a PyTorch file is not written with {} numbers; keep the tensor in safetensors",
                tensor.dtype
            )));
        };
        let mut strides = vec![1_usize; tensor.shape.len()];
        for axis in (1..tensor.shape.len()).rev() {
            strides[axis - 1] = strides[axis].saturating_mul(tensor.shape[axis].max(1));
        }
        text(&mut out, name)?;
        out.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        text(&mut out, "storage")?;
        out.extend(format!("ctorch\n{storage}\n").as_bytes());
        text(&mut out, &key.to_string())?;
        text(&mut out, "cpu")?;
        int(&mut out, tensor.bytes.len() / (tensor.dtype.bitsize() / 8));
        out.extend(b"tQ");
        int(&mut out, 0);
        for sizes in [&tensor.shape, &strides] {
            out.push(b'(');
            sizes.iter().for_each(|size| int(&mut out, *size));
            out.push(b't');
        }
        out.extend(b"\x89ccollections\nOrderedDict\n)RtR");
    }
    out.extend(b"u.");
    Ok(out)
}

/// BINUNICODE.
fn text(out: &mut Vec<u8>, text: &str) -> Result<()> {
    let length = u32::try_from(text.len()).map_err(|_| Error::file("a name of 4 GB"))?;
    out.push(b'X');
    out.extend(length.to_le_bytes());
    out.extend(text.as_bytes());
    Ok(())
}

/// BININT where it fits, else LONG1.
fn int(out: &mut Vec<u8>, n: usize) {
    match i32::try_from(n) {
        Ok(n) => {
            out.push(b'J');
            out.extend(n.to_le_bytes());
        }
        Err(_) => {
            out.extend(b"\x8a\x09");
            out.extend((n as u64).to_le_bytes());
            out.push(0);
        }
    }
}

/// A zip archive of entries that are stored as they are.
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    directory: Vec<u8>,
    entries: u16,
}

impl Archive {
    fn add(&mut self, name: &str, data: &[u8]) -> Result<()> {
        let name = format!("{FOLDER}/{name}");
        let start = size(self.bytes.len())?;
        // An extra field fills up to where the data is to begin.
        let before = self.bytes.len() + 30 + name.len() + 4;
        let fill = before.next_multiple_of(ALIGNMENT) - before;
        let mut shared = Vec::new();
        let crc = crc32fast::hash(data);
        // Version needed, flags (names are UTF-8), stored, 1 January 1980.
        for field in [20_u16, 1 << 11, 0, 0, (1 << 5) | 1] {
            shared.extend(field.to_le_bytes());
        }
        for field in [crc, size(data.len())?, size(data.len())?] {
            shared.extend(field.to_le_bytes());
        }
        shared.extend((name.len() as u16).to_le_bytes());

        self.bytes.extend(b"PK\x03\x04");
        self.bytes.extend(&shared);
        self.bytes.extend((fill as u16 + 4).to_le_bytes());
        self.bytes.extend(name.as_bytes());
        self.bytes.extend(b"FB");
        self.bytes.extend((fill as u16).to_le_bytes());
        self.bytes.extend(std::iter::repeat_n(b'Z', fill));
        self.bytes.extend(data);

        self.directory.extend(b"PK\x01\x02\x14\0");
        self.directory.extend(&shared);
        // No extra field, comment, volume or attributes.
        self.directory.extend([0; 12]);
        self.directory.extend(start.to_le_bytes());
        self.directory.extend(name.as_bytes());
        self.entries = self.entries.checked_add(1).ok_or_else(too_large)?;
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<u8>> {
        let (start, length) = (size(self.bytes.len())?, size(self.directory.len())?);
        // What zip64 has a meaning for.
        if self.entries == u16::MAX {
            return Err(too_large());
        }
        self.bytes.append(&mut self.directory);
        self.bytes.extend(b"PK\x05\x06\0\0\0\0");
        self.bytes.extend(self.entries.to_le_bytes());
        self.bytes.extend(self.entries.to_le_bytes());
        self.bytes.extend(length.to_le_bytes());
        self.bytes.extend(start.to_le_bytes());
        self.bytes.extend([0; 2]);
        Ok(self.bytes)
    }
}

/// A size or place in a zip archive, which has 32 bits.
fn size(n: usize) -> Result<u32> {
    u32::try_from(n)
        .ok()
        .filter(|n| *n != u32::MAX)
        .ok_or_else(too_large)
}

pub(in crate::weights) fn too_large() -> Error {
    Error::file(
        "a PyTorch file of 4 GB, or of more than 65,531 tensors, is not written; use safetensors",
    )
}
