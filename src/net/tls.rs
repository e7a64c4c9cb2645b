//! TLS: the certificate and the key of the server.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::error::{Error, Result};

/// What is spoken under TLS, the best first.
pub const HTTP_2_AND_1: &[&[u8]] = &[b"h2", b"http/1.1"];

/// What is spoken under TLS where there is only the older HTTP.
pub const HTTP_1: &[&[u8]] = &[b"http/1.1"];

/// Of PEM files, for these protocols. *Errors.* What cannot be read, or does not belong together.
pub fn acceptor(cert: &Path, key: &Path, protocols: &[&[u8]]) -> Result<TlsAcceptor> {
    let wrong = |path: &Path, what: &dyn std::fmt::Display| Error::usage(format!("{}: {what}", path.display()));
    let chain = CertificateDer::pem_file_iter(cert).map_err(|error| wrong(cert, &error))?;
    let chain: Vec<CertificateDer> = chain
        .collect::<std::result::Result<_, _>>()
        .map_err(|error| wrong(cert, &error))?;
    if chain.is_empty() {
        return Err(wrong(cert, &"there is no certificate in it"));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, &error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(Error::failed)?
        .with_no_client_auth()
        .with_single_cert(chain, private);
    let mut config = config.map_err(|error| wrong(cert, &error))?;
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Ok(TlsAcceptor::from(Arc::new(config)))
}
