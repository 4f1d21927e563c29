//! Says in the house's two lines what is wrong with a command line.

use std::ffi::OsString;

use clap::Command;
use clap::error::{ContextKind, ContextValue, Error, ErrorKind};

use crate::failure::Failure;
use crate::nearest::{did_you_mean, nearest};

/// True for what is no mistake: help and version texts.
pub(super) fn is_text(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    )
}

/// Whether what the command is given may be a statement.
fn takes_sql(command: Option<&Command>) -> bool {
    command.is_some_and(|command| command.get_name() == "sql")
}

/// What is wrong, and the nearest thing that would be right.
pub(super) fn explain(error: &Error, root: &Command, arguments: &[OsString]) -> Failure {
    let command = meant(root, arguments);
    let path = match command {
        Some(command) => format!("{} {}", root.get_name(), command.get_name()),
        None => root.get_name().to_owned(),
    };
    let see = format!("`{path} --help` lists what it takes");
    let name = text(error, ContextKind::InvalidArg);
    let value = text(error, ContextKind::InvalidValue).unwrap_or_default();
    match (error.kind(), name) {
        (ErrorKind::UnknownArgument, Some(name))
            if takes_sql(command) && name.contains(char::is_whitespace) =>
        {
            Failure::usage(
                format_args!("`{path}` takes what begins with `-` as a flag, and has no such"),
                "write `--` before a statement that begins with a comment",
            )
        }
        (ErrorKind::UnknownArgument, Some(name)) if name.starts_with('-') => {
            let known = flags(root, command);
            let help = match nearest(&name, known.iter().map(String::as_str)) {
                Some(flag) => format!("did you mean `{flag}`? {see}"),
                None => see,
            };
            Failure::usage(format_args!("`{path}` has no flag `{name}`"), help)
        }
        (ErrorKind::UnknownArgument, Some(name)) => Failure::usage(
            format_args!("`{path}` does not know what to do with `{name}`"),
            see,
        ),
        (ErrorKind::InvalidSubcommand, _) => {
            let name = text(error, ContextKind::InvalidSubcommand).unwrap_or_default();
            let known: Vec<_> = root.get_subcommands().map(Command::get_name).collect();
            Failure::usage(
                format_args!("there is no command `{name}`"),
                did_you_mean(&name, known.iter().copied()),
            )
        }
        (ErrorKind::InvalidValue, Some(name)) if value.is_empty() => {
            Failure::usage(format_args!("`{}` needs a value", bare(&name)), see)
        }
        (ErrorKind::InvalidValue, Some(name)) => {
            let known = texts(error, ContextKind::ValidValue);
            Failure::usage(
                format_args!("`{}` cannot be `{value}`", bare(&name)),
                did_you_mean(&value, known.iter().map(String::as_str)),
            )
        }
        (ErrorKind::ValueValidation, Some(name)) => {
            let reason = std::error::Error::source(error)
                .map_or_else(|| "it is not valid".to_owned(), ToString::to_string);
            Failure::usage(format_args!("{} `{value}`: {reason}", bare(&name)), see)
        }
        (ErrorKind::MissingRequiredArgument, _) => {
            let missing = texts(error, ContextKind::InvalidArg).join(" and ");
            Failure::usage(format_args!("`{path}` needs {missing}"), see)
        }
        (ErrorKind::ArgumentConflict, Some(name)) => {
            let other = text(error, ContextKind::PriorArg).unwrap_or_default();
            let error = if other == name {
                format!("`{}` is given more than once", bare(&name))
            } else {
                format!(
                    "`{}` and `{}` exclude each other",
                    bare(&name),
                    bare(&other)
                )
            };
            Failure::usage(error, see)
        }
        _ => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            Failure::usage(first.trim_start_matches("error: "), see)
        }
    }
}

/// The command that the arguments speak of.
pub(super) fn meant<'a>(root: &'a Command, arguments: &[OsString]) -> Option<&'a Command> {
    arguments
        .iter()
        .skip(1)
        .find_map(|argument| root.find_subcommand(argument))
}

/// The long flags of a command, the global ones with them.
fn flags(root: &Command, command: Option<&Command>) -> Vec<String> {
    let own = command.into_iter().flat_map(Command::get_arguments);
    let global = root
        .get_arguments()
        .filter(|arg| command.is_none() || arg.is_global_set());
    own.chain(global)
        .filter_map(|arg| arg.get_long())
        .chain(["help"])
        .map(|long| format!("--{long}"))
        .collect()
}

/// `--format <FORMAT>` without what stands for its value.
fn bare(name: &str) -> &str {
    name.split([' ', '=']).next().unwrap_or(name)
}

fn text(error: &Error, kind: ContextKind) -> Option<String> {
    texts(error, kind).into_iter().next()
}

fn texts(error: &Error, kind: ContextKind) -> Vec<String> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => vec![text.clone()],
        Some(ContextValue::Strings(texts)) => texts.clone(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Asked, parse};
    use super::*;

    fn check(line: &str, error: &str, help: &str) {
        let failure = match parse(line.split(' ').map(OsString::from)) {
            Err(failure) => failure,
            Ok(asked) => panic!("`{line}` was understood: {asked:?}"),
        };
        assert_eq!(failure.exit().code(), 2, "{line}");
        let lines = format!("error: {error}\nhelp:  {help}");
        assert_eq!(failure.lines(), Some(lines), "{line}");
    }

    #[test]
    fn each_mistake_has_its_two_lines() {
        check(
            "plimsoll rnu",
            "there is no command `rnu`",
            "did you mean `run`?",
        );
        check(
            "plimsoll run --profle step",
            "`plimsoll run` has no flag `--profle`",
            "did you mean `--profile`? `plimsoll run --help` lists what it takes",
        );
        check(
            "plimsoll sql --warehose x",
            "`plimsoll sql` has no flag `--warehose`",
            "did you mean `--warehouse`? `plimsoll sql --help` lists what it takes",
        );
        check(
            "plimsoll sql x --format jsno",
            "`--format` cannot be `jsno`",
            "did you mean `json`?",
        );
        check(
            "plimsoll sql x --format yaml",
            "`--format` cannot be `yaml`",
            "it is one of: table, csv, json, ndjson, arrow, parquet",
        );
        check(
            "plimsoll sql a b",
            "`plimsoll sql` does not know what to do with `b`",
            "`plimsoll sql --help` lists what it takes",
        );
        check(
            "plimsoll run --url",
            "`--url` needs a value",
            "`plimsoll run --help` lists what it takes",
        );
        check(
            "plimsoll run --url http://x",
            "`plimsoll run` needs --model <NAME>",
            "`plimsoll run --help` lists what it takes",
        );
        check(
            "plimsoll run --url http://x --model m --requests many",
            "--requests `many`: invalid digit found in string",
            "`plimsoll run --help` lists what it takes",
        );
        check(
            "plimsoll run --url a --url b --model m",
            "`--url` is given more than once",
            "`plimsoll run --help` lists what it takes",
        );
    }

    #[test]
    fn a_statement_that_begins_with_a_comment_is_told_from_a_flag() {
        let line = ["plimsoll", "sql", "-- of today\nselect 1"].map(OsString::from);
        let failure = parse(line).expect_err("no flag is like that");
        let lines = "error: `plimsoll sql` takes what begins with `-` as a flag, and has no such\n\
                     help:  write `--` before a statement that begins with a comment";
        assert_eq!(failure.lines().as_deref(), Some(lines));
        let line = ["plimsoll", "sql", "--", "-- of today\nselect 1"].map(OsString::from);
        parse(line).expect("a statement");

        // Elsewhere it is a flag whose quotes are in the wrong place.
        let line = ["plimsoll", "run", "--model llama"].map(OsString::from);
        let lines = parse(line).expect_err("no flag is like that").lines();
        let lines = lines.expect("two lines");
        assert!(
            lines.contains("--model") && !lines.contains("statement"),
            "{lines}"
        );
    }

    #[test]
    fn help_and_version_are_no_mistakes() {
        for line in [
            "plimsoll --help",
            "plimsoll run -h",
            "plimsoll --version",
            "plimsoll",
        ] {
            let asked = parse(line.split(' ').map(OsString::from)).expect(line);
            assert!(matches!(asked, Asked::Text { .. }), "{line}");
        }
    }
}
