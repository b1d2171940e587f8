//! Reading small files, with a bound and errors that say what to do.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The contents of a file of at most `bytes_max`.
pub(crate) fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, FileError> {
    let file = File::open(path)?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(FileError::NotAFile);
    }
    // In one piece, so that erasing a key's text erases all of it.
    let mut bytes = Vec::with_capacity(usize::try_from(found.len().min(bytes_max)).unwrap_or(0) + 1);
    file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(FileError::TooLarge { bytes_max });
    }
    Ok(bytes)
}

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("there is no such file")]
    Missing,
    #[error("this user may not read it: give it to the user that runs headland-relay")]
    Denied,
    #[error("is not a file")]
    NotAFile,
    #[error("is over {bytes_max} bytes")]
    TooLarge { bytes_max: u64 },
    #[error("{0}")]
    Other(io::Error),
}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            io::ErrorKind::PermissionDenied => Self::Denied,
            _ => Self::Other(error),
        }
    }
}
