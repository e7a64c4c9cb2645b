//! [`Caller`]: calls the receiver of a running app, with what it asks of callers.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, StatusCode};
use tokio::runtime::Runtime;

use super::settings::Settings;
use crate::connectors::http::courier::{retry_after, start_of, why_unreachable};
use crate::connectors::{Entrance, SourceSpec};
use crate::error::{Code, Diagnostic, Error, Result};

/// How often it is tried.
const ATTEMPTS: u32 = 5;

/// The wait between two attempts, if nothing else is asked for.
const WAIT: Duration = Duration::from_secs(1);

/// The longest wait that is taken from the receiver.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// See the module.
pub struct Caller {
    settings: Settings,
    url: String,
    client: Client,
    runtime: Runtime,
}

impl Caller {
    /// For the stream with these options.
    pub fn new(spec: &SourceSpec) -> Result<Self, Diagnostic> {
        let format = spec
            .format
            .as_ref()
            .map_or("json", crate::connectors::FormatSource::name);
        let settings = Settings::new(&spec.options, &spec.stream, format, &spec.schema.declared)?;
        let mut at = settings.listener.bind;
        // One that listens everywhere listens here.
        match at.ip() {
            std::net::IpAddr::V4(ip) if ip.is_unspecified() => at.set_ip(std::net::Ipv4Addr::LOCALHOST.into()),
            std::net::IpAddr::V6(ip) if ip.is_unspecified() => at.set_ip(std::net::Ipv6Addr::LOCALHOST.into()),
            _ => {}
        }
        let scheme = if settings.listener.tls.is_some() {
            "https"
        } else {
            "http"
        };
        let failed = |error: String| {
            Diagnostic::new(
                Code::OptionValue,
                format!("cannot call the stream '{}': {error}", spec.stream),
            )
        };
        let client = Client::builder()
            .no_proxy()
            .timeout(settings.acknowledging.timeout + LONGEST_WAIT);
        let client = client.redirect(reqwest::redirect::Policy::none()).build();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Ok(Caller {
            url: format!("{scheme}://{at}{}", settings.endpoint.path),
            client: client.map_err(|error| failed(error.to_string()))?,
            runtime: runtime.map_err(|error| failed(error.to_string()))?,
            settings,
        })
    }

    fn headers(&self, record: &str, id: &str) -> Result<HeaderMap> {
        let endpoint = &self.settings.endpoint;
        let mut headers = HeaderMap::new();
        let value = |text: &str| HeaderValue::from_str(text).map_err(Error::failed);
        if let Some(media_type) = endpoint.media_types.first() {
            headers.insert(CONTENT_TYPE, value(media_type)?);
        }
        if let Some(sign_in) = &endpoint.sign_in {
            headers.insert(sign_in.header.clone(), value(&sign_in.value())?);
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        for (name, text) in endpoint
            .signed
            .iter()
            .flat_map(|signed| signed.sign(id, now, record.as_bytes()))
        {
            headers.insert(name, value(&text)?);
        }
        Ok(headers)
    }

    /// `Ok(Err(…))`: not now, and when to try again.
    async fn call(&self, record: &str, id: &str) -> Result<Result<(), (Error, Duration)>> {
        let request = self.client.request(self.settings.endpoint.method.clone(), &self.url);
        let answer = match request
            .headers(self.headers(record, id)?)
            .body(record.to_string())
            .send()
            .await
        {
            Ok(answer) => answer,
            Err(error) => return Ok(Err((Error::failed(why_unreachable(&error)), WAIT))),
        };
        let status = answer.status();
        if status.is_success() {
            return Ok(Ok(()));
        }
        let after = answer.headers().get(RETRY_AFTER).and_then(|after| after.to_str().ok());
        let after = after
            .and_then(|after| retry_after(after, SystemTime::now()))
            .unwrap_or(WAIT);
        let why = format!("the stream answers {status}: {}", start_of(answer).await);
        match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                Ok(Err((Error::failed(why), after.min(LONGEST_WAIT))))
            }
            _ => Err(Error::refused(why)),
        }
    }
}

impl Entrance for Caller {
    fn send(&mut self, record: &str, id: &str) -> Result<()> {
        self.runtime.block_on(async {
            for _ in 1..ATTEMPTS {
                match self.call(record, id).await? {
                    Ok(()) => return Ok(()),
                    Err((_, wait)) => tokio::time::sleep(wait).await,
                }
            }
            self.call(record, id).await?.map_err(|(error, _)| error)
        })
    }
}
