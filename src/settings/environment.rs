//! Reads the environment variables that begin with `PLIMSOLL_`.

use std::ffi::OsString;

use super::key::{Key, VARIABLE_PREFIX};
use crate::failure::Failure;
use crate::nearest::nearest;

/// What the environment sets.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Environment {
    /// The settings that have a value.
    pub(crate) values: Vec<(Key, String)>,
    /// One line for each variable of ours that sets nothing.
    pub(crate) warnings: Vec<String>,
}

/// Picks our variables out of all. An empty one counts as not set.
///
/// # Errors
/// One of ours is no UTF-8 text.
pub(crate) fn read(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Environment, Failure> {
    let mut environment = Environment::default();
    for (name, text) in variables {
        let Some(name) = name
            .to_str()
            .filter(|name| name.starts_with(VARIABLE_PREFIX))
        else {
            continue;
        };
        let Some(key) = Key::by_variable(name) else {
            environment.warnings.push(unknown(name));
            continue;
        };
        let text = text.into_string().map_err(|_| {
            Failure::usage(
                format_args!("the environment variable {name} is no UTF-8 text"),
                format!(
                    "set it to something like `{}`, or unset it",
                    key.entry().default
                ),
            )
        })?;
        if !text.is_empty() {
            environment.values.push((key, text));
        }
    }
    environment.warnings.sort();
    Ok(environment)
}

fn unknown(name: &str) -> String {
    let known = Key::ALL.map(Key::variable);
    // The common beginning would make all names look alike.
    let bare = |variable: &str| variable[VARIABLE_PREFIX.len()..].to_owned();
    let names = known.each_ref().map(|variable| bare(variable));
    match nearest(&bare(name), names.iter().map(String::as_str)) {
        Some(neighbour) => {
            format!("warning: {name} sets nothing; did you mean {VARIABLE_PREFIX}{neighbour}?")
        }
        None => format!(
            "warning: {name} sets nothing; known are {}",
            known.join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(variables: &[(&str, &str)]) -> Environment {
        read(
            variables
                .iter()
                .map(|(name, text)| (name.into(), text.into())),
        )
        .expect("text")
    }

    #[test]
    fn only_our_variables_are_read() {
        let environment = from(&[
            ("HOME", "/home/me"),
            ("PLIMSOLL_SQL_TIMEOUT", "3s"),
            ("PLIMSOLL_WAREHOUSE", ""),
        ]);
        assert_eq!(environment.values, [(Key::SqlTimeout, "3s".to_owned())]);
        assert_eq!(environment.warnings, [""; 0]);
    }

    #[test]
    fn an_unknown_variable_is_a_warning_that_names_the_nearest() {
        let environment = from(&[("PLIMSOLL_WAREHOSE", "x"), ("PLIMSOLL_ZZZ", "y")]);
        assert_eq!(environment.values, []);
        assert_eq!(
            environment.warnings[0],
            "warning: PLIMSOLL_WAREHOSE sets nothing; did you mean PLIMSOLL_WAREHOUSE?"
        );
        assert!(environment.warnings[1].contains("known are PLIMSOLL_WAREHOUSE, PLIMSOLL_SPOOL"));
    }

    #[cfg(unix)]
    #[test]
    fn bytes_that_are_no_text_are_refused() {
        use std::os::unix::ffi::OsStringExt as _;
        let bytes = OsString::from_vec(vec![0xff]);
        let failure = read([("PLIMSOLL_SPOOL".into(), bytes.clone())]).expect_err("no text");
        assert_eq!(failure.exit().code(), 2);
        assert_eq!(read([("OTHER".into(), bytes)]), Ok(Environment::default()));
    }
}
