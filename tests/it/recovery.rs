//! Checkpoints in a folder and in S3: kill -9 at any moment, restart, and the output is that of a run that nobody disturbed.

#[path = "recovery/apps.rs"]
mod apps;
#[path = "recovery/folder.rs"]
mod folder;
#[cfg(any(feature = "avro", feature = "parquet"))]
#[path = "recovery/formats.rs"]
mod formats;
#[path = "recovery/ids.rs"]
mod ids;
#[path = "recovery/kills.rs"]
pub mod kills;
#[cfg(feature = "s3")]
#[path = "recovery/s3.rs"]
mod s3;
