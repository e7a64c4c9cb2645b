//! [`Store`]: where the objects of checkpoints are kept, by way of the `object_store` crate.
//!
//! That is a local folder, or a place in S3; what differs is here and in `Home`, and others need not know which it is. Calls block:
//! they are made on threads that have nothing else to do.

use std::fs::{self, File};
use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
#[cfg(feature = "s3")]
use std::time::Duration;

use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
#[cfg(feature = "s3")]
use object_store::{PutMode, PutOptions};

use super::cipher::Cipher;
use super::folder::CHECKPOINTS;
#[cfg(feature = "s3")]
use super::lease::Lease;
use super::lock::Lock;
use super::object::{hash, text};
#[cfg(feature = "s3")]
use super::s3::Io;
use crate::config::checkpoints::StateDir;
#[cfg(feature = "s3")]
use crate::config::s3::S3Lock;
use crate::config::s3::{S3Options, S3Url};
use crate::error::{Code, Diagnostic, Error, Result};

/// The file that says of an encrypted folder by what key.
const KEY: &str = "key";

/// Objects by name; `/` separates folders.
#[derive(Debug)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    home: Home,
    /// With it all objects are sealed.
    cipher: Option<Cipher>,
}

/// What is to be known of where the objects are.
#[derive(Debug)]
enum Home {
    /// A folder of this machine, and as people call it.
    Folder { root: PathBuf, said: PathBuf },
    /// A place in S3.
    #[cfg(feature = "s3")]
    S3 {
        place: String,
        io: Arc<Io>,
        lock: S3Lock,
        lease: Duration,
    },
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
    /// Of a place that is made if it is not there.
    pub fn open(at: &StateDir, s3: &S3Options) -> Result<Self> {
        match at {
            StateDir::Folder(path) => Self::local(path),
            StateDir::S3(url) => Self::s3(url, s3),
        }
    }

    /// Of a place that has checkpoints already; `None` if there are none.
    pub fn existing(at: &StateDir, s3: &S3Options) -> Result<Option<Self>> {
        match at {
            StateDir::Folder(path) if !path.join(CHECKPOINTS).is_dir() => Ok(None),
            StateDir::Folder(path) => Self::local(path).map(Some),
            StateDir::S3(url) => {
                let store = Self::s3(url, s3)?;
                let there = !store.list(CHECKPOINTS)?.is_empty();
                Ok(there.then_some(store))
            }
        }
    }

    /// In a local folder, which is made if it is not there.
    pub fn local(said: &std::path::Path) -> Result<Self> {
        let cannot = |error| Error::io(format!("cannot use {}", said.display()), error);
        fs::create_dir_all(said).map_err(cannot)?;
        // The crate wants a path from the root of the file system.
        let root = fs::canonicalize(said).map_err(cannot)?;
        let objects = LocalFileSystem::new_with_prefix(&root)
            .map_err(|error| Error::failed(format!("cannot use the folder {}: {error}", root.display())))?;
        Ok(Store {
            objects: Arc::new(objects),
            home: Home::Folder {
                root,
                said: said.to_path_buf(),
            },
            cipher: None,
        })
    }

    /// In S3.
    #[cfg(feature = "s3")]
    fn s3(url: &S3Url, options: &S3Options) -> Result<Self> {
        Ok(Store {
            objects: super::s3::connect(url, options)?,
            home: Home::S3 {
                place: url.to_string(),
                io: Io::start()?,
                lock: options.lock,
                lease: options.lease.map_or(super::lease::LEASE, super::s3::micros),
            },
            cipher: None,
        })
    }

    #[cfg(not(feature = "s3"))]
    fn s3(url: &S3Url, _options: &S3Options) -> Result<Self> {
        let message = format!("checkpoints in S3, such as {url}, are not part of this build");
        Err(Diagnostic::new(Code::OptionValue, message)
            .hint("build with them: cargo build --release --features s3 (or full)")
            .into())
    }

    /// Where it is, for people.
    pub fn place(&self) -> String {
        match &self.home {
            Home::Folder { said, .. } => said.display().to_string(),
            #[cfg(feature = "s3")]
            Home::S3 { place, .. } => place.clone(),
        }
    }

    /// Makes the place ours.
    ///
    /// *Errors.* `E0500` when another process uses it.
    pub fn lock(&self) -> Result<Lock> {
        match &self.home {
            Home::Folder { root, said } => Lock::of_folder(root, said),
            #[cfg(feature = "s3")]
            Home::S3 { lock: S3Lock::None, .. } => Ok(Lock::None),
            #[cfg(feature = "s3")]
            Home::S3 { place, io, lease, .. } => Lease::take(io, self.objects.clone(), place, *lease).map(Lock::Lease),
        }
    }

    /// The same, in which everything is or will be encrypted if there is a key; and which is refused if it does not fit.
    ///
    /// *Errors.* `E0503` if the key is missing or not the one that the folder was written with.
    pub fn encrypted(self, cipher: Option<Cipher>) -> Result<Self> {
        let refuse = |message: &str, hint: &str| {
            let message = format!("{} {message}", self.place());
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
        let payload = PutPayload::from(self.sealed(name, bytes)?);
        let path = Path::from(name);
        let written = self.wait(move |objects| async move { objects.put(&path, payload).await })?;
        written.map(|_| ()).map_err(|error| self.failed("write", name, &error))
    }

    /// Writes a manifest, at once. In S3 never over one that is there: somebody else who believes the place to be theirs wrote it.
    pub fn publish(&self, name: &str, bytes: Vec<u8>) -> Result<()> {
        match self.home {
            Home::Folder { .. } => self.put(name, bytes),
            #[cfg(feature = "s3")]
            Home::S3 { lock: S3Lock::None, .. } => self.put(name, bytes),
            #[cfg(feature = "s3")]
            Home::S3 { .. } => self.create(name, bytes),
        }
    }

    /// Writes an object that is not there yet.
    #[cfg(feature = "s3")]
    fn create(&self, name: &str, bytes: Vec<u8>) -> Result<()> {
        let bytes = self.sealed(name, bytes)?;
        let (path, payload) = (Path::from(name), PutPayload::from(bytes.clone()));
        let options = PutOptions::from(PutMode::Create);
        let written = self.wait(move |objects| async move { objects.put_opts(&path, payload, options).await })?;
        match written {
            Ok(_) => Ok(()),
            // The first of two tries had arrived, but its answer had not.
            Err(object_store::Error::AlreadyExists { .. }) if self.raw(name)?.is_some_and(|there| there == bytes) => {
                Ok(())
            }
            Err(error) => Err(self.failed("write", name, &error)),
        }
    }

    fn sealed(&self, name: &str, bytes: Vec<u8>) -> Result<Vec<u8>> {
        match &self.cipher {
            Some(cipher) => cipher.seal(name, &bytes),
            None => Ok(bytes),
        }
    }

    /// An object; `None` when it is not there. An encrypted one that is damaged is empty, which no whole one is.
    pub fn get(&self, name: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.raw(name)?.map(|bytes| match &self.cipher {
            Some(cipher) => cipher.open(name, &bytes).unwrap_or_default(),
            None => bytes,
        }))
    }

    /// An object as it is kept.
    fn raw(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let path = Path::from(name);
        match self.wait(move |objects| async move { objects.get(&path).await?.bytes().await })? {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed("read", name, &error)),
        }
    }

    /// Removes an object. One that is not there is none.
    pub fn delete(&self, name: &str) -> Result<()> {
        let path = Path::from(name);
        match self.wait(move |objects| async move { objects.delete(&path).await })? {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed("remove", name, &error)),
        }
    }

    /// The objects of a folder, by name.
    pub fn list(&self, folder: &str) -> Result<Vec<Listed>> {
        let path = Path::from(folder);
        let listed = self.wait(move |objects| async move { objects.list_with_delimiter(Some(&path)).await })?;
        let listed = listed.map_err(|error| self.failed("list", folder, &error))?;
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

    /// Does something with the objects, and waits for it.
    fn wait<F>(&self, work: impl FnOnce(Arc<dyn ObjectStore>) -> F) -> Result<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        let work = work(self.objects.clone());
        match &self.home {
            Home::Folder { .. } => Ok(block_on(work)),
            #[cfg(feature = "s3")]
            Home::S3 { io, .. } => io.wait(work),
        }
    }

    fn failed(&self, what: &str, name: &str, error: &object_store::Error) -> Error {
        match &self.home {
            Home::Folder { .. } => Error::failed(format!("cannot {what} {name}: {error}")),
            #[cfg(feature = "s3")]
            Home::S3 { place, .. } => Error::failed(format!("cannot {what} {name} in {place}: {}", reason(error))),
        }
    }

    /// Waits until objects of a folder are on the disk, so that they survive a power failure. What S3 has taken does.
    pub fn sync(&self, folder: &str, names: &[String]) -> Result<()> {
        let Some(folder) = self.on_this_machine(folder) else {
            return Ok(());
        };
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

    fn on_this_machine(&self, folder: &str) -> Option<PathBuf> {
        match &self.home {
            Home::Folder { root, .. } => Some(root.join(folder)),
            #[cfg(feature = "s3")]
            Home::S3 { .. } => None,
        }
    }

    /// Removes what a writer that was killed left half written in a folder. In S3 nothing ever is.
    pub fn remove_half_written(&self, folder: &str) -> Result<()> {
        let Some(folder) = self.on_this_machine(folder) else {
            return Ok(());
        };
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

/// Why a request failed, in one line: servers answer in several.
#[cfg(feature = "s3")]
pub(super) fn reason(error: &object_store::Error) -> String {
    let text = error.to_string();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Waits for a future on this thread. Unlike a tokio runtime it may be used wherever an embedder calls us from.
pub(super) fn block_on<F: Future>(future: F) -> F::Output {
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
