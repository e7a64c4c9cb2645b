//! [`Rotated`]: a file that is put aside when it is large.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long to wait before a line is tried again.
pub const PAUSE: Duration = Duration::from_millis(200);

/// A file to which lines are added, and the ones before it: `<file>.1`, the newest, to `<file>.<keep>`.
pub struct Rotated {
    path: PathBuf,
    most: u64,
    keep: u32,
    /// None after an error: it is opened again.
    file: Option<File>,
    size: u64,
    /// Whether a part of a line may stand at the end.
    broken: bool,
}

impl Rotated {
    /// Opens it, or makes it. *Errors.* What the system says.
    pub fn open(path: &Path, most: u64, keep: u32) -> io::Result<Self> {
        let mut rotated = Rotated {
            path: path.to_path_buf(),
            most,
            keep,
            file: None,
            size: 0,
            broken: false,
        };
        rotated.reopen()?;
        Ok(rotated)
    }

    fn reopen(&mut self) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.create(true).append(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&self.path)?;
        #[cfg(unix)]
        {
            // One that was there already may be readable by others.
            use std::os::unix::fs::PermissionsExt;
            if file.metadata()?.is_file() {
                file.set_permissions(fs::Permissions::from_mode(0o600))?;
            }
        }
        self.size = file.metadata()?.len();
        self.file = Some(file);
        Ok(())
    }

    /// Adds a line, which ends with its end. *Errors.* What the system says; the line may be tried again.
    pub fn write(&mut self, line: &str) -> io::Result<()> {
        let outcome = self.try_write(line);
        if outcome.is_err() {
            self.file = None;
            self.broken = true;
        }
        outcome
    }

    fn try_write(&mut self, line: &str) -> io::Result<()> {
        if self.file.is_none() {
            self.reopen()?;
        }
        if self.size > 0 && self.size + line.len() as u64 > self.most {
            self.rotate()?;
        }
        let Some(file) = &mut self.file else {
            return Err(io::ErrorKind::NotFound.into());
        };
        if self.broken && self.size > 0 {
            file.write_all(b"\n")?;
        }
        file.write_all(line.as_bytes())?;
        self.broken = false;
        self.size += line.len() as u64;
        Ok(())
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    }

    fn rotate(&mut self) -> io::Result<()> {
        for number in (1..self.keep).rev() {
            let from = self.numbered(number);
            if from.exists() {
                fs::rename(from, self.numbered(number + 1))?;
            }
        }
        fs::rename(&self.path, self.numbered(1))?;
        self.reopen()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_put_aside_and_only_its_owner_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        fs::write(&path, "old\n").unwrap();
        let mut file = Rotated::open(&path, 8, 2).unwrap();
        for line in ["1\n", "2\n", "333\n", "444\n", "555\n", "666666666\n"] {
            file.write(line).unwrap();
        }
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(read("audit.jsonl"), "666666666\n");
        assert_eq!(
            (read("audit.jsonl.1"), read("audit.jsonl.2")),
            ("555\n".to_string(), "333\n444\n".to_string())
        );
        assert!(!folder.path().join("audit.jsonl.3").exists());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            for name in ["audit.jsonl", "audit.jsonl.1"] {
                let mode = fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
                assert_eq!(mode & 0o777, 0o600);
            }
        }
    }

    #[test]
    fn it_goes_on_when_the_folder_is_back() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        fs::create_dir(&inner).unwrap();
        let mut file = Rotated::open(&inner.join("a"), 4, 1).unwrap();
        file.write("1\n").unwrap();
        fs::remove_dir_all(&inner).unwrap();
        file.write("2\n").unwrap();
        assert!(file.write("333\n").is_err(), "there is nothing to put aside");
        assert!(file.write("333\n").is_err());
        fs::create_dir(&inner).unwrap();
        file.write("333\n").unwrap();
        assert_eq!(fs::read_to_string(inner.join("a")).unwrap(), "333\n");
    }
}
