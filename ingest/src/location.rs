//! Where a warehouse lies.

use std::fmt;
use std::io;
use std::path::{Component, Path, PathBuf};

use url::Url;

use crate::table::Table;

/// The place of a warehouse: a folder of local files.
///
/// One folder has one name, however it was written, so that locations and
/// their texts can be compared.
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
    /// Links are followed as far as the path exists; the folder itself need
    /// not exist yet.
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
        let folder = normal(&folder).map_err(|_| refuse())?;
        let url = Url::from_directory_path(&folder).map_err(|()| refuse())?;
        Ok(Self { folder, url })
    }

    /// Whether a text names this place, in whichever way.
    pub fn is_named(&self, text: &str) -> bool {
        Self::parse(text).is_ok_and(|place| place == *self)
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

/// The path's one name: absolute, without links, `.`, `..` or a slash at its
/// end.
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

    fn parse(path: impl fmt::Display) -> WarehouseLocation {
        WarehouseLocation::parse(&path.to_string()).expect("a place")
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
        std::fs::create_dir_all(early.folder()).expect("folders");
        assert_eq!(early, parse(format!("{root}/link/new/warehouse")));

        assert_eq!(parse("x/../none"), parse("none"));
        let table = parse("x/../none").table_url(Table::Runs);
        assert!(!table.as_str().contains(".."), "{table}");
        assert_eq!(parse("/../none").to_string(), "/none");
    }
}
