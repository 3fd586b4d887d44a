//! From a path to text: what can be refused before anything is parsed.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use crate::{Error, Result};

/// What is read before the rest, to refuse what is no text early.
const HEAD: u64 = 64 * 1024;

/// First bytes of files that are not tables of text, and what to do.
const FOREIGN: [(&[u8], &str); 8] = [
    (
        b"PK\x03\x04",
        "this is a spreadsheet or a zip archive; save it as CSV",
    ),
    (
        b"\xD0\xCF\x11\xE0",
        "this is an old spreadsheet; save it as CSV",
    ),
    (
        b"\x1F\x8B",
        "this file is compressed; unpack it first (gunzip)",
    ),
    (b"BZh", "this file is compressed; unpack it first (bunzip2)"),
    (
        b"\x28\xB5\x2F\xFD",
        "this file is compressed; unpack it first (unzstd)",
    ),
    (b"PAR1", "this is a Parquet file; save it as CSV"),
    (b"\xFF\xFE", "this text is UTF-16; save it as UTF-8"),
    (b"\xFE\xFF", "this text is UTF-16; save it as UTF-8"),
];

/// Reads a whole file.
pub(super) fn load(path: &Path) -> Result<Vec<u8>> {
    let unreadable = |e: std::io::Error| {
        Error::input(match e.kind() {
            ErrorKind::NotFound => "there is no such file; check the path".to_string(),
            ErrorKind::IsADirectory => "this is a folder; name a CSV file in it".to_string(),
            ErrorKind::PermissionDenied => "reading it is not permitted".to_string(),
            _ => format!("cannot be read: {e}"),
        })
    };
    let mut file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.by_ref()
        .take(HEAD)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    refuse_foreign(&bytes)?;
    file.read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

/// The text of a file without its byte order mark.
pub(super) fn text(mut bytes: Vec<u8>) -> Result<String> {
    refuse_foreign(&bytes)?;
    if bytes.starts_with(b"\xEF\xBB\xBF") {
        bytes.drain(..3);
    }
    String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        let (line, column) = place(e.as_bytes(), at);
        let byte = e.as_bytes().get(at).copied().unwrap_or(0);
        Error::input(format!(
            "line {line}, byte {column} of it: 0x{byte:02X} is not UTF-8; save the file as UTF-8"
        ))
    })
}

fn refuse_foreign(bytes: &[u8]) -> Result<()> {
    if let Some((_, why)) = FOREIGN.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Err(Error::input(*why));
    }
    if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
        let (line, column) = place(bytes, at);
        return Err(Error::input(format!(
            "line {line}, byte {column} of it: a zero byte, so this is no text; expected a CSV file"
        )));
    }
    Ok(())
}

/// Line and byte within the line, both counted from 1.
fn place(bytes: &[u8], at: usize) -> (usize, usize) {
    let before = bytes.get(..at).unwrap_or(bytes);
    let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
    let start = before
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |newline| newline + 1);
    (line, at - start + 1)
}
