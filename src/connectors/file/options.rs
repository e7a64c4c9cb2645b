//! The options of `file`.

use crate::config::options::{OptionKind, OptionSpec};
use crate::connectors::blocks::options::{BLOCK_BYTES, DECODERS};

/// Of the source.
pub const SOURCE: &[OptionSpec] = &[
    OptionSpec::new(
        "path",
        OptionKind::Path,
        "A file, a glob such as 'logs/*.json', or a directory (its regular files, hidden ones skipped). Several files \
         are read in the order of their names.",
    )
    .required(),
    OptionSpec::new(
        "follow",
        OptionKind::Boolean,
        "Whether to go on reading as files grow, are rotated, truncated or newly appear, until the app is stopped.",
    )
    .default("false"),
    OptionSpec::new(
        "start",
        OptionKind::Choice(&["beginning", "end"]),
        "With follow: where to start in files that exist when the app first starts.",
    )
    .default("beginning"),
    OptionSpec::new("poll", OptionKind::Duration, "With follow: how often to look for more.").default("50 ms"),
    BLOCK_BYTES,
    DECODERS,
];

/// Of the sink.
pub const SINK: &[OptionSpec] = &[
    OptionSpec::new(
        "path",
        OptionKind::Path,
        "The file to write. Directories that are missing are created.",
    )
    .required(),
    OptionSpec::new(
        "mode",
        OptionKind::Choice(&["append", "overwrite"]),
        "Whether to keep what the file holds.",
    )
    .default("append"),
    OptionSpec::new(
        "fsync",
        OptionKind::Choice(&["never", "flush"]),
        "Whether a flush waits until the data is on the disk, so that it survives a power failure.",
    )
    .default("never"),
];
