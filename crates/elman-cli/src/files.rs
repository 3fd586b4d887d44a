//! The files a command writes: which names it may use, and how a file gets
//! there whole or not at all.

use crate::failure::Failure;
use crate::weights;
use elman::weights::write_atomically;
use elman_forecast::outcome::ForecastRow;
use elman_forecast::report;
use serde::Serialize;
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// The first line of `forecast.csv`, by which it is recognised: the names of a
/// forecast row.
const HEADER: [&str; 6] = ["time", "value", "lo_80", "hi_80", "lo_95", "hi_95"];

/// A file written under a fixed name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum File {
    Forecast,
    Report,
    Model,
}

impl File {
    fn name(self) -> &'static str {
        match self {
            Self::Forecast => "forecast.csv",
            Self::Report => "report.html",
            Self::Model => "model.safetensors",
        }
    }

    /// Whether the file at `path` was written as this kind of file by elman.
    fn is_own(self, path: &Path) -> io::Result<bool> {
        Ok(match self {
            Self::Forecast => {
                let mut line = Vec::new();
                BufReader::new(fs::File::open(path)?)
                    .take(256)
                    .read_until(b'\n', &mut line)?;
                line.trim_ascii() == HEADER.join(",").as_bytes()
            }
            Self::Report => {
                let mut start = Vec::new();
                fs::File::open(path)?.take(65536).read_to_end(&mut start)?;
                report::is_elman_report(&start)
            }
            Self::Model => weights::read(path).is_ok_and(|header| header.is_own()),
        })
    }
}

/// A folder whose files may be written.
#[derive(Debug)]
pub struct Folder(PathBuf);

/// The paths of the files that were written.
#[derive(Debug, Default, Serialize)]
pub struct Written {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forecast: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

impl Folder {
    /// Makes sure that `files` can be written into `dir`, which need not exist
    /// yet, without loss: a file of the same name has to be elman's own, or
    /// `force` given, and none may be one of `inputs`.
    pub fn claim(
        dir: &Path,
        files: &[File],
        force: bool,
        inputs: &[&Path],
    ) -> Result<Self, Failure> {
        let folder = Self(dir.to_owned());
        for file in files {
            let path = folder.path(*file);
            if inputs.iter().any(|input| same(input, &path)) {
                return Err(Failure::Input(format!(
                    "{}: this input would be replaced by the output; name another folder with --out",
                    path.display()
                )));
            }
            if path.is_dir() {
                return Err(Failure::Input(format!(
                    "{}: a folder is in the way of the file; name another folder with --out",
                    path.display()
                )));
            }
            if is_dangling(&path) {
                return Err(Failure::Input(format!("{}: {DANGLING}", path.display())));
            }
            let own = path.is_file() && file.is_own(&path).unwrap_or(false);
            if path.exists() && !own && !force {
                return Err(Failure::Input(format!(
                    "{}: this file was not written by elman; --force replaces it, --out DIR writes elsewhere",
                    path.display()
                )));
            }
        }
        check_writable(&folder.path(File::Forecast))?;
        Ok(folder)
    }

    /// Where a file of this folder is.
    pub fn path(&self, file: File) -> PathBuf {
        if self.0 == Path::new(".") {
            PathBuf::from(file.name())
        } else {
            self.0.join(file.name())
        }
    }

    /// Writes the file whole or not at all; gives its path.
    pub fn write(&self, file: File, bytes: &[u8]) -> Result<String, Failure> {
        let path = self.path(file);
        create_folder_of(&path)?;
        write(&path, bytes)?;
        Ok(path.display().to_string())
    }
}

/// Whether the page at `path` was written by elman.
pub fn is_own_page(path: &Path) -> bool {
    File::Report.is_own(path).unwrap_or(false)
}

/// The forecast as CSV: the first line names the columns, an undefined bound
/// is empty, numbers have all their digits.
pub fn forecast_csv(rows: &[ForecastRow]) -> Result<Vec<u8>, Failure> {
    let write = || -> Result<Vec<u8>, csv::Error> {
        let mut csv = csv::WriterBuilder::new()
            .has_headers(false)
            .from_writer(Vec::new());
        csv.write_record(HEADER)?;
        for row in rows {
            csv.serialize(row)?;
        }
        csv.into_inner().map_err(|e| e.into_error().into())
    };
    write().map_err(|e| Failure::Work(format!("{}: {e}", File::Forecast.name())))
}

/// Whether two paths lead to the same file.
pub fn same(a: &Path, b: &Path) -> bool {
    match (fs::canonicalize(a), fs::canonicalize(b)) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

/// Why nothing is written through such a link.
pub const DANGLING: &str =
    "this is a symbolic link that leads to no file; remove it or name another place";

/// Whether a path is a symbolic link that leads to no file.
pub fn is_dangling(path: &Path) -> bool {
    path.is_symlink() && !path.exists()
}

/// Makes sure that a file can be made at `path`, or where it leads if it is a
/// link: in its folder or, where that
/// is missing, in the nearest folder above it. Leaves nothing behind.
pub fn check_writable(path: &Path) -> Result<(), Failure> {
    let target = fs::canonicalize(path);
    let folder = folder_of(target.as_deref().unwrap_or(path))
        .ancestors()
        .find(|folder| folder.exists())
        .unwrap_or(Path::new("."));
    let refused = |why: &dyn std::fmt::Display| {
        Failure::Input(format!(
            "{}: cannot write here ({why}); name another place",
            folder.display()
        ))
    };
    if !folder.is_dir() {
        return Err(refused(&"it is not a folder"));
    }
    let trial = tempfile::Builder::new()
        .prefix(".elman-")
        .tempfile_in(folder);
    trial.map(drop).map_err(|e| refused(&e))
}

/// Makes the folder of the file `path` where it is missing.
pub fn create_folder_of(path: &Path) -> Result<(), Failure> {
    let folder = folder_of(path);
    fs::create_dir_all(folder).map_err(|e| Failure::Work(format!("{}: {e}", folder.display())))
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Writes a file whole or not at all.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    write_atomically(path, bytes).map_err(|e| Failure::Work(e.to_string()))
}
