//! Where a warehouse lies.

use std::fmt;
use std::io;
use std::path::{Component, Path, PathBuf};

use object_store::path::Path as ObjectPath;
use url::Url;

use crate::table::Table;

/// The place of a warehouse: a folder of local files, or a prefix of a bucket.
///
/// One place has one name, however it was written, so that locations and
/// their texts can be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarehouseLocation {
    kind: StorageKind,
    /// The folder; `None` in a bucket.
    folder: Option<PathBuf>,
    url: Url,
}

/// The kinds of storage that can hold a warehouse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StorageKind {
    /// Files of this host, `file://`.
    Local,
    /// Amazon S3, or a server that speaks its protocol, `s3://bucket/prefix`.
    S3,
    /// Google Cloud Storage, `gs://bucket/prefix`.
    Gcs,
    /// Azure Blob Storage, `az://container/prefix`.
    Azure,
}

impl StorageKind {
    /// The kind that a URL's scheme names; some have more than one name.
    fn of_scheme(scheme: &str) -> Option<Self> {
        match scheme {
            "file" => Some(Self::Local),
            "s3" | "s3a" => Some(Self::S3),
            "gs" | "gcs" => Some(Self::Gcs),
            "az" | "azure" => Some(Self::Azure),
            _ => None,
        }
    }

    /// The scheme that URLs have here.
    const fn scheme(self) -> &'static str {
        match self {
            Self::Local => "file",
            Self::S3 => "s3",
            Self::Gcs => "gs",
            Self::Azure => "az",
        }
    }
}

/// A text that names no place for a warehouse.
///
/// URLs may hold secrets where people put them by mistake, so what is wrong
/// with one is said without it.
#[derive(Debug, thiserror::Error)]
pub enum LocationError {
    /// A scheme that is not known.
    #[error(
        "a warehouse cannot lie at `{scheme}://`: a path, file://, s3://, gs:// and az:// are known"
    )]
    Scheme {
        /// The scheme.
        scheme: String,
    },
    /// Neither a path nor a `file://` URL of this host.
    #[error("warehouse `{text}` is neither a path nor a file:// URL of this host")]
    NotAPlace {
        /// The text.
        text: String,
    },
    /// A folder whose name cannot be written as Delta's logs write names.
    #[error("warehouse {text:?}: {what}; choose a folder of another name")]
    Name {
        /// The text.
        text: String,
        /// What is wrong.
        what: &'static str,
    },
    /// A URL of a bucket that is none.
    #[error("the warehouse's URL is not of the form {scheme}://BUCKET/PREFIX: {reason}")]
    NotABucket {
        /// Its scheme.
        scheme: &'static str,
        /// What is wrong, without the text.
        reason: String,
    },
    /// Something beside bucket and prefix: that is where secrets are put.
    #[error(
        "the warehouse's URL holds {what}; credentials and options come from the environment, \
         since URLs are printed and kept"
    )]
    Extra {
        /// The part.
        what: &'static str,
    },
}

impl WarehouseLocation {
    /// Reads a path, relative ones from the current folder, or a URL with the
    /// scheme `file`, `s3`, `gs` or `az`.
    ///
    /// Links are followed as far as the path exists; the folder itself need
    /// not exist yet.
    ///
    /// # Errors
    /// Another scheme, or a URL that names no local folder and no bucket.
    pub fn parse(text: &str) -> Result<Self, LocationError> {
        let refuse = || LocationError::NotAPlace {
            text: text.to_string(),
        };
        let folder = match text.split_once("://") {
            Some((scheme, _)) => match StorageKind::of_scheme(&scheme.to_ascii_lowercase()) {
                Some(StorageKind::Local) => {
                    let url = Url::parse(text).map_err(|_| refuse())?;
                    url.to_file_path().map_err(|()| refuse())?
                }
                Some(kind) => return Self::in_bucket(kind, text),
                None => {
                    return Err(LocationError::Scheme {
                        scheme: scheme.to_string(),
                    });
                }
            },
            None if text.is_empty() => return Err(refuse()),
            None => PathBuf::from(text),
        };
        let folder = normal(&folder).map_err(|_| refuse())?;
        let url = Url::from_directory_path(&folder).map_err(|()| refuse())?;
        let unfit = |what| LocationError::Name {
            text: text.to_string(),
            what,
        };
        let path = ObjectPath::from_url_path(url.path())
            .map_err(|_| unfit("its path holds a line break or is no UTF-8"))?;
        if holds_escape(path.as_ref()) {
            return Err(unfit(
                "its path holds a `%` before two hexadecimal digits, which Delta takes for one letter",
            ));
        }
        Ok(Self {
            kind: StorageKind::Local,
            folder: Some(folder),
            url,
        })
    }

    fn in_bucket(kind: StorageKind, text: &str) -> Result<Self, LocationError> {
        let scheme = kind.scheme();
        let wrong = |reason: String| LocationError::NotABucket { scheme, reason };
        let url = Url::parse(text).map_err(|error| wrong(error.to_string()))?;
        let has_user = !url.username().is_empty() || url.password().is_some();
        for (is_there, what) in [
            (has_user, "a user or a password"),
            (url.query().is_some(), "a query (`?..`)"),
            (url.fragment().is_some(), "a fragment (`#..`)"),
            (url.port().is_some(), "a port"),
        ] {
            if is_there {
                return Err(LocationError::Extra { what });
            }
        }
        let bucket = match url.host_str() {
            Some(bucket) if !bucket.is_empty() => bucket,
            _ => return Err(wrong("the bucket is missing".to_string())),
        };
        let prefix = ObjectPath::from_url_path(url.path().trim_matches('/'))
            .map_err(|error| wrong(error.to_string()))?;
        let mut one_name =
            Url::parse(&format!("{scheme}://{bucket}/")).map_err(|e| wrong(e.to_string()))?;
        if let Ok(mut segments) = one_name.path_segments_mut() {
            let parts: Vec<_> = prefix.parts().collect();
            segments
                .pop_if_empty()
                .extend(parts.iter().map(AsRef::<str>::as_ref))
                .push("");
        }
        Ok(Self {
            kind,
            folder: None,
            url: one_name,
        })
    }

    /// Whether a text names this place, in whichever way.
    pub fn is_named(&self, text: &str) -> bool {
        Self::parse(text).is_ok_and(|place| place == *self)
    }

    /// What kind of storage holds it.
    pub fn kind(&self) -> StorageKind {
        self.kind
    }

    /// The folder of local files; `None` in a bucket.
    pub fn local_folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// The place as a URL that ends in a slash.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The URL of a table's folder, ending in a slash.
    pub fn table_url(&self, table: Table) -> Url {
        let path = format!("{}/", table.path());
        self.url
            .join(&path)
            .expect("a table's path is a relative URL")
    }
}

/// The path's one name: absolute, without links, `.`, `..` or a slash at its
/// end.
/// Whether a text has what stands for another letter in URLs.
fn holds_escape(text: &str) -> bool {
    let mut windows = text.as_bytes().windows(3);
    windows.any(|bytes| bytes[0] == b'%' && bytes[1..].iter().all(u8::is_ascii_hexdigit))
}

fn normal(path: &Path) -> io::Result<PathBuf> {
    let absolute = std::path::absolute(path)?;
    let mut folder = PathBuf::new();
    for part in absolute.components() {
        match part {
            Component::Prefix(_) | Component::RootDir => folder.push(part),
            Component::CurDir => {}
            // Links before it were followed, so this is the true parent.
            Component::ParentDir => {
                folder.pop();
            }
            Component::Normal(name) => {
                folder.push(name);
                // What does not exist yet, or may not be looked at, keeps its
                // name: whoever opens it later says what is wrong.
                if let Ok(real) = folder.canonicalize() {
                    folder = real;
                }
            }
        }
    }
    Ok(folder)
}

impl fmt::Display for WarehouseLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.folder {
            Some(folder) => write!(f, "{}", folder.display()),
            None => f.write_str(self.url.as_str().trim_end_matches('/')),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_file_urls_name_the_same_place() {
        let path = WarehouseLocation::parse("/data/a b").expect("path");
        let url = WarehouseLocation::parse("file:///data/a%20b").expect("url");
        assert_eq!(path, url);
        assert_eq!(
            path.table_url(Table::Runs).as_str(),
            "file:///data/a%20b/reports/runs/"
        );
        assert_eq!(path.to_string(), "/data/a b");
    }

    fn refusal(text: &str) -> String {
        WarehouseLocation::parse(text).expect_err(text).to_string()
    }

    #[test]
    fn other_schemes_are_refused_by_name() {
        assert!(refusal("ftp://bucket/x").contains("at `ftp://`: a path, file://, s3://"));
        assert!(refusal("").contains("neither a path"));
        assert!(refusal("file://host/x").contains("neither a path"));
    }

    #[test]
    fn a_bucket_has_one_name_however_it_is_written() {
        for text in [
            "s3://bucket/a/b",
            "s3://bucket/a/b/",
            "s3a://bucket//a/b",
            "S3://bucket/x/../a/./b",
        ] {
            let place = parse(text);
            assert_eq!(place.to_string(), "s3://bucket/a/b", "{text}");
            assert_eq!(
                place.table_url(Table::Runs).as_str(),
                "s3://bucket/a/b/reports/runs/"
            );
            assert_eq!(place.local_folder(), None);
            assert!(parse("s3://bucket/a/b").is_named(text));
        }
        assert_eq!(parse("gs://bucket").to_string(), "gs://bucket");
        assert_eq!(parse("gs://bucket").url().as_str(), "gs://bucket/");
        assert_eq!(parse("az://box/a b").to_string(), "az://box/a%20b");
        assert_eq!(parse("az://box/a%20b"), parse("azure://box/a b"));
    }

    #[test]
    fn what_is_wrong_with_a_bucket_is_said_without_its_secrets() {
        for text in [
            "s3://AKIA:hidden@bucket/x",
            "az://box/x?sv=1&sig=hidden",
            "gs://bucket/x#hidden",
            "s3://bucket:99999/hidden",
        ] {
            let message = refusal(text);
            assert!(!message.contains("hidden"), "{message}");
        }
        assert!(refusal("s3://AKIA:x@b").contains("a user or a password"));
        assert!(refusal("az://box?sig=x").contains("a query"));
        assert!(refusal("s3:///x").contains("s3://BUCKET/PREFIX"));
        assert!(refusal("gs://").contains("gs://BUCKET/PREFIX"));
    }

    fn parse(path: impl fmt::Display) -> WarehouseLocation {
        WarehouseLocation::parse(&path.to_string()).expect("a place")
    }

    #[test]
    fn folders_that_delta_would_take_for_others_are_refused() {
        for text in [
            "results/a%41",
            "results/100%25",
            "results/two\nlines",
            "/x%2F",
        ] {
            let error = WarehouseLocation::parse(text).expect_err(text);
            assert!(matches!(error, LocationError::Name { .. }), "{error}");
            assert_eq!(error.to_string().lines().count(), 1, "{error}");
        }
        for text in [
            "results/100% real",
            "results/50%",
            "results/%x",
            "a b/\u{fc}#?&",
        ] {
            WarehouseLocation::parse(text).expect(text);
        }
    }

    #[test]
    fn one_folder_has_one_name_however_it_is_written() {
        let root = tempfile::tempdir().expect("root");
        let root = root.path().canonicalize().expect("root");
        let wh = root.join("wh");
        std::fs::create_dir(&wh).expect("folder");
        std::os::unix::fs::symlink(&wh, root.join("link")).expect("link");
        let root = root.display();
        let expected = format!("{root}/wh");
        for text in [
            format!("{root}/wh"),
            format!("{root}/wh/"),
            format!("{root}/./wh/."),
            format!("{root}/link"),
            format!("{root}/link/"),
            format!("{root}/link/../wh"),
            format!("{root}/missing/../link"),
            format!("file://{root}/wh/"),
            format!("file://{root}/link"),
        ] {
            let place = parse(&text);
            assert_eq!(place, parse(&expected), "{text}");
            assert!(place.is_named(&text), "{text}");
            assert_eq!(place.to_string(), expected, "{text}");
        }
    }

    #[test]
    fn a_place_that_does_not_exist_yet_has_its_name_already() {
        let root = tempfile::tempdir().expect("root");
        let root = root.path().canonicalize().expect("root");
        let real = root.join("real");
        std::fs::create_dir(&real).expect("folder");
        std::os::unix::fs::symlink(&real, root.join("link")).expect("link");
        let root = root.display();
        let early = parse(format!("{root}/link/new/warehouse/"));
        assert_eq!(early.to_string(), format!("{root}/real/new/warehouse"));
        std::fs::create_dir_all(early.local_folder().expect("local")).expect("folders");
        assert_eq!(early, parse(format!("{root}/link/new/warehouse")));

        assert_eq!(parse("x/../none"), parse("none"));
        let table = parse("x/../none").table_url(Table::Runs);
        assert!(!table.as_str().contains(".."), "{table}");
        assert_eq!(parse("/../none").to_string(), "/none");
    }
}
