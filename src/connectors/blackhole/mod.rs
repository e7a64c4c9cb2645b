//! `blackhole`: a sink that takes everything and does nothing with it, for measuring and trying out.

use super::{Connector, FormatUse, Sink, SinkConnector, SinkSpec};
use crate::config::options::OptionSpec;
use crate::error::{Diagnostic, Result};
use crate::event::EventBatch;

/// The `blackhole` connector.
#[derive(Debug, Clone, Copy, Default)]
pub struct Blackhole;

impl Connector for Blackhole {
    fn name(&self) -> &'static str {
        "blackhole"
    }

    fn doc(&self) -> &'static str {
        "Takes everything and does nothing with it."
    }

    fn sink(&self) -> Option<&dyn SinkConnector> {
        Some(self)
    }
}

impl SinkConnector for Blackhole {
    fn options(&self) -> &'static [OptionSpec] {
        &[]
    }

    fn format(&self) -> FormatUse {
        FormatUse::Rows
    }

    fn build(&self, _: SinkSpec) -> Result<Box<dyn Sink>, Diagnostic> {
        Ok(Box::new(BlackholeSink))
    }
}

/// The sink: nothing to open, nothing to flush.
pub(super) struct BlackholeSink;

impl Sink for BlackholeSink {
    fn is_immediate(&self) -> bool {
        true
    }

    fn write(&mut self, _: &EventBatch) -> Result<()> {
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Blackhole;
    use crate::connectors::testing::*;

    #[test]
    fn takes_everything() {
        let mut sink = sink(&Blackhole, text_schema(), &[]).unwrap();
        sink.open().unwrap();
        sink.write(&text_batch(&["a"])).unwrap();
        sink.close().unwrap();
    }
}
