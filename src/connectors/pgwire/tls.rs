//! TLS by rustls, with the provider `ring`.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::config::options::Options;
use crate::error::{Code, Diagnostic};

/// What the options say of encryption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SslMode {
    /// Never.
    Disable,
    /// If the server can.
    Prefer,
    /// Always.
    Require,
    /// Always, with a proof of the server's name.
    VerifyFull,
}

impl SslMode {
    /// Of the option `sslmode`.
    pub fn of(options: &Options) -> Self {
        match options.text("sslmode") {
            Some("disable") => SslMode::Disable,
            Some("require") => SslMode::Require,
            Some("verify-full") => SslMode::VerifyFull,
            _ => SslMode::Prefer,
        }
    }
}

/// How TLS is spoken.
pub(crate) fn client_config(options: &Options) -> Result<ClientConfig, Diagnostic> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| Diagnostic::new(Code::OptionValue, format!("TLS cannot be set up: {error}")))?;
    let config = match SslMode::of(options) {
        SslMode::VerifyFull => builder.with_root_certificates(roots(options)?),
        _ => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider))),
    };
    Ok(config.with_no_client_auth())
}

fn roots(options: &Options) -> Result<RootCertStore, Diagnostic> {
    let mut roots = RootCertStore::empty();
    let Some(path) = options.text("sslrootcert") else {
        let native = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(native.certs);
        if roots.is_empty() {
            let error = options.invalid("sslmode", "the system has no certificates of authorities to trust");
            return Err(error.hint("install ca-certificates, or name a PEM file by sslrootcert"));
        }
        return Ok(roots);
    };
    let invalid = |why: String| options.invalid("sslrootcert", format!("'{path}': {why}"));
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| invalid(error.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| invalid(error.to_string()))?;
        roots.add(certificate).map_err(|error| invalid(error.to_string()))?;
    }
    match roots.is_empty() {
        true => Err(invalid("there is no certificate in it".to_string())),
        false => Ok(roots),
    }
}

/// Believes whatever name the server gives: `sslmode` below `verify-full`, as everywhere in PostgreSQL's world.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
