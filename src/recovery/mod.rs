//! Checkpoints on disk or in S3: an app that is killed goes on as if nothing had happened.
//!
//! A checkpoint is a [`crate::Snapshot`] in a folder, or under a prefix of a bucket. That holds
//! ```text
//! lock                                one process at a time uses the folder
//! objects/<hash of the content>       the state of an operator or a table, compressed
//! checkpoints/<number>                a manifest: what belongs to a checkpoint, with lengths and checksums
//! key                                 if all this is encrypted: what tells whether a key is the right one
//! ```
//! A manifest is written last and at once: a checkpoint is whole, or it is not there. Objects are called by what is in them, so
//! state that has not changed since the last checkpoint is not written again. What is not whole is noticed by its checksum, and the
//! checkpoint before is taken.
//!
//! Nothing here knows operators: state is bytes under a name, with a fingerprint of what the name meant
//! (`plan::fingerprint`), which [`fit`] compares with what it means now.

pub mod cipher;
pub mod fit;
pub mod folder;
#[cfg(feature = "s3")]
pub mod lease;
pub mod lock;
pub mod manifest;
pub mod object;
#[cfg(feature = "s3")]
pub mod s3;
pub mod store;
