//! The header of a safetensors file: what its tensors are, and where.
//!
//! ```text
//! 8 bytes    length of the header, little-endian
//! header     JSON: {"__metadata__": {..}, NAME: {"dtype", "shape", "data_offsets"}, ..}
//! rest       the numbers, without gaps
//! ```

use super::tensors::Stored;
use super::torch;
use crate::{Error, Result};
use safetensors::tensor::{Dtype, TensorInfo};
use serde::de::{Deserializer, MapAccess, Visitor};
use std::collections::{BTreeMap, HashMap};
use std::fmt;

/// What a safetensors file says about itself, checked against its length:
/// places, sizes and shapes agree.
#[derive(Debug, Clone)]
pub struct Header {
    /// By their places in the file.
    pub(super) tensors: Vec<(String, TensorInfo)>,
    /// Where the scales of the rows of each tensor are, where it has some.
    pub(super) scales: Vec<Option<(usize, usize)>>,
    pub(super) index: Index,
    metadata: BTreeMap<String, String>,
    /// Where the numbers begin.
    pub(super) data: usize,
}

/// Bytes before the header, which hold its length.
const LENGTH: usize = 8;

/// The longest header that is read and written: thousands of tensors. The
/// format allows a hundred times as much, which would take seconds.
const LONGEST: usize = 1 << 20;

/// The entry of a header that is no tensor.
const METADATA: &str = "__metadata__";

impl Header {
    /// The bytes at the beginning of a file that [`len`](Self::len) looks at.
    pub const START: usize = LENGTH + 1;

    /// The bytes to read for [`parse`](Self::parse) from the beginning of a
    /// file of `file_len` bytes, told by its first [`START`](Self::START)
    /// bytes. A PyTorch file has no header: all of it is to be read.
    ///
    /// # Errors
    /// Where the file cannot be a safetensors or a PyTorch file.
    pub fn len(start: &[u8], file_len: u64) -> Result<usize> {
        let all = usize::try_from(file_len).unwrap_or(usize::MAX);
        if torch::is_torch(start) {
            return Ok(all);
        }
        let Some(length) = start.first_chunk::<LENGTH>() else {
            return Err(not(format!("it has {file_len} bytes")));
        };
        let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
        match length.checked_add(LENGTH) {
            Some(end) if end <= all && length <= LONGEST => Ok(end),
            Some(end) if end <= all => Err(not(format!(
                "its header would have {length} bytes; at most {LONGEST} are read"
            ))),
            _ => Err(not("its first 8 bytes give no length of a header")),
        }
    }

    /// Reads the header from the first bytes of a safetensors file; they may be
    /// all of it.
    ///
    /// # Errors
    /// Where the header is damaged or does not describe so many bytes.
    pub fn parse(bytes: &[u8], file_len: u64) -> Result<Self> {
        let data = Self::len(bytes, file_len)?;
        let json = bytes
            .get(LENGTH..data)
            .ok_or_else(|| not("its header is cut off"))?;
        let json = std::str::from_utf8(json).map_err(not)?;
        let mut json = serde_json::Deserializer::from_str(json);
        let mut parsed = json.deserialize_map(Entries).map_err(not)?;
        json.end().map_err(not)?;
        parsed
            .tensors
            .sort_by_key(|(_, info)| (info.data_offsets.0, info.data_offsets.1));
        let end = places(&parsed.tensors)?;
        let described = (data as u64).saturating_add(end as u64);
        if described != file_len {
            return Err(not(format!(
                "its header describes {described} bytes, the file has {file_len}; was it cut off?"
            )));
        }
        // Before some are taken away.
        Index::new(&parsed.tensors)?;
        let scales = take_scales(&mut parsed.tensors);
        Ok(Self {
            data,
            index: Index::new(&parsed.tensors)?,
            scales,
            ..parsed
        })
    }

    /// The metadata, by key.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Name, type in safetensors' words (`F32`) and shape of every tensor, in
    /// the order of the file.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = (&str, String, &[usize])> {
        let tensors = self.tensors.iter();
        tensors.map(|(name, info)| (&**name, info.dtype.to_string(), &info.shape[..]))
    }
}

/// Places of tensors, in the order of their names. Far cheaper to make than a
/// table of hashes, for which every name would be copied.
#[derive(Debug, Clone, Default)]
pub(super) struct Index(Vec<usize>);

impl Index {
    pub(super) fn new<T>(tensors: &[(String, T)]) -> Result<Self> {
        let mut places: Vec<_> = (0..tensors.len()).collect();
        places.sort_by(|a, b| tensors[*a].0.cmp(&tensors[*b].0));
        let twice = |w: &&[usize]| tensors[w[0]].0 == tensors[w[1]].0;
        match places.windows(2).find(twice) {
            Some(w) => Err(Error::file(format!(
                "two tensors are named {}",
                tensors[w[0]].0
            ))),
            None => Ok(Self(places)),
        }
    }

    /// The tensor of that name, among those that the index was made of.
    pub(super) fn find<'t, T>(&self, tensors: &'t [(String, T)], name: &str) -> Option<&'t T> {
        let at = self.0.binary_search_by(|at| match tensors.get(*at) {
            Some((other, _)) => other.as_str().cmp(name),
            None => std::cmp::Ordering::Greater,
        });
        Some(&tensors.get(*self.0.get(at.ok()?)?)?.1)
    }
}

/// The bytes of a safetensors file: the tensors by type, the widest first, then
/// by name, so that each lies at a multiple of its width; the same contents are
/// the same bytes.
///
/// # Errors
/// Where the header would be longer than is read, or a tensor has the name of
/// the metadata.
pub(super) fn write(
    mut tensors: Vec<(String, Stored<'_>)>,
    metadata: &BTreeMap<String, String>,
) -> Result<Vec<u8>> {
    tensors.sort_by(|(a, x), (b, y)| y.dtype.cmp(&x.dtype).then(a.cmp(b)));
    let failed = |e: serde_json::Error| Error::file(e.to_string());
    let mut entries = Vec::with_capacity(tensors.len() + 1);
    let mut entry = |name: &str, value: String| {
        let name = serde_json::to_string(name)?;
        entries.push(format!("{name}:{value}"));
        Ok(())
    };
    if !metadata.is_empty() {
        let json = serde_json::to_string(metadata).map_err(failed)?;
        entry(METADATA, json).map_err(failed)?;
    }
    let mut end = 0;
    for (name, tensor) in &tensors {
        if name == METADATA {
            return Err(Error::file(format!(
                "{METADATA}: a safetensors file keeps this name for its metadata; rename the tensor"
            )));
        }
        let info = TensorInfo {
            dtype: tensor.dtype,
            shape: tensor.shape.clone(),
            data_offsets: (end, end + tensor.bytes.len()),
        };
        end = info.data_offsets.1;
        let json = serde_json::to_string(&info).map_err(failed)?;
        entry(name, json).map_err(failed)?;
    }
    let mut header = format!("{{{}}}", entries.join(",")).into_bytes();
    header.resize(header.len().next_multiple_of(LENGTH), b' ');
    if header.len() > LONGEST {
        return Err(Error::file(format!(
            "the header of {} tensors and the metadata would have {} bytes, but a safetensors file with more than {LONGEST} is not read; write fewer tensors, or shorter names or metadata",
            tensors.len(),
            header.len()
        )));
    }
    let mut bytes = Vec::with_capacity(LENGTH + header.len() + end);
    bytes.extend((header.len() as u64).to_le_bytes());
    bytes.extend(header);
    for (_, tensor) in &tensors {
        bytes.extend_from_slice(&tensor.bytes);
    }
    Ok(bytes)
}

fn not(why: impl fmt::Display) -> Error {
    Error::file(format!("not a safetensors file: {why}"))
}

/// That tensors follow each other without gaps, each as large as its shape
/// says; gives the end of the last one.
fn places(tensors: &[(String, TensorInfo)]) -> Result<usize> {
    let mut end = 0;
    for (name, info) in tensors {
        let (from, to) = info.data_offsets;
        let wrong = |why: &str| Err(not(format!("{name}: {why}")));
        if from != end || to < from {
            return wrong(&format!(
                "its place {from}..{to} does not follow the tensor before it, which ends at {end}"
            ));
        }
        let mut sides = info.shape.iter();
        let numbers = sides.try_fold(1_usize, |n, side| n.checked_mul(*side));
        let size = numbers.and_then(|n| n.checked_mul(info.dtype.bitsize()));
        match size {
            None => return wrong(&format!("no file holds the shape {:?}", info.shape)),
            Some(bits) if bits % 8 != 0 || bits / 8 != to - from => {
                return wrong(&format!(
                    "{} numbers of shape {:?} do not take {} bytes",
                    info.dtype,
                    info.shape,
                    to - from
                ));
            }
            Some(_) => end = to,
        }
    }
    Ok(end)
}

/// What follows the name of a tensor of 8-bit whole numbers in that of the
/// scales of its rows.
pub(super) const SCALES: &str = "_scale";

/// Takes away the tensors that are the scales of another one's rows, and gives
/// their places beside the others.
fn take_scales(tensors: &mut Vec<(String, TensorInfo)>) -> Vec<Option<(usize, usize)>> {
    if !tensors.iter().any(|(_, info)| info.dtype == Dtype::I8) {
        return vec![None; tensors.len()];
    }
    let is_scale = |info: &TensorInfo| info.dtype == Dtype::F32 && info.shape.len() == 1;
    let of = |(name, info): &(String, TensorInfo)| {
        let base = name.strip_suffix(SCALES).filter(|_| is_scale(info))?;
        Some((base.to_owned(), (info.shape[0], info.data_offsets)))
    };
    let mut found: HashMap<_, _> = tensors.iter().filter_map(of).collect();
    // Those whose tensor is there.
    let mut taken = HashMap::new();
    for (name, info) in &*tensors {
        let whole = info.dtype == Dtype::I8 && info.shape.len() > 1;
        if let Some((rows, place)) = found.remove(name)
            && whole
            && rows == info.shape[0]
        {
            taken.insert(name.clone(), place);
        }
    }
    tensors.retain(|(name, info)| {
        let base = name.strip_suffix(SCALES).filter(|_| is_scale(info));
        !base.is_some_and(|base| taken.contains_key(base))
    });
    let names = tensors.iter();
    names.map(|(name, _)| taken.get(name).copied()).collect()
}

/// Reads the entries in one pass.
struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the tensors by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Header, A::Error> {
        let mut header = Header {
            tensors: Vec::new(),
            scales: Vec::new(),
            index: Index::default(),
            metadata: BTreeMap::new(),
            data: 0,
        };
        while let Some(name) = map.next_key::<String>()? {
            if name == METADATA {
                let metadata: Option<_> = map.next_value()?;
                header.metadata = metadata.unwrap_or_default();
            } else {
                header.tensors.push((name, map.next_value()?));
            }
        }
        Ok(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::borrow::Cow;
    use std::collections::HashMap;

    /// The reference is the crate of the format.
    #[test]
    fn the_bytes_are_those_of_the_reference() {
        let tensor = |dtype, shape: &[usize], bytes: &[u8]| Stored {
            dtype,
            shape: shape.to_vec(),
            bytes: Cow::Owned(bytes.to_vec()),
            scales: None,
        };
        let tensors = [
            ("b", tensor(Dtype::F16, &[3], &[1, 2, 3, 4, 5, 6])),
            ("\u{1}\"\u{e9}", tensor(Dtype::F64, &[], &[7; 8])),
            ("a", tensor(Dtype::F16, &[0, 2], &[])),
            ("c", tensor(Dtype::BOOL, &[1, 1], &[1])),
        ];
        let owned = || {
            tensors
                .iter()
                .map(|(n, t)| ((*n).to_owned(), t.clone()))
                .collect()
        };
        for metadata in [
            BTreeMap::new(),
            BTreeMap::from([("k".to_owned(), "v\n".to_owned())]),
        ] {
            let ours = write(owned(), &metadata).unwrap();
            let given: Option<HashMap<_, _>> = Some(metadata.clone().into_iter().collect())
                .filter(|m: &HashMap<_, _>| !m.is_empty());
            let theirs = safetensors::serialize(owned(), given).unwrap();
            assert_eq!(ours, theirs);
            let header = Header::parse(&ours, ours.len() as u64).unwrap();
            assert_eq!(*header.metadata(), metadata);
            assert_eq!(header.tensors().len(), 4);
        }
    }
}
