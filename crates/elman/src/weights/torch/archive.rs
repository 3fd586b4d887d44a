//! The zip archive of `torch.save` since PyTorch 1.6:
//!
//! ```text
//! NAME/data.pkl     the pickle; a storage is named there by its key
//! NAME/data/KEY     the bytes of a storage
//! NAME/byteorder    `little` or `big`
//! NAME/version ..   not needed
//! ```
//!
//! Nothing is compressed, so a storage is a slice of the file. Whatever a zip
//! archive may hold beyond that (compression, encryption, several volumes,
//! comments, names that lead elsewhere) PyTorch does not write, and it is
//! refused.

use super::StateDict;
use super::pickle::Pickle;
use crate::{Error, Result};
use std::collections::HashMap;

/// Reads the archive.
pub(super) fn read(bytes: &[u8]) -> Result<StateDict<'_>> {
    let entries = entries(bytes)?;
    if entries.contains_key("constants.pkl") {
        return Err(Error::file(
            "an archive of torch.jit.save holds a program; save the module's state_dict() with torch.save",
        ));
    }
    match entries.get("byteorder") {
        None | Some(&b"little") => {}
        Some(other) => {
            return Err(Error::file(format!(
                "byteorder: expected little, got {}; save it again on a little-endian machine",
                String::from_utf8_lossy(&other[..other.len().min(16)])
            )));
        }
    }
    let Some(pickle) = entries.get("data.pkl") else {
        return Err(Error::file(
            "the archive has no entry data.pkl: torch.save did not write it",
        ));
    };
    let (pickle, _) = Pickle::read(pickle).map_err(|e| e.at("data.pkl"))?;
    let storages = entries.into_iter();
    let storages = storages.filter_map(|(name, data)| Some((name.strip_prefix("data/")?, data)));
    StateDict::find(&pickle, &storages.collect(), bytes.len())
}

/// Sizes of the fixed parts of the format's records.
const LOCAL: usize = 30;
const CENTRAL: usize = 46;
const END: usize = 22;

fn cut() -> Error {
    Error::file("the archive does not end with its directory: was it cut off, or added to?")
}

/// Refuses bytes that are not the end of an archive; gives the record there.
fn end_record(bytes: &[u8]) -> Result<&[u8]> {
    let end = bytes.len().checked_sub(END).and_then(|at| bytes.get(at..));
    end.filter(|end| end.starts_with(b"PK\x05\x06") && u16_at(end, 20) == Some(0))
        .ok_or_else(cut)
}

/// Refuses what is no archive by the last bytes of the file.
pub(super) fn check_end(end: &[u8]) -> Result<()> {
    end_record(end).map(drop)
}

/// The entries by their names below the archive's one folder.
fn entries(bytes: &[u8]) -> Result<HashMap<&str, &[u8]>> {
    let end = end_record(bytes)?;
    let end_at = bytes.len() - END;
    let (count, size, start) = match (u16_at(end, 10), u32_at(end, 12), u32_at(end, 16)) {
        (Some(0xffff), ..) | (_, Some(0xffff_ffff), _) | (.., Some(0xffff_ffff)) => {
            return Err(Error::file(
                "the archive is a zip64 one (4 GB or more), which is not read; save as safetensors",
            ));
        }
        (Some(count), Some(size), Some(start)) => (count, size, start),
        _ => return Err(cut()),
    };
    let mut directory = start
        .checked_add(size)
        .filter(|end| *end <= end_at)
        .and_then(|end| bytes.get(start..end))
        .ok_or_else(|| Error::file("the archive's directory lies outside of the file"))?;

    let mut folder = None;
    let mut entries = HashMap::new();
    let mut places = Vec::new();
    while !directory.is_empty() {
        let entry = Entry::read(&mut directory)?;
        let (place, data) = entry
            .locate(&bytes[..start])
            .map_err(|e| e.at(entry.name))?;
        let (first, name) = entry.split()?;
        if *folder.get_or_insert(first) != first {
            return Err(Error::file(format!(
                "the archive has several folders: {} and {first}",
                folder.unwrap_or_default()
            )));
        }
        if entries.insert(name, data).is_some() {
            return Err(Error::file(format!("two entries are named {name}")));
        }
        places.push((place, entry.name));
    }
    if entries.len() != usize::from(count) {
        return Err(Error::file(format!(
            "the archive's directory has {} entries, {count} are expected",
            entries.len()
        )));
    }
    places.sort_unstable_by_key(|((start, _), _)| *start);
    match places.windows(2).find(|w| w[0].0.1 > w[1].0.0) {
        Some(pair) => Err(Error::file(format!(
            "the entries {} and {} overlap",
            pair[0].1, pair[1].1
        ))),
        None => Ok(entries),
    }
}

/// What the directory says of an entry.
struct Entry<'a> {
    name: &'a str,
    header: usize,
    size: usize,
    crc: u32,
}

impl<'a> Entry<'a> {
    /// Reads the first record and moves on to the next.
    fn read(directory: &mut &'a [u8]) -> Result<Self> {
        let damaged = || Error::file("the archive's directory is damaged");
        let (fixed, rest) = directory.split_at_checked(CENTRAL).ok_or_else(damaged)?;
        let length = |at| u16_at(fixed, at).map(usize::from).ok_or_else(damaged);
        let number = |at| u32_at(fixed, at).ok_or_else(damaged);
        if !fixed.starts_with(b"PK\x01\x02") {
            return Err(damaged());
        }
        let (name, rest) = rest.split_at_checked(length(28)?).ok_or_else(damaged)?;
        let more = length(30)? + length(32)?;
        *directory = rest.get(more..).ok_or_else(damaged)?;
        let name = std::str::from_utf8(name)
            .map_err(|_| Error::file("the name of an entry is not UTF-8"))?;
        let refused = |what: &str| Err(Error::file(format!("{name}: the entry is {what}")));
        if length(8)? & 1 != 0 {
            return refused("encrypted, which is not read");
        }
        if length(10)? != 0 {
            return refused("compressed; torch.save stores entries as they are, save it again");
        }
        let size = number(24)?;
        if number(20)? != size {
            return refused("stored, but has two different sizes");
        }
        if length(34)? != 0 {
            return refused("in another volume of the archive");
        }
        Ok(Self {
            name,
            header: number(42)?,
            size,
            // As wide as it is stored.
            crc: number(16)? as u32,
        })
    }

    /// The place of the entry with its header among the entries, and its data.
    fn locate(&self, bytes: &'a [u8]) -> Result<((usize, usize), &'a [u8])> {
        let outside = || Error::file("the entry lies outside of the archive");
        let header = bytes.get(self.header..).ok_or_else(outside)?;
        let (fixed, rest) = header.split_at_checked(LOCAL).ok_or_else(outside)?;
        let length = |at| u16_at(fixed, at).map(usize::from).ok_or_else(outside);
        let names = length(26)?;
        if !fixed.starts_with(b"PK\x03\x04") || rest.get(..names) != Some(self.name.as_bytes()) {
            return Err(Error::file(
                "the entry's header is not where the directory has it",
            ));
        }
        let before = names + length(28)?;
        let data = rest.get(before..).ok_or_else(outside)?;
        let data = data.get(..self.size).ok_or_else(outside)?;
        // 0: PyTorch was told to leave the checksum out (set_crc32_options).
        if self.crc != 0 && self.crc != crc32fast::hash(data) {
            return Err(Error::file("the entry is damaged: its checksum differs"));
        }
        let end = self.header + LOCAL + before + self.size;
        Ok(((self.header, end), data))
    }

    /// The first folder of the name, and the rest.
    fn split(&self) -> Result<(&'a str, &'a str)> {
        let plain = |part: &str| !matches!(part, "" | "." | "..");
        let parts = self
            .name
            .split_once('/')
            .filter(|_| self.name.split('/').all(plain) && !self.name.contains(['\\', ':', '\0']));
        parts.ok_or_else(|| {
            Error::file(format!(
                "the entry {:?} has no name that torch.save would give",
                self.name
            ))
        })
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_le_bytes(*bytes))
}

/// A 32-bit number, for use as a size.
fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    usize::try_from(u32::from_le_bytes(*bytes)).ok()
}
