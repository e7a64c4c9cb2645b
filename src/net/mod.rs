//! What all that listens on the network shares: TLS, and connections whose other side must take what is written to it.

pub mod timed_io;
pub mod tls;
