//! `[application.checkpoint]`: where, how often and how many checkpoints are kept.

use std::fmt;
use std::path::PathBuf;

use super::layers::{Layers, wrong_value};
use super::options::RawOption;
use super::s3::{S3Options, S3Url};
use crate::error::{Code, Diagnostic};
use crate::event::Micros;

/// The folder of checkpoints.
pub(super) const DIR: &str = "checkpoint.dir";

/// How often one is taken.
pub(super) const INTERVAL: &str = "checkpoint.interval";

/// How many are kept.
pub(super) const RETAIN: &str = "checkpoint.retain";

/// The key that they are encrypted with.
pub(super) const KEY: &str = "checkpoint.key";

/// The file in which it stands.
pub(super) const KEY_FILE: &str = "checkpoint.key-file";

/// The most checkpoints that may be kept.
pub(super) const MAX_RETAIN: usize = 1_000;

/// The shortest interval.
const MIN_INTERVAL: Micros = 1_000;

/// What is configured of checkpoints.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckpointOptions {
    /// Where they are kept.
    pub dir: Option<StateDir>,
    /// How S3 is reached, if that is there.
    pub s3: S3Options,
    /// How often.
    pub interval: Option<Micros>,
    /// How many.
    pub retain: Option<usize>,
    /// With what key.
    pub key: Option<KeySource>,
}

/// Where checkpoints are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateDir {
    /// In a folder.
    Folder(PathBuf),
    /// In S3.
    S3(S3Url),
}

impl StateDir {
    /// Of a path or a URL. Only `s3://bucket/prefix` is a URL that can be used: `None` for others.
    pub fn parse(text: &str) -> Option<Self> {
        match text.contains("://") {
            true => S3Url::parse(text).map(StateDir::S3),
            false if text.is_empty() => None,
            false => Some(StateDir::Folder(PathBuf::from(text))),
        }
    }
}

impl fmt::Display for StateDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StateDir::Folder(path) => path.display().fmt(f),
            StateDir::S3(url) => url.fmt(f),
        }
    }
}

/// For messages.
pub const WHAT_A_DIR_IS: &str = "such as 'state', or 's3://bucket/prefix'";

/// An option as it was written, and its value with the environment's variables in it.
pub(super) type Value<'a> = (&'a RawOption, String);

/// Where a key is. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub enum KeySource {
    /// Here, as text.
    Text(String),
    /// In a file.
    File(PathBuf),
}

impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeySource::Text(_) => f.write_str("Text(***)"),
            KeySource::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

impl Layers {
    /// What is configured of checkpoints. Environment variables in the values are looked up by `lookup`.
    pub fn checkpoints(&self, lookup: &dyn Fn(&str) -> Option<String>) -> Result<CheckpointOptions, Diagnostic> {
        let value = |key: &str| match self.of_app(key) {
            None => Ok(None),
            Some(option) => Ok(Some((option, option.substituted(lookup)?.value))),
        };
        let mut options = CheckpointOptions {
            s3: S3Options::of(&value)?,
            ..CheckpointOptions::default()
        };
        if let Some((option, dir)) = value(DIR)? {
            let wrong = || wrong_value(option, "a folder, or a place in S3").hint(WHAT_A_DIR_IS);
            options.dir = Some(match StateDir::parse(&dir).ok_or_else(wrong)? {
                StateDir::Folder(_) => StateDir::Folder(from_its_file(option, dir)),
                place => place,
            });
        }
        if let Some((option, interval)) = value(INTERVAL)? {
            let micros = super::duration::parse(&interval).filter(|micros| *micros >= MIN_INTERVAL);
            let wrong = || wrong_value(option, "a duration of 1 ms or more").hint("such as '10 seconds'");
            options.interval = Some(micros.ok_or_else(wrong)?);
        }
        if let Some((option, retain)) = value(RETAIN)? {
            let number = retain.parse().ok().filter(|number| (1..=MAX_RETAIN).contains(number));
            let wrong = || wrong_value(option, &format!("a number from 1 to {MAX_RETAIN}"));
            options.retain = Some(number.ok_or_else(wrong)?);
        }
        if let Some((_, key)) = value(KEY)? {
            options.key = Some(KeySource::Text(key));
        }
        if let Some((option, file)) = value(KEY_FILE)? {
            if options.key.is_some() {
                let error = Diagnostic::new(Code::Duplicate, format!("'{KEY}' and '{KEY_FILE}' are the same thing"));
                return Err(option.at_key(error).hint("keep one of them"));
            }
            options.key = Some(KeySource::File(from_its_file(option, file)));
        }
        Ok(options)
    }
}

/// A path, relative to the directory of the file it is written in.
pub(super) fn from_its_file(option: &RawOption, path: String) -> PathBuf {
    let start = option.value_span.as_ref().map_or(0, |span| span.start);
    let directory = option.source.as_ref().and_then(|source| source.directory(start));
    match directory {
        Some(directory) => directory.join(path),
        None => PathBuf::from(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::SourceText;

    #[test]
    fn from_files_and_settings() {
        let text = "[application.checkpoint]\ndir = 'state/${APP}'\ninterval = '2 s'\n";
        let layers = Layers::default()
            .toml(SourceText::of_files([("conf/eventflux.toml", text.to_string())]))
            .unwrap()
            .set("application.checkpoint.retain=5")
            .unwrap();
        let lookup = |name: &str| (name == "APP").then(|| "trades".to_string());
        let options = layers.checkpoints(&lookup).unwrap();
        let folder = |path: &str| Some(StateDir::Folder(PathBuf::from(path)));
        assert_eq!(options.dir, folder("conf/state/trades"));
        assert_eq!((options.interval, options.retain), (Some(2_000_000), Some(5)));
        let stronger = layers.set("application.checkpoint.dir=here").unwrap();
        assert_eq!(stronger.checkpoints(&lookup).unwrap().dir, folder("here"));
        let remote = stronger.set("application.checkpoint.dir=s3://b/${APP}/").unwrap();
        let dir = remote.checkpoints(&lookup).unwrap().dir.unwrap();
        assert_eq!(dir.to_string(), "s3://b/trades");
    }

    #[test]
    fn wrong_values() {
        for (wrong, what) in [
            ("dir=", "'checkpoint.dir' is a folder"),
            ("dir=gs://b/x", "'checkpoint.dir' is a folder"),
            ("dir=s3://", "'checkpoint.dir' is a folder"),
            ("dir=${NOPE}", "NOPE"),
            ("interval=0", "'checkpoint.interval' is a duration"),
            ("interval=soon", "'checkpoint.interval' is a duration"),
            ("retain=0", "'checkpoint.retain' is a number"),
            ("retain=many", "'checkpoint.retain' is a number"),
        ] {
            let layers = Layers::default()
                .set(&format!("application.checkpoint.{wrong}"))
                .unwrap();
            let error = layers.checkpoints(&|_| None).unwrap_err();
            assert!(error.message.contains(what), "{wrong}: {error}");
        }
        assert!(Layers::default().set("application.checkpoint.often=1").is_err());
    }
}
