//! What commands that read an app have in common: the app's files and its configuration.

use std::path::PathBuf;

use crate::error::Result;
use crate::{App, Builder, EventFlux, Layers};

/// The configuration file that is read without being named.
const DEFAULT_CONFIG: &str = "eventflux.toml";

/// An app and its configuration.
#[derive(Debug, clap::Args)]
pub struct AppArgs {
    /// The app, a .sql file. Several files are one app, in this order.
    #[arg(required = true, value_name = "APP")]
    apps: Vec<PathBuf>,
    /// Read options of streams from a TOML file. May be repeated; later files win.
    ///
    /// Without it, `eventflux.toml` beside the app is read if it is there.
    #[arg(long, value_name = "FILE")]
    config: Vec<PathBuf>,
    /// Set one option of a stream, such as streams.Trades.file.path=trades.json. May be repeated.
    ///
    /// Wins over configuration files; WITH in the app wins over both. Relative paths start at the working directory here, and at
    /// the file they are written in elsewhere.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl AppArgs {
    /// Reads the app and its configuration.
    pub fn builder(&self) -> Result<Builder> {
        Ok(EventFlux::builder().files(&self.apps)?.config(self.layers()?))
    }

    /// Compiles the app.
    pub fn build(&self) -> Result<App> {
        self.builder()?.build()
    }

    /// The app's files, as given.
    pub fn names(&self) -> Vec<String> {
        self.apps.iter().map(|path| path.display().to_string()).collect()
    }

    fn layers(&self) -> Result<Layers> {
        let beside = self
            .apps
            .first()
            .and_then(|app| app.parent())
            .map(|directory| directory.join(DEFAULT_CONFIG));
        let found = beside.filter(|path| self.config.is_empty() && path.is_file());
        let mut layers = Layers::default();
        for path in self.config.iter().chain(&found) {
            layers = layers.file(path)?;
        }
        for assignment in &self.set {
            layers = layers.set(assignment)?;
        }
        Ok(layers)
    }
}
