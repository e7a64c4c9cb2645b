//! The poller: asks a URL again and again, page by page, for what has not been seen.

mod pages;
mod poller;
mod settings;

pub use poller::Poller;
