//! Clients for the clouds' storage, set up by their usual environment variables.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::client::SpawnedReqwestConnector;
use object_store::gcp::{GcpCredential, GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::{
    BackoffConfig, ClientConfigKey, ClientOptions, ObjectStore, RetryConfig,
    StaticCredentialProvider,
};
use tokio::runtime::{Builder, Handle, Runtime};

use super::StorageError;
use super::variables::{EMULATOR, Variables, blob_endpoint, connection_string, emulator_url};
use crate::location::{StorageKind, WarehouseLocation};

/// How long a connection may take to be made. Shorter than the libraries' own, since the service
/// that gives machines their credentials does not exist on most, and is asked first.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a request may take, its 5 MiB of a part included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

const ALLOW_HTTP: ClientConfigKey = ClientConfigKey::AllowHttp;

const RETRIES: usize = 4;
const RETRY_FOR: Duration = Duration::from_secs(60);

/// A client for the bucket of `location`.
pub(super) fn connect(
    location: &WarehouseLocation,
    variables: &Variables,
) -> Result<Arc<dyn ObjectStore>, StorageError> {
    let bucket = location.url().host_str().unwrap_or_default();
    let settings = |reason: String, help| StorageError::Settings {
        warehouse: location.to_string(),
        reason,
        help,
    };
    variables
        .check(location.kind())
        .map_err(|reason| settings(reason, VARIABLES_HELP))?;
    let secrets = variables.secrets();
    let wrong = |error: object_store::Error, help| {
        let failure = super::failure::StorageFailure::of(&error, &secrets);
        settings(failure.to_string(), help)
    };
    let connector = SpawnedReqwestConnector::new(network().map_err(|error| {
        let reason = format!("cannot start a thread for requests: {error}");
        settings(reason, THREADS_HELP)
    })?);
    match location.kind() {
        StorageKind::Local => unreachable!("local files need no client"),
        StorageKind::S3 => {
            if variables.get("AWS_PROFILE").is_some() && !variables.any(&S3_CREDENTIALS) {
                let reason = "AWS_PROFILE is set, and profiles are not read".to_string();
                return Err(settings(reason, PROFILE_HELP));
            }
            let client = s3(bucket, variables).with_http_connector(connector);
            Ok(Arc::new(
                client.build().map_err(|error| wrong(error, S3_HELP))?,
            ))
        }
        StorageKind::Gcs => {
            let client = google(bucket, variables).with_http_connector(connector);
            Ok(Arc::new(
                client.build().map_err(|error| wrong(error, GOOGLE_HELP))?,
            ))
        }
        StorageKind::Azure => {
            let client = azure(bucket, variables).with_http_connector(connector);
            Ok(Arc::new(
                client.build().map_err(|error| wrong(error, AZURE_HELP))?,
            ))
        }
    }
}

/// The runtime on which all requests to clouds are made, for as long as the process lives.
///
/// A connection belongs to the runtime on which it was made, and there are several: that of the
/// caller, that of queries, and one for each piece of Delta's work on a log, which ends with that.
/// A request on a connection whose runtime has ended fails.
fn network() -> io::Result<Handle> {
    static NETWORK: OnceLock<Runtime> = OnceLock::new();
    if let Some(runtime) = NETWORK.get() {
        return Ok(runtime.handle().clone());
    }
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("plimsoll-cloud")
        .enable_all()
        .build()?;
    // Where another thread was quicker, no request is ever made on this one.
    if let Err(spare) = NETWORK.set(runtime) {
        std::mem::forget(spare);
    }
    Ok(NETWORK.wait().handle().clone())
}

/// Variables that say where S3's credentials come from.
const S3_CREDENTIALS: [&str; 6] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_SKIP_SIGNATURE",
    "AWS_METADATA_ENDPOINT",
];

const PROFILE_HELP: &str = "put the profile's credentials into the environment: eval \"$(aws \
    configure export-credentials --format env)\"";
const VARIABLES_HELP: &str = "set the variable anew, or unset it";
const THREADS_HELP: &str = "is the limit of threads or open files reached? see `ulimit -a`";
const S3_HELP: &str = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_REGION, and for \
    another server than Amazon's AWS_ENDPOINT_URL";
const GOOGLE_HELP: &str = "set GOOGLE_APPLICATION_CREDENTIALS to the file of a service account";
const AZURE_HELP: &str = "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or \
    AZURE_STORAGE_CONNECTION_STRING";

fn s3(bucket: &str, variables: &Variables) -> AmazonS3Builder {
    let mut builder = AmazonS3Builder::new()
        .with_client_options(client_options())
        .with_retry(retries());
    for (name, value) in variables.beginning("AWS_") {
        let Ok(key) = name.parse::<AmazonS3ConfigKey>() else {
            continue;
        };
        if matches!(
            key,
            AmazonS3ConfigKey::Endpoint | AmazonS3ConfigKey::S3Endpoint
        ) {
            builder = builder.with_config(AmazonS3ConfigKey::Client(ALLOW_HTTP), is_http(value));
        }
        builder = builder.with_config(key, value);
    }
    builder.with_bucket_name(bucket)
}

fn google(bucket: &str, variables: &Variables) -> GoogleCloudStorageBuilder {
    let mut builder = GoogleCloudStorageBuilder::new()
        .with_client_options(client_options())
        .with_retry(retries());
    if let Some(url) = variables.get(EMULATOR).map(emulator_url) {
        builder = builder
            .with_config(GoogleConfigKey::Client(ALLOW_HTTP), is_http(&url))
            .with_config(GoogleConfigKey::BaseUrl, url)
            .with_credentials(Arc::new(StaticCredentialProvider::new(GcpCredential {
                bearer: "emulator".to_string(),
            })));
    }
    for (name, value) in variables.beginning("GOOGLE_") {
        let Ok(key) = name.parse::<GoogleConfigKey>() else {
            continue;
        };
        if key == GoogleConfigKey::BaseUrl {
            builder = builder.with_config(GoogleConfigKey::Client(ALLOW_HTTP), is_http(value));
        }
        builder = builder.with_config(key, value);
    }
    builder.with_bucket_name(bucket)
}

fn azure(container: &str, variables: &Variables) -> MicrosoftAzureBuilder {
    let mut builder = MicrosoftAzureBuilder::new()
        .with_client_options(client_options())
        .with_retry(retries());
    let mut set = |key: AzureConfigKey, value: &str| {
        let mut next = std::mem::take(&mut builder);
        if key == AzureConfigKey::Endpoint {
            next = next.with_config(AzureConfigKey::Client(ALLOW_HTTP), is_http(value));
        }
        builder = next.with_config(key, value);
    };
    // Names that Azure's own command has.
    for (name, key) in [
        ("AZURE_STORAGE_ACCOUNT", AzureConfigKey::AccountName),
        ("AZURE_STORAGE_KEY", AzureConfigKey::AccessKey),
    ] {
        if let Some(value) = variables.get(name) {
            set(key, value);
        }
    }
    if let Some(text) = variables.get("AZURE_STORAGE_CONNECTION_STRING") {
        let endpoint = blob_endpoint(text);
        for (name, value) in connection_string(text) {
            match name {
                "AccountName" => set(AzureConfigKey::AccountName, value),
                "AccountKey" => set(AzureConfigKey::AccessKey, value),
                "SharedAccessSignature" => set(AzureConfigKey::SasKey, value),
                _ => {}
            }
        }
        if let Some(endpoint) = endpoint {
            set(AzureConfigKey::Endpoint, &endpoint);
        }
    }
    for (name, value) in variables.beginning("AZURE_") {
        if let Ok(key) = name.parse::<AzureConfigKey>() {
            set(key, value);
        }
    }
    builder.with_container_name(container)
}

/// Whoever names an endpoint without TLS means it.
fn is_http(endpoint: &str) -> &'static str {
    match endpoint.starts_with("http://") {
        true => "true",
        false => "false",
    }
}

fn client_options() -> ClientOptions {
    ClientOptions::new()
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_timeout(REQUEST_TIMEOUT)
}

/// Few and quick: what fails longer is tried again as a whole, from the spool.
fn retries() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(3),
            base: 2.0,
        },
        max_retries: RETRIES,
        retry_timeout: RETRY_FOR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> Variables {
        let pair = |(name, value): &(&str, &str)| (name.to_string(), value.to_string());
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn s3_is_set_up_by_its_usual_variables_and_the_bucket_by_the_url() {
        let environment = variables(&[
            ("AWS_ACCESS_KEY_ID", "id"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_SESSION_TOKEN", ""),
            ("AWS_REGION", "eu-west-1"),
            ("AWS_BUCKET", "another"),
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:9000"),
            ("AWS_PAGER", "less"),
        ]);
        let builder = s3("mine", &environment);
        let value = |key| builder.get_config_value(&key);
        assert_eq!(value(AmazonS3ConfigKey::Bucket).as_deref(), Some("mine"));
        assert_eq!(
            value(AmazonS3ConfigKey::Region).as_deref(),
            Some("eu-west-1")
        );
        assert_eq!(value(AmazonS3ConfigKey::Token), None, "it is empty");
        let http = AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp);
        assert_eq!(value(http).as_deref(), Some("true"));
    }

    #[test]
    fn azure_takes_its_own_commands_variables_and_connection_strings() {
        let azurite = "DefaultEndpointsProtocol=http;AccountName=dev;AccountKey=a2V5;\
                       BlobEndpoint=http://127.0.0.1:10000/dev;";
        let builder = azure(
            "box",
            &variables(&[("AZURE_STORAGE_CONNECTION_STRING", azurite)]),
        );
        let value = |key| builder.get_config_value(&key);
        assert_eq!(value(AzureConfigKey::AccountName).as_deref(), Some("dev"));
        assert_eq!(value(AzureConfigKey::AccessKey).as_deref(), Some("a2V5"));
        assert_eq!(
            value(AzureConfigKey::Endpoint).as_deref(),
            Some("http://127.0.0.1:10000/dev")
        );
        let builder = azure("box", &variables(&[("AZURE_STORAGE_ACCOUNT", "dev")]));
        let name = builder.get_config_value(&AzureConfigKey::AccountName);
        assert_eq!(name.as_deref(), Some("dev"));
        assert_eq!(
            blob_endpoint("AccountName=a;EndpointSuffix=core.chinacloudapi.cn").as_deref(),
            Some("https://a.blob.core.chinacloudapi.cn")
        );
    }

    #[test]
    fn googles_emulator_is_found_by_its_variable() {
        let emulator = variables(&[("STORAGE_EMULATOR_HOST", "127.0.0.1:9023")]);
        let builder = google("mine", &emulator);
        let value = |key| builder.get_config_value(&key);
        assert_eq!(
            value(GoogleConfigKey::BaseUrl).as_deref(),
            Some("http://127.0.0.1:9023")
        );
        assert_eq!(value(GoogleConfigKey::Bucket).as_deref(), Some("mine"));
    }

    #[test]
    fn a_profile_without_credentials_is_refused_with_the_way_out() {
        let location = WarehouseLocation::parse("s3://bucket/x").expect("a place");
        let refused = connect(&location, &variables(&[("AWS_PROFILE", "work")]));
        let error = refused.expect_err("profiles are not read");
        assert!(
            error
                .help()
                .is_some_and(|help| help.contains("export-credentials"))
        );
        let key = "0123456789abcdef";
        let half = variables(&[("AWS_ACCESS_KEY_ID", key), ("AWS_PROFILE", "work")]);
        let error = connect(&location, &half).expect_err("the secret is missing");
        assert!(error.to_string().contains("SecretAccessKey"), "{error}");
        assert!(!error.to_string().contains(key), "{error}");
    }

    #[test]
    fn secrets_are_the_values_of_variables_with_such_names() {
        let account_key = "k".repeat(64);
        let text = format!("AccountName=dev;AccountKey={account_key}");
        let environment = variables(&[
            ("AWS_SECRET_ACCESS_KEY", "longer-than-8"),
            ("AZURE_STORAGE_CONNECTION_STRING", &text),
            ("AWS_REGION", "eu-central-1"),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/secrets/token"),
            (
                "GOOGLE_APPLICATION_CREDENTIALS",
                "/etc/plimsoll/account.json",
            ),
            ("MY_KEY", "short"),
        ]);
        let secrets = environment.secrets();
        assert_eq!(secrets, [text, account_key, "longer-than-8".to_string()]);
        assert!(!format!("{environment:?}").contains("longer"));
    }
}
