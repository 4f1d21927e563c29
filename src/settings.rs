//! What can be set, and what each part of the program is given of it.
//!
//! A value comes from the first of these that has it: the command line, an environment variable
//! `PLIMSOLL_*`, the settings file, the built-in default. [`key::Key`] lists every setting once;
//! the three sources are made from that list.

mod bytes;
mod environment;
mod file;
pub(crate) mod flags;
pub(crate) mod key;
mod layers;
mod retention;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use plimsoll_executor::control::ControlUrl;
use plimsoll_ingest::WarehouseLocation;
use plimsoll_warehouse::Retention;
use url::Url;

use crate::failure::Failure;
use key::{Key, Scope};
use layers::{Layers, Source};

/// All settings, checked.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Where the measured rows are.
    pub(crate) warehouse: WarehouseLocation,
    /// Where unpublished runs are.
    pub(crate) spool: PathBuf,
    /// Where jobs are until they end.
    pub(crate) control: ControlUrl,
    /// How long tables are kept.
    pub(crate) retention: Retention,
    /// What SQL statements may take.
    pub(crate) sql: SqlSettings,
    /// How `serve` listens, answers and works.
    pub(crate) serve: ServeSettings,
    /// Which server commands talk to.
    pub(crate) server: Url,
    /// Flags of this command line that any other command must repeat to mean the same place, by
    /// name and value.
    pub(crate) place_flags: Vec<(String, String)>,
}

/// What SQL statements may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SqlSettings {
    /// How long one may run.
    pub(crate) timeout: Duration,
    /// How many rows one may return; `None` for all.
    pub(crate) max_rows: Option<usize>,
    /// How many bytes of memory they may hold together.
    pub(crate) memory: usize,
}

/// How `serve` listens, answers and works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServeSettings {
    /// Address and port.
    pub(crate) listen: SocketAddr,
    /// Whether somebody chose it; a chosen port that is taken is an error.
    pub(crate) chosen: bool,
    /// How many rows an answer may have.
    pub(crate) max_rows: usize,
    /// How often the warehouse is maintained; `None` for never.
    pub(crate) maintain: Option<Duration>,
    /// How many bytes of answers are kept; 0 for none.
    pub(crate) answers: usize,
    /// What it does.
    pub(crate) roles: Roles,
    /// How many tasks it works on at once.
    pub(crate) tasks: usize,
    /// How long tasks may go on after it was told to end.
    pub(crate) grace: Duration,
}

/// What a service does; at least one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Roles {
    /// It answers over HTTP.
    pub(crate) api: bool,
    /// It works on tasks.
    pub(crate) worker: bool,
    /// It hands in the jobs of schedules.
    pub(crate) scheduler: bool,
}

impl Settings {
    /// Collects the settings from the command line, the environment and the settings file.
    ///
    /// Also answers the warnings, one line each, for variables that set nothing.
    ///
    /// # Errors
    /// A usage failure that names the value, where it came from, and what would be right.
    pub(crate) fn load(
        flags: Vec<(Key, String)>,
        config: Option<&Path>,
    ) -> Result<(Self, Vec<String>), Failure> {
        let (file_name, file) = match config {
            Some(path) => (path, file::read(path)),
            None => (Path::new(file::DEFAULT_FILE), file::read_default()),
        };
        let file = file.map_err(|error| Failure::usage(&error, error.help()))?;
        let environment = environment::read(std::env::vars_os())?;
        let layers = Layers {
            flags,
            variables: environment.values,
            file_name: file_name.to_owned(),
            file,
        };
        let mut settings = Self::from_layers(&layers)?;
        if let Some(path) = config {
            let config = ("config".to_owned(), path.display().to_string());
            settings.place_flags.insert(0, config);
        }
        Ok((settings, environment.warnings))
    }

    fn from_layers(layers: &Layers) -> Result<Self, Failure> {
        Ok(Self {
            warehouse: layers.parse(Key::Warehouse, |text| {
                WarehouseLocation::parse(text).map_err(|error| crate::failure::chain(&error))
            })?,
            spool: layers.parse(Key::Spool, |text| match text {
                "" => Err("it is empty"),
                path => Ok(PathBuf::from(path)),
            })?,
            control: layers.parse(Key::Control, str::parse)?,
            retention: layers.parse(Key::Retention, retention::parse)?,
            sql: SqlSettings {
                timeout: layers.parse(Key::SqlTimeout, timeout)?,
                max_rows: layers.parse(Key::SqlMaxRows, max_rows)?,
                memory: layers.parse(Key::SqlMemory, bytes::parse)?,
            },
            serve: ServeSettings {
                listen: layers.parse(Key::ServeListen, |text| {
                    text.parse().map_err(|_| "it is no address with a port")
                })?,
                chosen: layers.value(Key::ServeListen).source != Source::Default,
                max_rows: layers.parse(Key::ServeMaxRows, |text| {
                    text.parse().map_err(|_| "it is no whole number")
                })?,
                maintain: layers.parse(Key::ServeMaintain, |text| match text {
                    "off" => Ok(None),
                    time => timeout(time).map(Some),
                })?,
                answers: layers.parse(Key::ServeAnswers, |text| match text {
                    "off" => Ok(0),
                    size => bytes::parse(size),
                })?,
                roles: layers.parse(Key::ServeRole, roles)?,
                tasks: layers.parse(Key::ServeTasks, |text| match text.parse() {
                    Ok(tasks @ 1..=MOST_TASKS) => Ok(tasks),
                    _ => Err(format!("it is no whole number from 1 to {MOST_TASKS}")),
                })?,
                grace: layers.parse(Key::ServeGrace, |text| {
                    humantime::parse_duration(text).map_err(|error| error.to_string())
                })?,
            },
            server: layers.parse(Key::Server, server)?,
            place_flags: layers
                .flags
                .iter()
                .filter(|(key, _)| key.entry().scope == Scope::Everywhere)
                .map(|(key, value)| (key.entry().flag.to_owned(), value.clone()))
                .collect(),
        })
    }
}

/// Tasks that one service works on at once, at most: each has threads and connections of its own.
const MOST_TASKS: usize = 256;

fn roles(text: &str) -> Result<Roles, String> {
    let mut roles = Roles {
        api: false,
        worker: false,
        scheduler: false,
    };
    for word in text.split(',').map(str::trim) {
        match word {
            "api" => roles.api = true,
            "worker" => roles.worker = true,
            "scheduler" => roles.scheduler = true,
            other => {
                return Err(format!(
                    "`{other}` is no role; there are api, worker and scheduler"
                ));
            }
        }
    }
    Ok(roles)
}

fn server(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "it is no URL")?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        _ => Err("it is neither http:// nor https://"),
    }
}

fn timeout(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err("it is no time at all".to_owned()),
        Ok(duration) => Ok(duration),
        Err(error) => Err(error.to_string()),
    }
}

fn max_rows(text: &str) -> Result<Option<usize>, &'static str> {
    match text {
        "unlimited" => Ok(None),
        number => number
            .parse()
            .map(Some)
            .map_err(|_| "it is neither a whole number nor `unlimited`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use layers::tests::layers;

    fn resolved(
        flags: &[(Key, &str)],
        variables: &[(Key, &str)],
        file: &str,
    ) -> Result<Settings, Failure> {
        Settings::from_layers(&layers(flags, variables, file))
    }

    #[test]
    fn defaults_are_valid() {
        let settings = resolved(&[], &[], "").expect("defaults");
        assert_eq!(settings.spool, Path::new("./plimsoll-data/spool"));
        assert_eq!(
            settings.sql,
            SqlSettings {
                timeout: Duration::from_secs(60),
                max_rows: None,
                memory: 1 << 30,
            }
        );
        assert!(settings.serve.listen.ip().is_loopback());
        assert!(!settings.serve.chosen);
    }

    #[test]
    fn the_command_line_goes_before_the_environment_before_the_file() {
        let flags = [(Key::SqlMaxRows, "1")];
        let variables = [(Key::SqlMaxRows, "2"), (Key::SqlTimeout, "2s")];
        let file = "[sql]\nmax_rows = 3\ntimeout = \"3s\"\nmemory = \"3MiB\"\n";
        let settings = resolved(&flags, &variables, file).expect("all valid");
        assert_eq!(
            settings.sql,
            SqlSettings {
                timeout: Duration::from_secs(2),
                max_rows: Some(1),
                memory: 3 << 20,
            }
        );
    }

    #[test]
    fn a_chosen_port_is_known_as_chosen_from_every_source() {
        let key = Key::ServeListen;
        let address = "127.0.0.1:8080";
        for settings in [
            resolved(&[(key, address)], &[], ""),
            resolved(&[], &[(key, address)], ""),
            resolved(&[], &[], "serve.listen = \"127.0.0.1:8080\""),
        ] {
            assert!(settings.expect("valid").serve.chosen);
        }
    }

    #[test]
    fn a_service_has_the_roles_that_it_is_given() {
        let of = |text: &str| resolved(&[(Key::ServeRole, text)], &[], "");
        let roles = of("worker").expect("valid").serve.roles;
        assert_eq!((roles.api, roles.worker), (false, true));
        let lines = of("api,wroker").expect_err("no role").lines();
        assert!(lines.expect("two lines").contains("`wroker` is no role"));
    }

    #[test]
    fn a_wrong_value_says_where_it_came_from() {
        let check = |flags: &[(Key, &str)], variables: &[(Key, &str)], file: &str, lines: &str| {
            let failure = resolved(flags, variables, file).expect_err(lines);
            assert_eq!(failure.exit().code(), 2);
            assert_eq!(failure.lines().as_deref(), Some(lines));
        };
        check(
            &[(Key::SqlMaxRows, "many")],
            &[],
            "",
            "error: --max-rows `many`: it is neither a whole number nor `unlimited`\n\
             help:  the default is `unlimited`: Return at most N rows",
        );
        check(
            &[],
            &[(Key::SqlTimeout, "0s")],
            "",
            "error: PLIMSOLL_SQL_TIMEOUT `0s`: it is no time at all\n\
             help:  the default is `1m`: End a statement after this time",
        );
        check(
            &[],
            &[],
            "\nserve.listen = \"8080\"",
            "error: plimsoll.toml, line 2: `serve.listen` is `8080`: it is no address with a port\n\
             help:  the default is `127.0.0.1:8080`: Address and port to listen on",
        );
        check(
            &[(Key::Spool, "")],
            &[],
            "",
            "error: --spool ``: it is empty\n\
             help:  the default is `./plimsoll-data/spool`: Where unpublished runs are",
        );
    }
}
