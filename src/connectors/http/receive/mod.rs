//! The receiver: others call, and what they send is events.
//!
//! A *listener* (one for each address, whatever the number of streams there) reads requests on a thread of its own, checks who calls, and
//! puts bodies into the *inbox* of the stream whose path they are for. The *source* of the stream takes what is there, decodes it
//! as one batch, hands it over and answers. Nothing waits without a limit: an inbox holds so many bytes for so long.

mod body;
mod caller;
mod endpoint;
mod from_request;
mod inbox;
mod listener;
mod receiver;
mod seen;
mod settings;
mod signed;

pub use caller::Caller;
pub use listener::Listeners;
pub use receiver::Receiver;
