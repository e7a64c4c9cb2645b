//! Objects in S3, or in a server that speaks its language.
//!
//! Requests are made on a thread of this module's own, for whose answers the callers wait. A request that fails for the moment is
//! tried again for a while; then it fails, and with it the checkpoint.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey as Key};
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ClientConfigKey, ObjectStore, RetryConfig};
use tokio::runtime::{Builder, Runtime};

use super::store::block_on;
use crate::config::s3::{S3Options, S3Url};
use crate::error::{Code, Diagnostic, Error, Result};

/// How long one request may take if nobody says.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What is done about requests that fail for the moment. Short: there is always a next checkpoint.
const RETRIES: RetryConfig = RetryConfig {
    backoff: BackoffConfig {
        init_backoff: Duration::from_millis(100),
        max_backoff: Duration::from_secs(5),
        base: 2.0,
    },
    max_retries: 5,
    retry_timeout: Duration::from_secs(30),
};

/// The objects of a place, by names without its prefix.
///
/// *Errors.* `E0304` for an endpoint that cannot be meant, or that would carry everything over the network without TLS.
pub fn connect(url: &S3Url, options: &S3Options) -> Result<Arc<dyn ObjectStore>> {
    let mut builder = AmazonS3Builder::from_env();
    for (key, value) in [
        (Key::Endpoint, &options.endpoint),
        (Key::Region, &options.region),
        (Key::AccessKeyId, &options.access_key_id),
        (Key::SecretAccessKey, &options.secret_access_key),
        (Key::Token, &options.session_token),
        (
            Key::Client(ClientConfigKey::AllowHttp),
            &options.allow_http.map(|allowed| allowed.to_string()),
        ),
    ] {
        if let Some(value) = value {
            builder = builder.with_config(key, value);
        }
    }
    if let Some(endpoint) = builder.get_config_value(&Key::Endpoint) {
        let allowed = builder.get_config_value(&Key::Client(ClientConfigKey::AllowHttp));
        check(&endpoint, allowed.as_deref() == Some("true"))?;
        if endpoint.starts_with("http://") {
            builder = builder.with_allow_http(true);
        }
    }
    let timeout = options.timeout.map_or(TIMEOUT, micros);
    let text = |timeout: Duration| format!("{} ms", timeout.as_millis());
    let built = builder
        .with_config(Key::Client(ClientConfigKey::Timeout), text(timeout))
        .with_config(Key::Client(ClientConfigKey::ConnectTimeout), text(CONNECT_TIMEOUT))
        .with_retry(RETRIES)
        .with_bucket_name(&url.bucket)
        .build();
    let bucket = built.map_err(|error| Error::failed(format!("cannot use {url}: {error}")))?;
    Ok(Arc::new(PrefixStore::new(bucket, url.prefix.as_str())))
}

/// A duration of the configuration.
pub fn micros(micros: i64) -> Duration {
    Duration::from_micros(micros.unsigned_abs())
}

/// Refuses an endpoint that is no URL of a server, or that leads over the network without TLS.
fn check(endpoint: &str, http_allowed: bool) -> Result<()> {
    let refuse = |message: String, hint: &str| Err(Diagnostic::new(Code::OptionValue, message).hint(hint).into());
    let rest = endpoint
        .strip_prefix("https://")
        .or_else(|| endpoint.strip_prefix("http://"));
    let Some(rest) = rest.filter(|rest| !rest.is_empty() && !rest.contains(['@', '?', '#'])) else {
        // What stands in it may be a password.
        return refuse(
            "the endpoint of S3 is not the URL of a server".to_string(),
            "write https://host or https://host:port; credentials are options of their own",
        );
    };
    if endpoint.starts_with("http://") && !http_allowed && !is_loopback(rest) {
        return refuse(
            format!("{endpoint} would carry all state over the network without TLS"),
            "use https, or say checkpoint.s3.allow-http = true (or AWS_ALLOW_HTTP=true)",
        );
    }
    Ok(())
}

/// Whether what follows `http://` names this machine.
fn is_loopback(rest: &str) -> bool {
    let authority = rest.split('/').next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(six) => six.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// The thread that requests are made on. It ends when this is dropped.
#[derive(Debug)]
pub struct Io(Option<Runtime>);

impl Io {
    /// Starts it.
    pub fn start() -> Result<Arc<Self>> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("s3")
            .enable_all()
            .build()
            .map_err(|error| Error::io("starting the thread of S3", error))?;
        Ok(Arc::new(Io(Some(runtime))))
    }

    /// Does that there, and waits for it on this thread, whatever thread it is.
    pub fn wait<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Result<T> {
        let runtime = self.0.as_ref().ok_or(Error::Closed)?;
        block_on(runtime.spawn(work)).map_err(Error::failed)
    }

    /// Does that there while others go on.
    pub fn begin(&self, work: impl Future<Output = ()> + Send + 'static) -> Result<tokio::task::AbortHandle> {
        let runtime = self.0.as_ref().ok_or(Error::Closed)?;
        Ok(runtime.spawn(work).abort_handle())
    }
}

impl Drop for Io {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // Waiting for it would be refused on a thread of another runtime.
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_tls_this_machine_only() {
        for fine in [
            "https://s3.example:9000",
            "http://localhost:9000",
            "http://127.0.0.2/x",
            "http://[::1]:9000",
        ] {
            check(fine, false).unwrap();
        }
        for refused in ["http://s3.example", "http://10.0.0.1:9000", "http://localhost.example"] {
            let error = check(refused, false).unwrap_err();
            assert!(error.to_string().contains("without TLS"), "{error}");
            check(refused, true).unwrap();
        }
        for wrong in ["s3.example", "https://", "https://key:hush@s3.example", "ftp://x"] {
            let error = check(wrong, true).unwrap_err().to_string();
            assert!(error.contains("not the URL") && !error.contains("hush"), "{error}");
        }
    }

    #[test]
    fn its_thread_may_be_waited_for_and_left_inside_of_another_runtime() {
        let runtime = Builder::new_multi_thread().worker_threads(1).build().unwrap();
        runtime.block_on(async {
            let io = Io::start().unwrap();
            let slept = io.wait(async { tokio::time::sleep(Duration::from_millis(1)).await });
            assert!(slept.is_ok());
        });
    }
}
