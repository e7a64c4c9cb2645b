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
    /// Without it those are read that are there: `/etc/eventflux/eventflux.toml`, `eventflux/eventflux.toml` in `$XDG_CONFIG_HOME`
    /// (`~/.config`), and `eventflux.toml` beside the app, each stronger than the one before.
    #[arg(long, value_name = "FILE")]
    config: Vec<PathBuf>,
    /// Set one option of a stream, such as streams.Trades.file.path=trades.json. May be repeated.
    ///
    /// Wins over environment variables such as EVENTFLUX__STREAMS__TRADES__FILE__PATH, which win over configuration files; WITH in
    /// the app wins over all. Relative paths start at the working directory here, and at
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

    /// The configuration, from files, the environment and settings.
    pub fn layers(&self) -> Result<Layers> {
        let mut layers = Layers::default();
        if self.config.is_empty() {
            for path in shared_files().iter().filter(|path| path.is_file()) {
                layers = layers.shared_file(path)?;
            }
            let beside = self.apps.first().and_then(|app| app.parent());
            let beside = beside.map(|directory| directory.join(DEFAULT_CONFIG));
            if let Some(path) = beside.filter(|path| path.is_file()) {
                layers = layers.file(path)?;
            }
        }
        for path in &self.config {
            layers = layers.file(path)?;
        }
        layers = layers.environment(variables())?;
        for assignment in &self.set {
            layers = layers.set(assignment)?;
        }
        Ok(layers)
    }
}

/// The files for all apps, of the machine and of the user, the stronger last.
fn shared_files() -> Vec<PathBuf> {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config"));
    let own = std::env::var_os("XDG_CONFIG_HOME").filter(|path| !path.is_empty());
    let own = own.map(PathBuf::from).or_else(home);
    let folders = [Some(PathBuf::from("/etc")), own];
    let file = |folder: PathBuf| folder.join("eventflux").join(DEFAULT_CONFIG);
    folders.into_iter().flatten().map(file).collect()
}

/// The environment, as far as it is text.
fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}
