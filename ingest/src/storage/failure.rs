//! What storage says of a request that failed, in words for people.
//!
//! Its own errors hold whole answers, and with them whatever a server repeats
//! of the request: key ids, signatures, what was signed. Here a failure is
//! read for its kind and for one sentence, and all else is left out.

use std::error::Error;
use std::fmt;

use object_store::client::{HttpError, HttpErrorKind};

use super::without_frames;

/// The longest detail that is told, in characters.
const LONGEST: usize = 240;

/// Hosts of the services that give a machine its credentials.
const CREDENTIAL_HOSTS: [&str; 3] = [
    "169.254.169.254",
    "169.254.170.2",
    "metadata.google.internal",
];

/// Kinds of failure: each is mended in another way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// There are no credentials, and the machine has none to give.
    NoCredentials,
    /// They were valid once.
    Expired,
    /// They are not known, or do not fit.
    WrongCredentials,
    /// They are known, and do not allow it.
    Denied,
    /// There is no such bucket or container.
    NoBucket,
    /// The bucket lies in another region.
    Region,
    /// The clocks of this host and of storage differ too much.
    Clock,
    /// Its certificate is not trusted.
    Certificate,
    /// Nothing answers there.
    Unreachable,
    /// No answer came in time.
    Slow,
    /// It is overloaded, or broken for now.
    Busy,
    /// It does not do what it was asked for.
    Unsupported,
    /// Anything else.
    Other,
}

impl FailureKind {
    /// What to do about it, in one line.
    pub fn help(self) -> &'static str {
        match self {
            Self::NoCredentials => {
                "put credentials into the environment: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY \
                 (`eval \"$(aws configure export-credentials --format env)\"`), \
                 GOOGLE_APPLICATION_CREDENTIALS, or AZURE_STORAGE_ACCOUNT_NAME and \
                 AZURE_STORAGE_ACCOUNT_KEY"
            }
            Self::Expired => "renew the credentials",
            Self::WrongCredentials => "check the credentials in the environment",
            Self::Denied => {
                "these credentials may not do it: allow reading, listing and writing below the \
                 warehouse's prefix"
            }
            Self::NoBucket => "create the bucket, or check its name and the endpoint",
            Self::Region => "set AWS_REGION to the bucket's region",
            Self::Clock => "set this host's clock right: requests are signed with the time",
            Self::Certificate => {
                "check the endpoint's name and the certificate's dates, or set SSL_CERT_FILE to a PEM \
                 file with every authority to be trusted, in place of the system's"
            }
            Self::Unreachable => {
                "check the network and the endpoint (AWS_ENDPOINT_URL, AZURE_STORAGE_ENDPOINT, \
                 GOOGLE_BASE_URL)"
            }
            Self::Slow | Self::Busy => "try it again later",
            Self::Unsupported => "use other storage, or a later release of that server",
            Self::Other => "check the bucket, the endpoint and the credentials",
        }
    }

    /// The kind that a service's own word for an error stands for.
    fn of_code(code: &str) -> Option<Self> {
        Some(match code {
            "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" => Self::Expired,
            "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "InvalidToken"
            | "InvalidClientTokenId"
            | "AuthenticationFailed"
            | "InvalidAuthenticationInfo" => Self::WrongCredentials,
            "AccessDenied"
            | "AccountProblem"
            | "AuthorizationFailure"
            | "AuthorizationPermissionMismatch"
            | "InsufficientAccountPermissions" => Self::Denied,
            "NoSuchBucket" | "ContainerNotFound" => Self::NoBucket,
            "PermanentRedirect" | "AuthorizationHeaderMalformed" => Self::Region,
            "RequestTimeTooSkewed" | "RequestExpired" => Self::Clock,
            "SlowDown" | "ServiceUnavailable" | "InternalError" | "ServerBusy" => Self::Busy,
            "NotImplemented" => Self::Unsupported,
            _ => return None,
        })
    }

    fn of_status(status: u16) -> Option<Self> {
        Some(match status {
            401 => Self::WrongCredentials,
            403 => Self::Denied,
            408 | 504 => Self::Slow,
            501 => Self::Unsupported,
            429 | 500..=599 => Self::Busy,
            _ => return None,
        })
    }
}

/// What storage said, without anything secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageFailure {
    kind: FailureKind,
    text: String,
}

impl fmt::Display for StorageFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for StorageFailure {}

impl StorageFailure {
    /// What kind it is.
    pub fn kind(&self) -> FailureKind {
        self.kind
    }

    /// The failure that a library made text of, as its own text stands in that.
    pub fn in_text(text: &str) -> Option<Self> {
        let methods = ["GET", "HEAD", "PUT", "POST", "DELETE"].iter();
        let starts = methods.filter_map(|method| text.find(&format!("{method} http")));
        let told = text[starts.min()?..].lines().next()?;
        let kind = match told.split_once(" was answered ") {
            Some((_, answer)) => {
                let mut words = answer.split(": ");
                let status = words.next().and_then(|status| status.parse().ok());
                let code = words.next().and_then(FailureKind::of_code);
                match is_past_its_time(answer) {
                    true => FailureKind::Expired,
                    false => code.or_else(|| FailureKind::of_status(status?))?,
                }
            }
            None if told.contains(" failed: no answer in time") => FailureKind::Slow,
            None if told.contains(" failed: ") => FailureKind::Unreachable,
            None => return None,
        };
        let text = told.to_string();
        Some(Self { kind, text })
    }

    /// Reads an error of storage; `secrets` are struck out wherever they stand.
    pub(super) fn of(error: &(dyn Error + 'static), secrets: &[String]) -> Self {
        let mut whole = String::new();
        let mut transport = None;
        let mut last = String::new();
        let mut cause = Some(error);
        while let Some(error) = cause {
            last = error.to_string();
            if !whole.contains(&last) {
                whole.push_str(": ");
                whole.push_str(&last);
            }
            transport = transport.or_else(|| Some(error.downcast_ref::<HttpError>()?.kind()));
            cause = error.source();
        }
        let request = Request::in_text(&whole);
        let code = between(&whole, "<Code>", "</Code>");
        let status = between(&whole, "status code: ", ":")
            .and_then(|status| status.split(' ').next()?.parse::<u16>().ok());
        let answer = answer_in(&whole);
        let what = match (code, answer, transport) {
            (Some(code), Some(message), _) => format!("{code}: {message}"),
            (Some(code), None, _) => code.to_string(),
            (None, Some(message), _) => message.to_string(),
            (None, None, Some(HttpErrorKind::Timeout)) => "no answer in time".to_string(),
            (None, None, _) => last,
        };
        let from_metadata = request.as_ref().is_some_and(|request| {
            CREDENTIAL_HOSTS
                .iter()
                .any(|host| request.url.contains(host))
        });
        let kind = match transport {
            _ if from_metadata => FailureKind::NoCredentials,
            Some(HttpErrorKind::Timeout) => FailureKind::Slow,
            _ if whole.contains("invalid peer certificate") => FailureKind::Certificate,
            Some(HttpErrorKind::Connect | HttpErrorKind::Request | HttpErrorKind::Interrupted) => {
                FailureKind::Unreachable
            }
            _ if whole.contains("redirect without LOCATION") => FailureKind::Region,
            _ if past_its_time(&whole).is_some() => FailureKind::Expired,
            _ => code
                .and_then(FailureKind::of_code)
                .or_else(|| status.and_then(FailureKind::of_status))
                .unwrap_or(FailureKind::Other),
        };
        let what = match (kind, request) {
            (FailureKind::NoCredentials, _) => {
                "no credentials in the environment, and this machine has none to give".to_string()
            }
            (_, Some(Request { method, url })) => match status {
                Some(status) => format!("{method} {url} was answered {status}: {what}"),
                None => format!("{method} {url} failed: {what}"),
            },
            (_, None) => what,
        };
        let text = told(&what, secrets);
        Self { kind, text }
    }
}

/// What stands before a signature, in headers and queries.
const SIGNATURE: &str = "Signature=";

/// One line of bounded length in which no secret stands.
fn told(text: &str, secrets: &[String]) -> String {
    let text = without_frames(text);
    let mut text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for secret in secrets {
        text = text.replace(secret.as_str(), "[redacted]");
    }
    let text = without_signatures(&text);
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}..", &text[..end]),
        None => text,
    }
}

/// The text, in which the signatures of requests are struck out, as servers say them back.
fn without_signatures(text: &str) -> String {
    let mut parts = text.split(SIGNATURE);
    let mut told = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let is_of_it = |c: char| c.is_ascii_alphanumeric() || "+/=%".contains(c);
        told.push_str(SIGNATURE);
        told.push_str("[redacted]");
        told.push_str(part.trim_start_matches(is_of_it));
    }
    told
}

/// What Azure says of a signature or a token that was valid once. Its code is that of a wrong one, and
/// details of other kinds hold what was signed.
fn past_its_time(whole: &str) -> Option<&str> {
    let detail = between(
        whole,
        "<AuthenticationErrorDetail>",
        "</AuthenticationErrorDetail>",
    )?;
    is_past_its_time(detail).then(|| detail.trim())
}

fn is_past_its_time(answer: &str) -> bool {
    let late = [
        "not valid in the specified time frame",
        "token is expired",
        "token has expired",
    ];
    late.iter().any(|late| answer.contains(late))
}

/// The sentence in an answer: in XML as S3, Azure and Google write it, or whatever short text a
/// server wrote instead.
fn answer_in(whole: &str) -> Option<&str> {
    if let Some(detail) = past_its_time(whole) {
        return Some(detail);
    }
    if let Some(message) = between(whole, "<Message>", "</Message>") {
        // Azure adds lines with ids of the request.
        return message.lines().next();
    }
    let (_, answer) = whole.split_once("status code: ")?;
    let answer = answer.trim();
    (!answer.contains('<')).then_some(answer)
}

/// The request that failed, as an error's text names it.
struct Request<'a> {
    method: &'a str,
    url: &'a str,
}

impl<'a> Request<'a> {
    fn in_text(text: &'a str) -> Option<Self> {
        let begins = text.split("Error performing ").skip(1);
        begins.into_iter().find_map(|request| {
            let mut words = request.split(' ');
            let (method, url) = (words.next()?, words.next()?);
            // A query may hold a signature.
            let url = url.split('?').next()?;
            url.starts_with("http").then_some(Self { method, url })
        })
    }
}

fn between<'a>(text: &'a str, begin: &str, end: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(begin)?;
    Some(rest.split_once(end)?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An error whose text is what the client library makes of an answer.
    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Said(&'static str);

    fn read(text: &'static str) -> StorageFailure {
        StorageFailure::of(&Said(text), &["tops3cret".to_string()])
    }

    #[test]
    fn an_answer_becomes_one_sentence_without_what_was_signed() {
        let failure = read(
            "Error performing PUT https://b.s3.amazonaws.com/x?X-Amz-Signature=abc in 12ms - \
             Server returned non-2xx status code: 403 Forbidden: <?xml version=\"1.0\"?><Error>\
             <Code>SignatureDoesNotMatch</Code><Message>The signature we calculated does not \
             match</Message><AWSAccessKeyId>AKIA1</AWSAccessKeyId>\
             <StringToSign>AWS4</StringToSign></Error>",
        );
        assert_eq!(failure.kind(), FailureKind::WrongCredentials);
        assert_eq!(
            failure.to_string(),
            "PUT https://b.s3.amazonaws.com/x was answered 403: SignatureDoesNotMatch: The \
             signature we calculated does not match"
        );
    }

    #[test]
    fn a_signature_that_a_server_says_back_is_not_told() {
        let failure = read(
            "Error performing GET https://b.example/x in 12ms - Server returned non-2xx status code: \
             403 Forbidden: got AWS4-HMAC-SHA256 SignedHeaders=host, Signature=a8fb350e12, and \
             ?X-Amz-Signature=abc%3D&x=1",
        );
        assert_eq!(
            failure.to_string(),
            "GET https://b.example/x was answered 403: 403 Forbidden: got AWS4-HMAC-SHA256 \
             SignedHeaders=host, Signature=[redacted], and ?X-Amz-Signature=[redacted]&x=1"
        );
    }

    #[test]
    fn a_failure_is_known_again_in_the_text_of_others() {
        for text in [
            "Error performing GET http://a/b/c in 1s - Server returned non-2xx status code: 400 Bad \
             Request: <Error><Code>ExpiredToken</Code><Message>It is old</Message></Error>",
            "Error performing GET http://a/b in 1s - Server returned non-2xx status code: 403 \
             Forbidden: <Code>AuthenticationFailed</Code><Message>No</Message>\
             <AuthenticationErrorDetail>The token is expired.</AuthenticationErrorDetail>",
            "Error performing HEAD http://a/b in 1s - Server returned non-2xx status code: 503 Slow \
             Down: ",
        ] {
            let failure = read(text);
            let others = format!("Parquet error: Object Store error: Generic S3 error: {failure}");
            assert_eq!(StorageFailure::in_text(&others), Some(failure));
        }
        let slow = "Generic S3 error: GET http://a/b failed: no answer in time";
        let slow = StorageFailure::in_text(slow).expect("a failure");
        assert_eq!(slow.kind(), FailureKind::Slow);
        assert_eq!(StorageFailure::in_text("a page that is torn"), None);
    }

    /// Azure answers a signature that ran out as one that is wrong.
    #[test]
    fn a_signature_of_azure_that_ran_out_is_told_from_a_wrong_one() {
        let failure = read(
            "Error performing GET https://a.blob.core.windows.net/c?sv=2024-11-04&sig=abc in 9ms - \
             Server returned non-2xx status code: 403 Forbidden: <Error>\
             <Code>AuthenticationFailed</Code><Message>Server failed to authenticate the request.\n\
             RequestId:1\nTime:2</Message><AuthenticationErrorDetail>Signature not valid in the \
             specified time frame: Start [Wed, 25 Nov 2026 10:00:00 GMT] - Expiry [Wed, 25 Nov 2026 \
             11:00:00 GMT] - Current [Thu, 26 Nov 2026 09:00:00 GMT]</AuthenticationErrorDetail></Error>",
        );
        assert_eq!(failure.kind(), FailureKind::Expired);
        let said = failure.to_string();
        assert!(
            said.contains("Expiry [Wed, 25 Nov 2026 11:00:00 GMT]"),
            "{said}"
        );
        let wrong = read(
            "status code: 403 Forbidden: <Error><Code>AuthenticationFailed</Code><Message>Server failed \
             to authenticate the request.</Message><AuthenticationErrorDetail>The MAC signature found in \
             the HTTP request 'x' is not the same as any computed signature. Server used following \
             string to sign: 'tops3cret'.</AuthenticationErrorDetail></Error>",
        );
        assert_eq!(wrong.kind(), FailureKind::WrongCredentials);
        let said = wrong.to_string();
        assert_eq!(
            said,
            "AuthenticationFailed: Server failed to authenticate the request."
        );
    }

    #[test]
    fn secrets_are_struck_out_and_long_texts_cut() {
        let failure = read("the token tops3cret is odd");
        assert_eq!(failure.to_string(), "the token [redacted] is odd");
        let long: &'static str = Box::leak("x y ".repeat(500).into_boxed_str());
        assert!(read(long).to_string().chars().count() <= LONGEST + 2);
    }

    #[test]
    fn each_kind_has_its_own_help() {
        let of = |text| read(text).kind();
        for (text, kind) in [
            (
                "status code: 400 Bad Request: <Code>ExpiredToken</Code>",
                FailureKind::Expired,
            ),
            (
                "status code: 404 Not Found: <Code>NoSuchBucket</Code>",
                FailureKind::NoBucket,
            ),
            ("status code: 503 Slow Down: busy", FailureKind::Busy),
            ("status code: 403 Forbidden: ", FailureKind::Denied),
            (
                "status code: 403 F: <Code>RequestTimeTooSkewed</Code>",
                FailureKind::Clock,
            ),
            (
                "Received redirect without LOCATION, this",
                FailureKind::Region,
            ),
            (
                "Error performing PUT http://169.254.169.254/latest/api/token in 1s - HTTP error",
                FailureKind::NoCredentials,
            ),
            ("something else", FailureKind::Other),
        ] {
            assert_eq!(of(text), kind, "{text}");
        }
        assert!(FailureKind::Expired.help().contains("renew"));
    }
}
