//! [`Lock`]: one process at a time uses a place of checkpoints.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

#[cfg(feature = "s3")]
use super::lease::Lease;
use crate::error::{Code, Diagnostic, Error, Result};

/// The file that is locked.
const LOCK: &str = "lock";

/// The place is ours as long as this lives.
#[derive(Debug)]
pub enum Lock {
    /// A folder: by a file that is locked. The operating system frees it when the process ends, however it ends.
    File {
        /// The file.
        _locked: File,
    },
    /// In S3: by a lease.
    #[cfg(feature = "s3")]
    Lease(Lease),
    /// By nothing: somebody else sees to it.
    #[cfg(feature = "s3")]
    None,
}

impl Lock {
    /// Makes sure that the place is still ours; asked before anything is written that others would go on from.
    pub fn confirm(&self) -> Result<()> {
        match self {
            Lock::File { .. } => Ok(()),
            #[cfg(feature = "s3")]
            Lock::Lease(lease) => lease.confirm(),
            #[cfg(feature = "s3")]
            Lock::None => Ok(()),
        }
    }

    /// Makes a folder ours, which people call `said`.
    pub fn of_folder(path: &Path, said: &Path) -> Result<Self> {
        let cannot = |error| Error::io(format!("cannot lock {}", said.display()), error);
        let mut options = File::options();
        let file = options.read(true).write(true).create(true).truncate(false);
        let mut file = file.open(path.join(LOCK)).map_err(cannot)?;
        match file.try_lock() {
            Ok(()) => {
                file.set_len(0).map_err(cannot)?;
                writeln!(file, "{}", std::process::id()).map_err(cannot)?;
                Ok(Lock::File { _locked: file })
            }
            Err(TryLockError::WouldBlock) => {
                let mut owner = String::new();
                let _ = file.rewind().and_then(|()| file.read_to_string(&mut owner));
                let owner = match owner.trim() {
                    "" => "another process".to_string(),
                    id => format!("process {id}"),
                };
                let message = format!("the folder {} is in use by {owner}", said.display());
                Err(Diagnostic::new(Code::StateInUse, message)
                    .hint("wait for it to end, or give this app a folder of its own")
                    .into())
            }
            Err(TryLockError::Error(error)) => Err(cannot(error)),
        }
    }
}
