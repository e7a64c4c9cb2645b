//! `file`: reads files, globs and directories, once or following them as they grow; appends results to a file.

mod options;
mod parts;
mod paths;
mod position;
mod reader;
mod sink;
mod source;
#[cfg(test)]
mod tests;

use super::{Connector, FormatUse, Sink, SinkConnector, SinkSpec, Source, SourceConnector, SourceSpec};
use crate::config::options::OptionSpec;
use crate::error::Diagnostic;

/// The `file` connector.
#[derive(Debug, Clone, Copy, Default)]
pub struct File;

impl Connector for File {
    fn name(&self) -> &'static str {
        "file"
    }

    fn doc(&self) -> &'static str {
        "Reads files, globs and directories, once or following them as they grow; appends results to a file."
    }

    fn source(&self) -> Option<&dyn SourceConnector> {
        Some(&FileSourceSide)
    }

    fn sink(&self) -> Option<&dyn SinkConnector> {
        Some(&FileSinkSide)
    }
}

struct FileSourceSide;

impl SourceConnector for FileSourceSide {
    fn options(&self) -> &'static [OptionSpec] {
        options::SOURCE
    }

    fn format(&self) -> FormatUse {
        FormatUse::Bytes { default: Some("json") }
    }

    fn build(&self, spec: SourceSpec) -> Result<Box<dyn Source>, Diagnostic> {
        Ok(Box::new(source::FileSource::new(spec)?))
    }
}

struct FileSinkSide;

impl SinkConnector for FileSinkSide {
    fn options(&self) -> &'static [OptionSpec] {
        options::SINK
    }

    fn format(&self) -> FormatUse {
        FormatUse::Bytes { default: Some("json") }
    }

    fn build(&self, spec: SinkSpec) -> Result<Box<dyn Sink>, Diagnostic> {
        match spec
            .encoder
            .as_ref()
            .is_some_and(|encoder| encoder.is_whole_when_finished())
        {
            true => Ok(Box::new(parts::PartsSink::new(spec)?)),
            false => Ok(Box::new(sink::FileSink::new(spec)?)),
        }
    }
}
