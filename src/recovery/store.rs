//! [`Store`]: where the objects of checkpoints are kept, by way of the `object_store` crate.
//!
//! Today that is a local folder; the crate knows S3 and its kin as well, and only [`Store::local`] and [`Store::sync`] know which
//! it is. Calls block: they are made on threads that have nothing else to do.

use std::fs::{self, File};
use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};

use super::cipher::Cipher;
use super::folder::CHECKPOINTS;
use super::object::{hash, text};
use crate::error::{Code, Diagnostic, Error, Result};

/// The file that says of an encrypted folder by what key.
const KEY: &str = "key";

/// Objects by name; `/` separates folders.
#[derive(Debug)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    root: PathBuf,
    /// With it all objects are sealed.
    cipher: Option<Cipher>,
}

/// An object that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name, without the folder.
    pub name: String,
    /// Its length in bytes.
    pub bytes: u64,
}

impl Store {
    /// In a local folder, which is made if it is not there.
    pub fn local(root: &std::path::Path) -> Result<Self> {
        let cannot = |error| Error::io(format!("cannot use {}", root.display()), error);
        fs::create_dir_all(root).map_err(cannot)?;
        // The crate wants a path from the root of the file system.
        let root = fs::canonicalize(root).map_err(cannot)?;
        let objects = LocalFileSystem::new_with_prefix(&root).map_err(|error| failed("use", "the folder", &error))?;
        Ok(Store {
            objects: Arc::new(objects),
            root,
            cipher: None,
        })
    }

    /// The same, in which everything is or will be encrypted if there is a key; and which is refused if it does not fit.
    ///
    /// *Errors.* `E0503` if the key is missing or not the one that the folder was written with.
    pub fn encrypted(self, cipher: Option<Cipher>) -> Result<Self> {
        let refuse = |message: &str, hint: &str| {
            let message = format!("{} {message}", self.root.display());
            Err(Diagnostic::new(Code::StateKey, message).hint(hint).into())
        };
        let known = self.get(KEY)?;
        match (&cipher, known) {
            (None, None) => Ok(self),
            (None, Some(_)) => refuse(
                "holds encrypted checkpoints, and there is no key",
                "give it by checkpoint.key, checkpoint.key-file, or the environment variable EVENTFLUX_STATE_KEY",
            ),
            (Some(cipher), Some(known)) if known == cipher.check().as_bytes() => Ok(Store {
                cipher: Some(cipher.clone()),
                ..self
            }),
            (Some(_), Some(_)) => refuse(
                "was encrypted with another key",
                "give the key that it was written with",
            ),
            (Some(_), None) if !self.list(CHECKPOINTS)?.is_empty() => refuse(
                "holds checkpoints that are not encrypted, and there is a key",
                "go on without the key, or begin anew in another folder",
            ),
            (Some(cipher), None) => {
                self.put(KEY, cipher.check().as_bytes().to_vec())?;
                Ok(Store {
                    cipher: Some(cipher.clone()),
                    ..self
                })
            }
        }
    }

    /// What an object that holds `state` is called.
    pub fn name_of(&self, state: &[u8]) -> String {
        match &self.cipher {
            Some(cipher) => text(&cipher.name(state)),
            None => hash(state),
        }
    }

    /// Writes an object, at once: it is whole, or as it was before.
    pub fn put(&self, name: &str, bytes: Vec<u8>) -> Result<()> {
        let bytes = match &self.cipher {
            Some(cipher) => cipher.seal(name, &bytes)?,
            None => bytes,
        };
        let written = block_on(self.objects.put(&Path::from(name), PutPayload::from(bytes)));
        written.map(|_| ()).map_err(|error| failed("write", name, &error))
    }

    /// An object; `None` when it is not there. An encrypted one that is damaged is empty, which no whole one is.
    pub fn get(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let path = Path::from(name);
        let read = block_on(async { self.objects.get(&path).await?.bytes().await });
        match read {
            Ok(bytes) => Ok(Some(match &self.cipher {
                Some(cipher) => cipher.open(name, &bytes).unwrap_or_default(),
                None => bytes.into(),
            })),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed("read", name, &error)),
        }
    }

    /// Removes an object. One that is not there is none.
    pub fn delete(&self, name: &str) -> Result<()> {
        match block_on(self.objects.delete(&Path::from(name))) {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(failed("remove", name, &error)),
        }
    }

    /// The objects of a folder, by name.
    pub fn list(&self, folder: &str) -> Result<Vec<Listed>> {
        let listed = block_on(self.objects.list_with_delimiter(Some(&Path::from(folder))));
        let listed = listed.map_err(|error| failed("list", folder, &error))?;
        let name = |object: object_store::ObjectMeta| {
            Some(Listed {
                name: object.location.filename()?.to_string(),
                bytes: object.size,
            })
        };
        let mut names: Vec<Listed> = listed.objects.into_iter().filter_map(name).collect();
        names.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(names)
    }

    /// Waits until objects of a folder are on the disk, so that they survive a power failure.
    pub fn sync(&self, folder: &str, names: &[String]) -> Result<()> {
        let folder = self.root.join(folder);
        let cannot = |error| Error::io(format!("cannot write {}", folder.display()), error);
        for name in names {
            File::open(folder.join(name))
                .and_then(|file| file.sync_data())
                .map_err(cannot)?;
        }
        File::open(&folder)
            .and_then(|directory| directory.sync_all())
            .map_err(cannot)
    }

    /// Removes what a writer that was killed left half written in a folder.
    pub fn remove_half_written(&self, folder: &str) -> Result<()> {
        let folder = self.root.join(folder);
        let cannot = |error| Error::io(format!("cannot clean {}", folder.display()), error);
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(cannot(error)),
        };
        for entry in entries {
            let entry = entry.map_err(cannot)?;
            // That is how the crate calls what it has not given its name yet; no name of ours has the sign.
            if entry.file_name().as_encoded_bytes().contains(&b'#') {
                fs::remove_file(entry.path()).map_err(cannot)?;
            }
        }
        Ok(())
    }
}

fn failed(what: &str, name: &str, error: &object_store::Error) -> Error {
    Error::failed(format!("cannot {what} {name}: {error}"))
}

/// Waits for a future on this thread. Unlike a tokio runtime it may be used wherever an embedder calls us from.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_come_back_and_go() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::local(&folder.path().join("a/b")).unwrap();
        store.put("objects/x", b"one".to_vec()).unwrap();
        store.put("objects/x", b"two".to_vec()).unwrap();
        store.put("objects/w", Vec::new()).unwrap();
        store.sync("objects", &["x".to_string()]).unwrap();
        assert_eq!(store.get("objects/x").unwrap().unwrap(), b"two");
        assert_eq!(store.get("objects/y").unwrap(), None);
        assert_eq!(store.get("nowhere/y").unwrap(), None);
        let names: Vec<(String, u64)> = store
            .list("objects")
            .unwrap()
            .into_iter()
            .map(|l| (l.name, l.bytes))
            .collect();
        assert_eq!(names, [("w".to_string(), 0), ("x".to_string(), 3)]);
        store.delete("objects/x").unwrap();
        store.delete("objects/x").unwrap();
        assert_eq!(store.list("objects").unwrap().len(), 1);
        assert!(store.list("nowhere").unwrap().is_empty());
    }

    #[test]
    fn what_was_half_written_is_not_listed_and_can_be_removed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::local(folder.path()).unwrap();
        store.put("objects/x", b"one".to_vec()).unwrap();
        let torn = folder.path().join("objects/x#1");
        fs::write(&torn, "o").unwrap();
        assert_eq!(store.list("objects").unwrap().len(), 1);
        store.remove_half_written("objects").unwrap();
        store.remove_half_written("nowhere").unwrap();
        assert!(!torn.exists());
        assert_eq!(store.get("objects/x").unwrap().unwrap(), b"one");
    }

    #[test]
    fn it_may_be_used_inside_a_runtime() {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .build()
            .unwrap();
        runtime.block_on(async {
            let store = Store::local(folder.path()).unwrap();
            store.put("objects/x", b"one".to_vec()).unwrap();
            assert_eq!(store.get("objects/x").unwrap().unwrap(), b"one");
        });
    }
}
