//! SIGINT and SIGTERM: the first asks the app to end well, the second ends the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};

use crate::App;
use crate::error::{Error, Result};

/// Listens to signals until it is dropped.
pub struct StopOnSignal {
    asked: Arc<AtomicBool>,
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl StopOnSignal {
    /// Stops the app at the first signal.
    pub fn start(app: &App) -> Result<Self> {
        let cannot = |error| Error::io("cannot listen to signals", error);
        let asked = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            let asked = asked.clone();
            // One step, so that of two signals that come together one is the second.
            let handle = move || {
                if asked.swap(true, Ordering::SeqCst) {
                    signal_hook::low_level::exit(128 + signal);
                }
            };
            // SAFETY: the handler only swaps an atomic and exits, both of which signal handlers may do.
            unsafe { signal_hook::low_level::register(signal, handle) }.map_err(cannot)?;
        }
        let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(cannot)?;
        let handle = signals.handle();
        let app = app.clone();
        let stop = move || {
            if signals.forever().next().is_some() {
                // It fails only where nothing runs.
                let _ = app.stop();
            }
        };
        let thread = std::thread::Builder::new()
            .name("signals".to_string())
            .spawn(stop)
            .map_err(cannot)?;
        Ok(StopOnSignal {
            asked,
            handle,
            thread: Some(thread),
        })
    }

    /// Whether a signal has come.
    pub fn asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Drop for StopOnSignal {
    fn drop(&mut self) {
        self.handle.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
