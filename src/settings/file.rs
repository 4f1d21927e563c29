//! Reads `plimsoll.toml`: known keys only, each with the line it stands on.

use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::key::Key;
use crate::nearest::did_you_mean;

/// The file that is read where no other is named.
pub(crate) const DEFAULT_FILE: &str = "plimsoll.toml";

/// One setting of a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FileValue {
    /// What is set.
    pub(crate) key: Key,
    /// The value as text.
    pub(crate) text: String,
    /// The line of the value, counted from 1.
    pub(crate) line: usize,
}

/// Why a settings file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    /// It cannot be read.
    #[error("cannot read the settings file {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no TOML.
    #[error("{}, line {line}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line that cannot be parsed, counted from 1.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// It sets something that does not exist.
    #[error("{}, line {line}: unknown key `{key}`", path.display())]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The line of the key, counted from 1.
        line: usize,
        /// The key with its section.
        key: String,
    },
    /// It gives a list, a date or a section where one plain value is expected.
    #[error("{}, line {line}: `{key}` takes one plain value, not {found}", path.display())]
    NotPlain {
        /// The file.
        path: PathBuf,
        /// The line of the value, counted from 1.
        line: usize,
        /// The key with its section.
        key: String,
        /// What kind of value it is.
        found: &'static str,
    },
}

impl FileError {
    /// What to do about it.
    pub(crate) fn help(&self) -> String {
        match self {
            Self::Unreadable { .. } => {
                "name a file that exists and may be read, or leave out --config".to_owned()
            }
            Self::Syntax { .. } => {
                "settings are written as `key = \"value\"`, sections as `[sql]`".to_owned()
            }
            Self::UnknownKey { key, .. } => {
                did_you_mean(key, Key::ALL.map(|known| known.entry().name))
            }
            Self::NotPlain { key, .. } => {
                let example = Key::by_name(key).map_or("", |key| key.entry().default);
                format!("write it as `\"{example}\"`, for instance")
            }
        }
    }
}

/// Reads the file at `path`.
///
/// # Errors
/// It cannot be read, is no TOML, or has a key or value that is not known.
pub(crate) fn read(path: &Path) -> Result<Vec<FileValue>, FileError> {
    let text = std::fs::read_to_string(path).map_err(|source| FileError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    parse(path, &text)
}

/// Reads the file of the default name in the current folder; no settings where there is none.
///
/// # Errors
/// As [`read`].
pub(crate) fn read_default() -> Result<Vec<FileValue>, FileError> {
    let path = Path::new(DEFAULT_FILE);
    match read(path) {
        Err(FileError::Unreadable { source, .. })
            if source.kind() == std::io::ErrorKind::NotFound =>
        {
            Ok(Vec::new())
        }
        other => other,
    }
}

/// Parses the text of the file that is called `path`.
pub(crate) fn parse(path: &Path, text: &str) -> Result<Vec<FileValue>, FileError> {
    let document = DeTable::parse(text).map_err(|error| FileError::Syntax {
        path: path.to_owned(),
        line: line_at(text, error.span().map_or(0, |span| span.start)),
        message: error.message().to_owned(),
    })?;
    let mut values = Vec::new();
    Walk { path, text }.table("", document.get_ref(), &mut values)?;
    values.sort_by_key(|value| value.line);
    Ok(values)
}

/// Carries what error messages need through the nested tables.
struct Walk<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Walk<'_> {
    fn table(
        &self,
        section: &str,
        table: &DeTable<'_>,
        values: &mut Vec<FileValue>,
    ) -> Result<(), FileError> {
        for (key, value) in table {
            let name = if section.is_empty() {
                key.get_ref().to_string()
            } else {
                format!("{section}.{}", key.get_ref())
            };
            let is_section = Key::ALL.iter().any(|known| {
                let known = known.entry().name;
                known
                    .strip_prefix(name.as_str())
                    .is_some_and(|rest| rest.starts_with('.'))
            });
            match (Key::by_name(&name), value.get_ref()) {
                (Some(key), _) => values.push(self.value(key, value)?),
                (None, DeValue::Table(inner)) if is_section || !inner.is_empty() => {
                    self.table(&name, inner, values)?;
                }
                (None, _) => {
                    return Err(FileError::UnknownKey {
                        path: self.path.to_owned(),
                        line: line_at(self.text, key.span().start),
                        key: name,
                    });
                }
            }
        }
        Ok(())
    }

    fn value(&self, key: Key, value: &Spanned<DeValue<'_>>) -> Result<FileValue, FileError> {
        let line = line_at(self.text, value.span().start);
        let text = match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(number) => number.as_str().to_owned(),
            DeValue::Float(number) => number.as_str().to_owned(),
            DeValue::Boolean(flag) => flag.to_string(),
            DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
                return Err(FileError::NotPlain {
                    path: self.path.to_owned(),
                    line,
                    key: key.entry().name.to_owned(),
                    found: match value.get_ref() {
                        DeValue::Array(_) => "a list",
                        DeValue::Table(_) => "a section",
                        _ => "a date",
                    },
                });
            }
        };
        Ok(FileValue { key, text, line })
    }
}

fn line_at(text: &str, offset: usize) -> usize {
    let before = text.get(..offset).unwrap_or(text);
    before.matches('\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names, values and lines; or the error and its help.
    type Parsed = Result<Vec<(&'static str, String, usize)>, (String, String)>;

    fn parsed(text: &str) -> Parsed {
        parse(Path::new("plimsoll.toml"), text)
            .map(|values| {
                values
                    .into_iter()
                    .map(|value| (value.key.entry().name, value.text, value.line))
                    .collect()
            })
            .map_err(|error| (error.to_string(), error.help()))
    }

    #[test]
    fn values_come_with_their_lines() {
        let text = "# ours\nwarehouse = \"/srv/w\"\n\n[sql]\nmax_rows = 100\ntimeout = \"2m\"\n";
        assert_eq!(
            parsed(text),
            Ok(vec![
                ("warehouse", "/srv/w".to_owned(), 2),
                ("sql.max_rows", "100".to_owned(), 5),
                ("sql.timeout", "2m".to_owned(), 6),
            ])
        );
        assert_eq!(
            parsed("sql.max_rows = 1\nsql = 1").map_err(|(error, _)| error),
            Err("plimsoll.toml, line 2: duplicate key".to_owned())
        );
    }

    #[test]
    fn an_unknown_key_names_its_neighbour_and_its_line() {
        let cases = [
            ("warehose = \"x\"", 1, "warehose", "warehouse"),
            ("\n[sql]\ntimout = \"1s\"", 3, "sql.timout", "sql.timeout"),
            ("[sqll]\ntimeout = \"1s\"", 2, "sqll.timeout", "sql.timeout"),
        ];
        for (text, line, key, neighbour) in cases {
            let (error, help) = parsed(text).expect_err(text);
            assert_eq!(
                error,
                format!("plimsoll.toml, line {line}: unknown key `{key}`")
            );
            assert_eq!(help, format!("did you mean `{neighbour}`?"));
        }
    }

    #[test]
    fn an_unknown_empty_section_is_noticed_too() {
        let (error, _) = parsed("[sqk]\n").expect_err("unknown section");
        assert_eq!(error, "plimsoll.toml, line 1: unknown key `sqk`");
        assert_eq!(parsed("[sql]\n"), Ok(vec![]));
    }

    #[test]
    fn only_plain_values_are_taken() {
        let (error, help) = parsed("spool = [\"a\"]").expect_err("a list");
        assert_eq!(
            error,
            "plimsoll.toml, line 1: `spool` takes one plain value, not a list"
        );
        assert_eq!(
            help,
            "write it as `\"./plimsoll-data/spool\"`, for instance"
        );
        let (error, _) = parsed("spool.dir = \"a\"").expect_err("a section");
        assert_eq!(
            error,
            "plimsoll.toml, line 1: `spool` takes one plain value, not a section"
        );
    }

    #[test]
    fn broken_toml_names_its_line() {
        let (error, help) = parsed("warehouse = \"a\"\nspool = \n").expect_err("broken");
        assert!(error.starts_with("plimsoll.toml, line 2: "), "{error}");
        assert!(help.contains("key = "), "{help}");
    }

    #[test]
    fn a_named_file_must_exist() {
        let error = read(Path::new("no/such/file.toml")).expect_err("not there");
        assert!(
            error
                .to_string()
                .starts_with("cannot read the settings file no/such/file.toml")
        );
    }
}
