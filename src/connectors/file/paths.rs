//! Which files `path` means.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// What tells a file from others while its name changes: device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileId {
    /// The device.
    pub device: u64,
    /// The inode on it.
    pub inode: u64,
}

impl FileId {
    /// Of a file's metadata.
    pub fn of(metadata: &Metadata) -> Self {
        FileId {
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }
}

/// A file that `path` means now.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its path.
    pub path: PathBuf,
    /// Its identity.
    pub id: FileId,
    /// Its length in bytes.
    pub length: u64,
}

/// What `path` says.
#[derive(Debug, Clone)]
pub enum Selection {
    /// One file or one directory; which of them shows when it is there.
    Plain(PathBuf),
    /// A glob.
    Glob(String),
}

impl Selection {
    /// Reads `path`; or why it is no glob. A path that exists as it is written is plain whatever it contains.
    pub fn parse(path: &str) -> Result<Self, String> {
        if !path.contains(['*', '?', '[']) || Path::new(path).exists() {
            return Ok(Selection::Plain(PathBuf::from(path)));
        }
        match glob::Pattern::new(path) {
            Ok(_) => Ok(Selection::Glob(path.to_string())),
            Err(error) => Err(format!("'{path}' is not a valid glob: {error}")),
        }
    }

    /// Whether regular files are meant, and not a pipe or a device.
    pub fn is_of_files(&self) -> bool {
        match self {
            Selection::Plain(path) => fs::metadata(path).is_ok_and(|metadata| metadata.is_file() || metadata.is_dir()),
            Selection::Glob(_) => true,
        }
    }

    /// The regular files meant now, sorted by name. A file that is missing or goes away meanwhile is left out.
    pub fn files(&self) -> Result<Vec<Found>> {
        let mut found = Vec::new();
        match self {
            Selection::Plain(path) => match look(path)? {
                Some(metadata) if metadata.is_dir() => directory(path, &mut found)?,
                // Pipes and devices may be named outright; in directories and globs only regular files count.
                Some(metadata) => found.push(entry(path.clone(), &metadata)),
                None => {}
            },
            Selection::Glob(pattern) => {
                let options = glob::MatchOptions {
                    require_literal_leading_dot: true,
                    ..glob::MatchOptions::new()
                };
                let paths = glob::glob_with(pattern, options).map_err(Error::failed)?;
                for path in paths {
                    match path {
                        Ok(path) => regular(path, &mut found)?,
                        Err(error) if error.error().kind() == io::ErrorKind::NotFound => {}
                        Err(error) => {
                            let path = error.path().display().to_string();
                            return Err(Error::io(format!("cannot list {path}"), error.into()));
                        }
                    }
                }
            }
        }
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }
}

fn directory(path: &Path, found: &mut Vec<Found>) -> Result<()> {
    let cannot = |error| Error::io(format!("cannot list {}", path.display()), error);
    for entry in fs::read_dir(path).map_err(cannot)? {
        let entry = entry.map_err(cannot)?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            regular(entry.path(), found)?;
        }
    }
    Ok(())
}

fn regular(path: PathBuf, found: &mut Vec<Found>) -> Result<()> {
    if let Some(metadata) = look(&path)?
        && metadata.is_file()
    {
        found.push(entry(path, &metadata));
    }
    Ok(())
}

fn entry(path: PathBuf, metadata: &Metadata) -> Found {
    Found {
        path,
        id: FileId::of(metadata),
        length: metadata.len(),
    }
}

/// The metadata of what a path leads to; `None` when there is nothing.
pub fn look(path: &Path) -> Result<Option<Metadata>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(format!("cannot read {}", path.display()), error)),
    }
}

/// The file of that identity in a directory, whatever its name.
pub fn with_id(directory: &Path, id: FileId) -> Result<Option<Found>> {
    let directory = match directory.as_os_str().is_empty() {
        true => Path::new("."),
        false => directory,
    };
    let cannot = |error| Error::io(format!("cannot list {}", directory.display()), error);
    if look(directory)?.is_none() {
        return Ok(None);
    }
    for file in fs::read_dir(directory).map_err(cannot)? {
        let path = file.map_err(cannot)?.path();
        if let Some(metadata) = look(&path)?
            && FileId::of(&metadata) == id
        {
            return Ok(Some(entry(path, &metadata)));
        }
    }
    Ok(None)
}
