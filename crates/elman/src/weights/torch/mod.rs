//! PyTorch's own files: what `torch.save` writes, from a state_dict or a
//! checkpoint that holds one.
//!
//! The file is never trusted and never run: its pickle is read as a tree
//! ([`pickle`]), and only a `state_dict`'s own words are known there.

mod archive;
mod legacy;
mod pickle;
mod state_dict;
mod write;

use super::tensors::Tensor;
use crate::Result;

pub(super) use state_dict::StateDict;
pub(super) use write::{MOST_TENSORS, too_large, write};

/// True where the bytes begin as a zip archive or an empty one. As the length
/// of a safetensors header these four are 67 MB or more, above any that is
/// read; the first two alone are not.
fn is_zip(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06")
}

/// True where the bytes begin as a PyTorch file does: as a zip archive, or as
/// a pickle where no safetensors header can follow, which begins with a brace
/// after eight bytes.
pub(super) fn is_torch(bytes: &[u8]) -> bool {
    is_zip(bytes) || (bytes.starts_with(b"\x80") && bytes.get(8) != Some(&b'{'))
}

/// Refuses a file by what it begins and ends with.
pub(super) fn check_ends(start: &[u8], end: &[u8]) -> Result<()> {
    let checked = if is_zip(start) {
        archive::check_end(end)
    } else {
        legacy::check_start(start)
    };
    checked.map_err(|e| e.at("PyTorch file"))
}

/// The tensors of the file.
pub(super) fn read(bytes: &[u8]) -> Result<StateDict<'_>> {
    let read = if is_zip(bytes) {
        archive::read(bytes)
    } else {
        legacy::read(bytes)
    };
    read.map_err(|e| e.at("PyTorch file"))
}
