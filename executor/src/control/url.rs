//! Where the control store is: a file, or a PostgreSQL server.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use url::Url;

/// Where the control store is. Prints without its password.
#[derive(Clone, PartialEq, Eq)]
pub struct ControlUrl(Place);

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// A SQLite database.
    File(PathBuf),
    /// A PostgreSQL database.
    Postgres(Box<Url>),
}

/// A text that says no place for a control store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlUrlError {
    /// Another scheme.
    #[error("it is neither a file, sqlite://PATH, nor postgres://USER@HOST/DATABASE")]
    Scheme,
    /// A scheme and nothing behind it.
    #[error("it names no file")]
    NoFile,
    /// What follows a known scheme is no URL.
    #[error("it is no URL: {reason}")]
    Malformed {
        /// Why.
        reason: String,
    },
    /// No database in the path.
    #[error("it names no database: postgres://USER@HOST/DATABASE")]
    NoDatabase,
}

impl FromStr for ControlUrl {
    type Err = ControlUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("sqlite://") {
            return match path {
                "" => Err(ControlUrlError::NoFile),
                path => Ok(Self(Place::File(PathBuf::from(path)))),
            };
        }
        if !text.contains("://") {
            return match text {
                "" => Err(ControlUrlError::NoFile),
                path => Ok(Self(Place::File(PathBuf::from(path)))),
            };
        }
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(ControlUrlError::Scheme);
        }
        let url = Url::parse(text).map_err(|error| ControlUrlError::Malformed {
            reason: error.to_string(),
        })?;
        if url.path().trim_matches('/').is_empty() {
            return Err(ControlUrlError::NoDatabase);
        }
        Ok(Self(Place::Postgres(Box::new(url))))
    }
}

impl ControlUrl {
    /// The SQLite database in this file.
    pub fn file(path: &Path) -> Self {
        Self(Place::File(path.to_path_buf()))
    }

    pub(super) fn place(&self) -> &Place {
        &self.0
    }
}

impl fmt::Display for ControlUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::File(path) => write!(f, "sqlite://{}", path.display()),
            Place::Postgres(url) => {
                let mut url = Url::clone(url);
                // Only an URL without a host refuses, and it has no password.
                url.set_password(None).ok();
                let pairs: Vec<(String, String)> = url
                    .query_pairs()
                    .filter(|(name, _)| name != "password")
                    .map(|(name, value)| (name.into_owned(), value.into_owned()))
                    .collect();
                match pairs.is_empty() {
                    true => url.set_query(None),
                    false => {
                        url.query_pairs_mut().clear().extend_pairs(pairs);
                    }
                }
                f.write_str(url.as_str())
            }
        }
    }
}

impl fmt::Debug for ControlUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ControlUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_apart_and_passwords_are_not_said() {
        let shown = |text: &str| text.parse::<ControlUrl>().map(|url| url.to_string());
        assert_eq!(
            shown("sqlite://./plimsoll-data/control.db"),
            Ok("sqlite://./plimsoll-data/control.db".to_string())
        );
        assert_eq!(
            shown("postgres://ada:secret@db.example:5433/plimsoll?sslmode=require&password=p"),
            Ok("postgres://ada@db.example:5433/plimsoll?sslmode=require".to_string())
        );
        assert_eq!(shown("sqlite://"), Err(ControlUrlError::NoFile));
        assert_eq!(
            shown("./control.db"),
            Ok("sqlite://./control.db".to_string())
        );
        assert_eq!(shown(""), Err(ControlUrlError::NoFile));
        assert_eq!(shown("mysql://host/db"), Err(ControlUrlError::Scheme));
        assert_eq!(shown("postgres://host"), Err(ControlUrlError::NoDatabase));
        let malformed = shown("postgres://host:port/db").expect_err("no port");
        assert!(malformed.to_string().contains("port"), "{malformed}");
    }
}
