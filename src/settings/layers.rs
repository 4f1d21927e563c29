//! Puts the sources of settings on top of each other.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

use super::file::FileValue;
use super::key::Key;
use crate::failure::Failure;

/// What each source gives, before anything is checked.
#[derive(Debug)]
pub(crate) struct Layers {
    /// From the command line.
    pub(crate) flags: Vec<(Key, String)>,
    /// From the environment.
    pub(crate) variables: Vec<(Key, String)>,
    /// The settings file's name, for messages.
    pub(crate) file_name: PathBuf,
    /// From the settings file.
    pub(crate) file: Vec<FileValue>,
}

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The command line.
    Flag,
    /// An environment variable.
    Variable,
    /// This line of the settings file.
    File {
        /// Counted from 1.
        line: usize,
    },
    /// The built-in list.
    Default,
}

/// One value and where it came from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Value<'a> {
    /// As it was written.
    pub(crate) text: &'a str,
    /// Who wrote it.
    pub(crate) source: Source,
}

impl Layers {
    /// The value of the first source that has one.
    pub(crate) fn value(&self, key: Key) -> Value<'_> {
        let find = |values: &'_ [(Key, String)]| values.iter().position(|(known, _)| *known == key);
        if let Some(at) = find(&self.flags) {
            return Value {
                text: &self.flags[at].1,
                source: Source::Flag,
            };
        }
        if let Some(at) = find(&self.variables) {
            return Value {
                text: &self.variables[at].1,
                source: Source::Variable,
            };
        }
        if let Some(value) = self.file.iter().find(|value| value.key == key) {
            return Value {
                text: &value.text,
                source: Source::File { line: value.line },
            };
        }
        Value {
            text: key.entry().default,
            source: Source::Default,
        }
    }

    /// The value as what it means.
    ///
    /// # Errors
    /// `read` refuses it: a usage failure with the value, its source and the reason.
    pub(crate) fn parse<T, E: fmt::Display>(
        &self,
        key: Key,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, Failure> {
        let value = self.value(key);
        let entry = key.entry();
        read(value.text).map_err(|reason| {
            let text = without_secrets(value.text);
            let place = match value.source {
                Source::Flag => format!("--{} `{text}`", entry.flag),
                Source::Variable => format!("{} `{text}`", key.variable()),
                Source::File { line } => format!(
                    "{}, line {line}: `{}` is `{text}`",
                    self.file_name.display(),
                    entry.name
                ),
                Source::Default => format!("the default of `{}`, `{text}`", entry.name),
            };
            Failure::usage(
                format_args!("{place}: {reason}"),
                format!("the default is `{}`: {}", entry.default, entry.doc),
            )
        })
    }
}

/// A text as it may be shown: of a URL, without the parts in which people put
/// passwords and signatures.
fn without_secrets(text: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.into();
    };
    let (place, query) = match rest.find(['?', '#']) {
        Some(end) => (&rest[..end], "?.."),
        None => (rest, ""),
    };
    let (user, host) = match place.rsplit_once('@') {
        Some((_, host)) => ("..@", host),
        None => ("", place),
    };
    format!("{scheme}://{user}{host}{query}").into()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::Path;

    use super::*;
    use crate::settings::file;

    /// Layers from what each source would give.
    pub(crate) fn layers(flags: &[(Key, &str)], variables: &[(Key, &str)], file: &str) -> Layers {
        let owned = |values: &[(Key, &str)]| {
            values
                .iter()
                .map(|(key, text)| (*key, (*text).to_owned()))
                .collect()
        };
        Layers {
            flags: owned(flags),
            variables: owned(variables),
            file_name: file::DEFAULT_FILE.into(),
            file: file::parse(Path::new(file::DEFAULT_FILE), file).expect("a valid file"),
        }
    }

    #[test]
    fn a_refused_value_is_shown_without_secrets() {
        for (text, shown) in [
            ("s3://id:hidden@bucket/x", "s3://..@bucket/x"),
            ("az://box/x?sig=hidden", "az://box/x?.."),
            ("az://a:hidden@box?sig=b@c", "az://..@box?.."),
            ("ftp://bucket/x", "ftp://bucket/x"),
            ("./a?b@c", "./a?b@c"),
        ] {
            assert_eq!(without_secrets(text), shown);
        }
    }

    /// Every setting can be set from each source, and each source goes before the next.
    #[test]
    fn each_source_sets_every_setting() {
        for key in Key::ALL {
            let name = key.entry().name;
            let file = format!("{name} = \"from file\"");
            let flag = [(key, "from flag")];
            let variable = [(key, "from variable")];
            let check = |layers: Layers, text: &str, source: Source| {
                assert_eq!(layers.value(key), Value { text, source }, "{name}");
            };
            check(layers(&flag, &variable, &file), "from flag", Source::Flag);
            check(
                layers(&[], &variable, &file),
                "from variable",
                Source::Variable,
            );
            check(
                layers(&[], &[], &file),
                "from file",
                Source::File { line: 1 },
            );
            check(layers(&[], &[], ""), key.entry().default, Source::Default);
        }
    }
}
