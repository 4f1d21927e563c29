//! Where a warehouse lies.

use std::fmt;
use std::path::{Path, PathBuf};

use url::Url;

use crate::table::Table;

/// The place of a warehouse: a folder of local files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarehouseLocation {
    folder: PathBuf,
    url: Url,
}

/// A text that names no place for a warehouse.
#[derive(Debug, thiserror::Error)]
pub enum LocationError {
    /// Another scheme than `file`.
    #[error(
        "warehouse `{text}`: this release keeps warehouses in local files only, not at `{scheme}://`"
    )]
    Scheme {
        /// The text.
        text: String,
        /// Its scheme.
        scheme: String,
    },
    /// Neither a path nor a `file://` URL of this host.
    #[error("warehouse `{text}` is neither a path nor a file:// URL of this host")]
    NotAPlace {
        /// The text.
        text: String,
    },
}

impl WarehouseLocation {
    /// Reads a path, relative ones from the current folder, or a `file://` URL.
    ///
    /// # Errors
    /// Another scheme, or a URL that names no local folder.
    pub fn parse(text: &str) -> Result<Self, LocationError> {
        let refuse = || LocationError::NotAPlace {
            text: text.to_string(),
        };
        let folder = match text.split_once("://") {
            Some(("file", _)) => {
                let url = Url::parse(text).map_err(|_| refuse())?;
                url.to_file_path().map_err(|()| refuse())?
            }
            Some((scheme, _)) => {
                return Err(LocationError::Scheme {
                    text: text.to_string(),
                    scheme: scheme.to_string(),
                });
            }
            None if text.is_empty() => return Err(refuse()),
            None => PathBuf::from(text),
        };
        let folder = std::path::absolute(folder).map_err(|_| refuse())?;
        let url = Url::from_directory_path(&folder).map_err(|()| refuse())?;
        Ok(Self { folder, url })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder as a URL that ends in a slash.
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

impl fmt::Display for WarehouseLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.folder.display())
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

    #[test]
    fn other_schemes_are_refused_by_name() {
        let message = WarehouseLocation::parse("s3://bucket/x")
            .expect_err("s3")
            .to_string();
        assert!(message.contains("not at `s3://`"), "{message}");
        assert!(WarehouseLocation::parse("").is_err());
        assert!(WarehouseLocation::parse("file://host/x").is_err());
    }
}
