//! The format of `torch.save` before PyTorch 1.6: pickles one after another
//! (a magic number, the version of the format, facts about the machine, the
//! object, the keys of its storages), then for each key the count of numbers
//! in 8 bytes and the numbers.

use super::StateDict;
use super::pickle::{Pickle, Value};
use super::state_dict::Storage;
use crate::{Error, Result};
use std::collections::HashMap;

/// 0x1950a86a20f9469cfc6c as pickles write it.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// The bytes at the beginning that the magic number is within.
const NEAR: usize = 64;

/// The only version there has been.
const VERSION: i64 = 1001;

fn no_magic() -> Error {
    Error::file("a pickle, but not one that torch.save wrote: its magic number is missing")
}

/// Refuses what is no such file by its first bytes.
pub(super) fn check_start(start: &[u8]) -> Result<()> {
    let start = &start[..start.len().min(NEAR)];
    let mut windows = start.windows(MAGIC.len());
    if windows.any(|window| window == MAGIC) {
        Ok(())
    } else {
        Err(no_magic())
    }
}

/// Reads the file.
pub(super) fn read(bytes: &[u8]) -> Result<StateDict<'_>> {
    let mut rest = bytes;
    let mut next = |what: &str| {
        let (pickle, after) = Pickle::read(rest).map_err(|e| e.at(what))?;
        rest = after;
        Ok::<_, Error>(pickle)
    };
    let magic = next("magic number")?;
    if !matches!(magic.root(), Value::Bytes(bytes) if *bytes == MAGIC) {
        return Err(no_magic());
    }
    let version = next("version")?;
    if !matches!(version.root(), Value::Int(VERSION)) {
        return Err(Error::file(format!(
            "expected version {VERSION} of the format, got {}",
            version.root()
        )));
    }
    next("machine")?;
    let object = next("object")?;
    let keys = next("storage keys")?;
    let storages = storages(&object, &keys, rest)?;
    StateDict::find(&object, &storages, bytes.len())
}

/// The storages' bytes by key.
fn storages<'a>(
    object: &Pickle<'a>,
    keys: &Pickle<'a>,
    mut rest: &'a [u8],
) -> Result<HashMap<&'a str, &'a [u8]>> {
    // Only the object's pickle knows how wide a storage's numbers are.
    let mut expected = HashMap::new();
    for value in object.values() {
        if let Value::Storage(id) = value {
            let storage = Storage::read(object, *id)?;
            expected.insert(storage.key, storage);
        }
    }
    let Value::List(list) = keys.root() else {
        return Err(Error::file(format!(
            "storage keys: expected a list, got {}",
            keys.root()
        )));
    };
    let mut storages = HashMap::new();
    for key in list {
        let Value::Str(key) = keys.get(*key) else {
            return Err(Error::file(format!(
                "storage keys: expected strings, got {}",
                keys.get(*key)
            )));
        };
        let Some(storage) = expected.get(key) else {
            return Err(Error::file(format!(
                "storage keys: no tensor uses the storage {}",
                Value::Str(key)
            )));
        };
        let cut = || {
            Error::file(format!(
                "the file ends within the storage {key} of {} bytes; was it cut off?",
                storage.bytes
            ))
        };
        let (count, data) = rest.split_first_chunk::<8>().ok_or_else(cut)?;
        let count = u64::from_le_bytes(*count);
        if u64::try_from(storage.count) != Ok(count) {
            return Err(Error::file(format!(
                "storage {key}: expected {} numbers, got {count}",
                storage.count
            )));
        }
        let (data, after) = data.split_at_checked(storage.bytes).ok_or_else(cut)?;
        if storages.insert(*key, data).is_some() {
            return Err(Error::file(format!("two storages have the key {key}")));
        }
        rest = after;
    }
    if !rest.is_empty() {
        return Err(Error::file(format!(
            "{} bytes follow the last storage",
            rest.len()
        )));
    }
    Ok(storages)
}
