//! Where requests go: address, TLS, and the key that is never shown.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use hyper::Uri;
use hyper::header::HeaderValue;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use url::Url;

use super::reply::Redaction;

/// A key for the subject's API. Nothing prints it.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl ApiKey {
    /// A key as it was given; `None` where it is blank or cannot be a header.
    pub fn new(key: &str) -> Option<Self> {
        let key = key.trim();
        let usable = !key.is_empty() && HeaderValue::from_str(key).is_ok();
        usable.then(|| Self(key.to_string()))
    }

    fn header(&self) -> HeaderValue {
        let text = format!("Bearer {}", self.0);
        let mut value = HeaderValue::from_str(&text).expect("the key was checked when it was made");
        value.set_sensitive(true);
        value
    }

    /// What error texts must not show.
    pub fn redaction(&self) -> Redaction {
        Redaction::of(&self.0)
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(..)")
    }
}

/// Why a URL cannot be measured.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// It is no URL.
    #[error("`{text}` is no URL; give one such as http://127.0.0.1:8000/v1")]
    NotAUrl {
        /// What was given.
        text: String,
    },
    /// Another scheme.
    #[error("`{text}` is neither http:// nor https://")]
    Scheme {
        /// What was given.
        text: String,
    },
    /// Credentials in the URL would end up in the warehouse.
    #[error(
        "the URL holds a user or a password; name the key's variable with --api-key-env instead"
    )]
    Credentials,
    /// The system's certificates cannot be used.
    #[error("no certificate of this system can be used for https: {reason}")]
    Certificates {
        /// Why.
        reason: String,
    },
}

/// What is no URL may hold a key all the same: without user, password, query and fragment.
fn without_secrets(text: &str) -> String {
    const LONGEST: usize = 200;
    let shown = text.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = shown
        .split_once("://")
        .map_or(("", shown), |(scheme, rest)| (scheme, rest));
    let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let shown: String = rest.chars().take(LONGEST).collect();
    match scheme {
        "" => shown,
        scheme => format!("{scheme}://{shown}"),
    }
}

/// A base URL such as `http://gpu7:8000/v1`, ready to be called.
#[derive(Clone)]
pub struct Endpoint {
    /// Without its query, which may hold a key.
    url: Url,
    query: Option<String>,
    host: String,
    port: u16,
    /// The `Host` header.
    authority: HeaderValue,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    authorization: Option<HeaderValue>,
    redaction: Redaction,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({})", self.url)
    }
}

impl Endpoint {
    /// Checks a base URL and makes it ready. Its query goes with every request,
    /// as some gateways ask for, and is not shown nor kept: it may hold a key.
    ///
    /// # Errors
    /// It is no http(s) URL, holds credentials, or TLS cannot be set up.
    pub fn new(text: &str, key: Option<&ApiKey>) -> Result<Self, EndpointError> {
        let refuse = || EndpointError::NotAUrl {
            text: without_secrets(text),
        };
        let mut url = Url::parse(text).map_err(|_| refuse())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(EndpointError::Scheme {
                text: without_secrets(text),
            });
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(EndpointError::Credentials);
        }
        let query = url.query().map(str::to_string);
        url.set_query(None);
        url.set_fragment(None);
        let bare = url.path().trim_end_matches('/').to_string();
        url.set_path(&bare);
        let host = url
            .host_str()
            .ok_or_else(refuse)?
            .trim_matches(['[', ']'])
            .to_string();
        let port = url.port_or_known_default().ok_or_else(refuse)?;
        let authority = match url.port() {
            Some(port) => format!("{}:{port}", url.host_str().unwrap_or_default()),
            None => url.host_str().unwrap_or_default().to_string(),
        };
        let tls = match url.scheme() {
            "https" => {
                let name = ServerName::try_from(host.clone()).map_err(|_| refuse())?;
                Some((tls_config()?, name))
            }
            _ => None,
        };
        Ok(Self {
            authority: HeaderValue::from_str(&authority).map_err(|_| refuse())?,
            host,
            port,
            tls,
            authorization: key.map(ApiKey::header),
            redaction: key.map_or_else(Redaction::none, ApiKey::redaction),
            url,
            query,
        })
    }

    /// The base URL, without credentials and query, and without a slash at its end.
    pub fn url(&self) -> &str {
        self.url.as_str().trim_end_matches('/')
    }

    /// The full URL of a path below the base, for messages.
    pub fn full_url(&self, path: &str) -> String {
        format!("{}{path}", self.url())
    }

    /// The request target of a path below the base.
    pub(crate) fn target(&self, path: &str) -> Uri {
        let mut text = format!("{}{path}", self.url.path().trim_end_matches('/'));
        if let Some(query) = &self.query {
            text = format!("{text}?{query}");
        }
        text.parse().expect("the path of a URL is a request target")
    }

    pub(crate) fn authority(&self) -> &HeaderValue {
        &self.authority
    }

    pub(crate) fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }

    pub(crate) fn tls(&self) -> Option<&(Arc<ClientConfig>, ServerName<'static>)> {
        self.tls.as_ref()
    }

    /// What error texts must not show.
    pub fn redaction(&self) -> &Redaction {
        &self.redaction
    }

    /// Whether the path already ends in a version such as `/v1`.
    pub fn has_version_path(&self) -> bool {
        let last = self.url.path().rsplit('/').next().unwrap_or_default();
        last.strip_prefix('v')
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    }

    /// The addresses of the host.
    ///
    /// # Errors
    /// The name cannot be resolved.
    pub async fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        let found: Vec<_> = tokio::net::lookup_host((self.host.as_str(), self.port))
            .await?
            .collect();
        match found.is_empty() {
            true => Err(io::Error::other(format!("`{}` has no address", self.host))),
            false => Ok(found),
        }
    }
}

fn tls_config() -> Result<Arc<ClientConfig>, EndpointError> {
    let fail = |reason: String| EndpointError::Certificates { reason };
    let mut roots = RootCertStore::empty();
    let loaded = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(loaded.certs);
    if roots.is_empty() {
        let reason = loaded
            .errors
            .first()
            .map_or_else(|| "none found".into(), ToString::to_string);
        return Err(fail(reason));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| fail(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_loses_its_slash_and_gives_targets() {
        let endpoint = Endpoint::new("http://gpu7:8000/v1/?x=1", None).expect("a URL");
        assert_eq!(endpoint.url(), "http://gpu7:8000/v1");
        assert_eq!(endpoint.target("/models"), "/v1/models?x=1");
        assert_eq!(endpoint.authority(), "gpu7:8000");
        assert!(endpoint.has_version_path());
        let bare = Endpoint::new("http://gpu7:8000", None).expect("a URL");
        assert_eq!(bare.full_url("/models"), "http://gpu7:8000/models");
        assert_eq!(bare.target("/models"), "/models");
        assert!(!bare.has_version_path());
        let six = Endpoint::new("http://[::1]:9/v1", None).expect("a URL");
        assert_eq!((six.host.as_str(), six.port), ("::1", 9));
        assert_eq!(six.authority(), "[::1]:9");
    }

    #[test]
    fn what_cannot_be_measured_is_refused_in_words() {
        let refusal = |text| Endpoint::new(text, None).expect_err("refused").to_string();
        assert!(refusal("gpu7:8000/v1").contains("neither http:// nor https://"));
        assert!(refusal("nonsense").contains("is no URL"));
        let message = refusal("http://me:secret@gpu7/v1");
        assert!(
            message.contains("--api-key-env") && !message.contains("secret"),
            "{message}"
        );
    }

    #[test]
    fn a_key_is_never_shown() {
        let key = ApiKey::new(" sk-12345678 ").expect("a key");
        let endpoint = Endpoint::new("http://gpu7/v1", Some(&key)).expect("a URL");
        let shown = format!("{key:?} {endpoint:?} {:?}", endpoint.authorization());
        assert!(!shown.contains("12345678"), "{shown}");
        assert!(ApiKey::new("  ").is_none());
        assert!(ApiKey::new("a\nb").is_none());
    }
}
