//! Writing files so that there is never half a file.

use crate::{Error, Result};
use std::io::Write;
use std::path::Path;

/// Writes a file under a temporary name in the same folder, syncs it, and
/// renames it: whatever happens, `path` is the old file or the new one. Where
/// it is a symbolic link, it stays one, and the file that it leads to is
/// written so.
///
/// # Errors
/// Where the folder cannot be written to, or `path` is a link that leads to no
/// file.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = |what: &str, e: &dyn std::fmt::Display| {
        Error::file(format!("{}: cannot {what}: {e}", path.display()))
    };
    let target;
    let path = if path.is_symlink() {
        target = std::fs::canonicalize(path).map_err(|e| failed("be followed", &e))?;
        &target
    } else {
        path
    };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".elman-");
    #[cfg(unix)]
    builder.permissions(permissions(path));
    let mut file = builder
        .tempfile_in(folder)
        .map_err(|e| failed("be written", &e))?;
    file.write_all(bytes)
        .and_then(|()| file.as_file().sync_all())
        .map_err(|e| failed("be written", &e))?;
    file.persist(path)
        .map_err(|e| failed("be put in place", &e.error))?;
    Ok(())
}

/// Those of the file that is replaced, or an ordinary new file's.
#[cfg(unix)]
fn permissions(path: &Path) -> std::fs::Permissions {
    use std::os::unix::fs::PermissionsExt;
    let old = std::fs::metadata(path).map(|m| m.permissions());
    // The system takes the user's mask off.
    old.unwrap_or_else(|_| std::fs::Permissions::from_mode(0o666))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write_atomically(&path, b"one").unwrap();
        write_atomically(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        let e = write_atomically(&folder.path().join("no/such"), b"").unwrap_err();
        assert!(e.is_file(), "{e}");
    }

    #[cfg(unix)]
    #[test]
    fn writes_where_a_link_leads() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir(path("sub")).unwrap();
        std::fs::write(path("sub/file"), b"one").unwrap();
        symlink("sub/file", path("link")).unwrap();
        symlink("link", path("second")).unwrap();
        write_atomically(&path("second"), b"two").unwrap();
        assert_eq!(std::fs::read(path("sub/file")).unwrap(), b"two");
        assert!(path("link").is_symlink() && path("second").is_symlink());
        symlink("nowhere", path("dangling")).unwrap();
        let e = write_atomically(&path("dangling"), b"").unwrap_err();
        assert!(e.to_string().contains("cannot be followed"), "{e}");
        assert!(path("dangling").is_symlink() && !path("nowhere").exists());
    }
}
