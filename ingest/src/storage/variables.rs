//! The environment variables by which clouds' clients are set up.

use std::ffi::OsString;

use object_store::aws::AmazonS3ConfigKey;
use object_store::azure::AzureConfigKey;
use url::Url;

use crate::location::StorageKind;

/// Parts of variables' names whose values are secret.
const SECRET_NAMES: [&str; 7] = [
    "KEY",
    "SECRET",
    "TOKEN",
    "PASSWORD",
    "SAS",
    "CREDENTIAL",
    "CONNECTION_STRING",
];

/// Ends of such names whose values only say where a secret is: errors have to name the place.
const PLACE_NAMES: [&str; 4] = ["_FILE", "_URI", "_ENDPOINT", "_APPLICATION_CREDENTIALS"];

/// What is shorter than this is no secret, and would be struck out of words.
const SHORTEST_SECRET: usize = 8;

/// Environment variables, as whoever connects to storage sees them.
#[derive(Clone, Default)]
pub struct Variables(Vec<(String, String)>);

// Their values are secrets.
impl std::fmt::Debug for Variables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = self.0.iter().map(|(name, _)| name);
        f.debug_list().entries(names).finish()
    }
}

impl Variables {
    /// Those of this process.
    pub fn of_process() -> Self {
        let text = |(name, value): (OsString, OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        std::env::vars_os().filter_map(text).collect()
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let mut values = self.0.iter().filter(|(variable, _)| variable == name);
        values.next().map(|(_, value)| value.as_str())
    }

    pub(super) fn any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.get(name).is_some())
    }

    /// Variables whose names begin so, names in lower case as the libraries have them.
    pub(super) fn beginning(&self, prefix: &str) -> impl Iterator<Item = (String, &str)> {
        self.0
            .iter()
            .filter(move |(name, _)| name.starts_with(prefix))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.as_str()))
    }

    /// Refuses values that no service takes, by the names of their variables: the library puts them into
    /// headers and addresses as they are.
    pub(super) fn check(&self, kind: StorageKind) -> Result<(), String> {
        let of_kind = self.0.iter().filter(|(name, _)| is_read(name, kind));
        for (name, value) in of_kind {
            if value.chars().any(char::is_control) {
                return Err(format!(
                    "{name} holds a line break or another control character"
                ));
            }
            let address = match name.as_str() {
                CONNECTION_STRING => blob_endpoint(value),
                EMULATOR => Some(emulator_url(value)),
                name if ENDPOINTS.contains(&name) => Some(value.clone()),
                _ => None,
            };
            if let Some(what) = address.and_then(|address| unfit_endpoint(&address)) {
                return Err(format!("the endpoint in {name} {what}"));
            }
        }
        Ok(())
    }

    /// Values that must not be told to anybody.
    pub(super) fn secrets(&self) -> Vec<String> {
        let is_secret = |name: &str| {
            SECRET_NAMES.iter().any(|part| name.contains(part))
                && !PLACE_NAMES.iter().any(|end| name.ends_with(end))
        };
        let mut secrets: Vec<String> = self
            .0
            .iter()
            .filter(|(name, value)| is_secret(name) && value.len() >= SHORTEST_SECRET)
            .flat_map(|(_, value)| {
                let parts = connection_string(value).map(|(_, part)| part.to_string());
                std::iter::once(value.clone()).chain(parts.filter(|part| part.len() >= 40))
            })
            .collect();
        // Longer ones first: one may hold another.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets
    }
}

impl FromIterator<(String, String)> for Variables {
    /// Empty values are left out: shells keep them where others unset.
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        let set = variables.into_iter().filter(|(_, value)| !value.is_empty());
        Self(set.collect())
    }
}

const CONNECTION_STRING: &str = "AZURE_STORAGE_CONNECTION_STRING";

/// Google's own variable for another server than theirs: its address, the scheme left out mostly.
pub(super) const EMULATOR: &str = "STORAGE_EMULATOR_HOST";

/// The URL of such a server.
pub(super) fn emulator_url(value: &str) -> String {
    match value.contains("://") {
        true => value.to_string(),
        false => format!("http://{value}"),
    }
}

/// Variables that hold the address of a service.
const ENDPOINTS: [&str; 6] = [
    "AWS_ENDPOINT",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AZURE_ENDPOINT",
    "AZURE_STORAGE_ENDPOINT",
    "GOOGLE_BASE_URL",
];

/// Whether a variable says how to reach storage of a kind, in one line. A key of Google's may have several.
fn is_read(name: &str, kind: StorageKind) -> bool {
    let key = name.to_ascii_lowercase();
    match kind {
        StorageKind::Local => false,
        StorageKind::S3 => name.starts_with("AWS_") && key.parse::<AmazonS3ConfigKey>().is_ok(),
        StorageKind::Azure => {
            name == CONNECTION_STRING
                || name.starts_with("AZURE_") && key.parse::<AzureConfigKey>().is_ok()
        }
        StorageKind::Gcs => [EMULATOR, "GOOGLE_BASE_URL"].contains(&name),
    }
}

/// What is wrong with a service's address, said without it: it may hold a password.
fn unfit_endpoint(address: &str) -> Option<&'static str> {
    let Ok(url) = Url::parse(address) else {
        return Some("is no URL: http://HOST:PORT or https://HOST is one");
    };
    if !["http", "https"].contains(&url.scheme()) || !url.has_host() {
        return Some("is neither http://HOST:PORT nor https://HOST");
    }
    let has_user = !url.username().is_empty() || url.password().is_some();
    has_user.then_some("holds a user or a password, which no service takes there")
}

/// The parts of a connection string: `AccountName=..;AccountKey=..`.
pub(super) fn connection_string(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split(';')
        .filter_map(|part| part.trim().split_once('='))
}

/// Where a connection string says that blobs are, if not at Azure's own address.
pub(super) fn blob_endpoint(text: &str) -> Option<String> {
    let part = |wanted: &str| {
        let mut parts = connection_string(text);
        parts
            .find(|(name, _)| *name == wanted)
            .map(|(_, value)| value)
    };
    if let Some(endpoint) = part("BlobEndpoint") {
        return Some(endpoint.trim_end_matches('/').to_string());
    }
    let (account, suffix) = (part("AccountName")?, part("EndpointSuffix")?);
    let protocol = part("DefaultEndpointsProtocol").unwrap_or("https");
    Some(format!("{protocol}://{account}.blob.{suffix}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(kind: StorageKind, name: &str, value: &str) -> Option<String> {
        let pair = [(name.to_owned(), value.to_owned())];
        let variables: Variables = pair.into_iter().collect();
        variables.check(kind).err()
    }

    #[test]
    fn values_that_no_service_takes_are_refused_by_their_names_alone() {
        let (s3, azure, google) = (StorageKind::S3, StorageKind::Azure, StorageKind::Gcs);
        for (kind, name, value) in [
            (s3, "AWS_ACCESS_KEY_ID", "AKIASECRET\n"),
            (s3, "AWS_SESSION_TOKEN", "tok\u{7f}SECRET"),
            (s3, "AWS_ENDPOINT_URL", "SECRET"),
            (s3, "AWS_ENDPOINT_URL_S3", "localhost:9000/SECRET"),
            (s3, "AWS_ENDPOINT_URL", "http://user:SECRET@127.0.0.1:1"),
            (azure, "AZURE_STORAGE_ENDPOINT", "https://SECRET@host"),
            (
                azure,
                CONNECTION_STRING,
                "AccountName=a;BlobEndpoint=SECRET",
            ),
            (
                azure,
                CONNECTION_STRING,
                "AccountName=a;\nAccountKey=SECRET",
            ),
            (google, "GOOGLE_BASE_URL", "ftp://SECRET"),
            (google, EMULATOR, "user:SECRET@127.0.0.1:1"),
        ] {
            let refused = refusal(kind, name, value).expect(value);
            assert!(refused.contains(name), "{refused}");
            assert!(!refused.contains("SECRET"), "{refused}");
        }
    }

    #[test]
    fn what_services_take_and_what_is_not_read_is_no_concern() {
        let (s3, azure, google) = (StorageKind::S3, StorageKind::Azure, StorageKind::Gcs);
        for (kind, name, value) in [
            (s3, "AWS_ENDPOINT_URL", "http://127.0.0.1:9000"),
            (s3, "AWS_ENDPOINT_URL", "https://minio.example/prefix"),
            (s3, "AWS_NOTE", "two\nlines"),
            (s3, "AZURE_STORAGE_ENDPOINT", "none"),
            (
                azure,
                CONNECTION_STRING,
                "AccountName=a;BlobEndpoint=http://127.0.0.1:1/a;",
            ),
            (google, "GOOGLE_SERVICE_ACCOUNT_KEY", "{\n}"),
            (google, EMULATOR, "127.0.0.1:4443"),
            (StorageKind::Local, "AWS_ENDPOINT_URL", "none"),
        ] {
            assert_eq!(refusal(kind, name, value), None);
        }
    }
}
