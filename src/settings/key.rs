//! The list of all settings. Flags, variables and file keys are all made from it.

/// One thing that can be set.
///
/// Adding a variant, its [`Entry`] and its place in [`Key::ALL`] adds the flag, the variable and
/// the file's key together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// Where the measured rows are.
    Warehouse,
    /// Where runs are written while they are measured.
    Spool,
    /// Where jobs are kept until they have ended.
    Control,
    /// How long rows are kept.
    Retention,
    /// How long one statement may take.
    SqlTimeout,
    /// How many rows one statement may return.
    SqlMaxRows,
    /// How much memory all statements together may hold.
    SqlMemory,
    /// Where `serve` listens.
    ServeListen,
    /// How many rows one answer of `serve` may have.
    ServeMaxRows,
    /// How often `serve` maintains the warehouse.
    ServeMaintain,
    /// How many bytes of answers `serve` keeps.
    ServeAnswers,
    /// What `serve` does.
    ServeRole,
    /// How many tasks `serve` works on at once.
    ServeTasks,
    /// How long tasks may go on after `serve` was told to end.
    ServeGrace,
    /// Which server commands talk to.
    Server,
}

/// Which commands have the setting's flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All of them.
    Everywhere,
    /// These alone.
    Commands(&'static [&'static str]),
}

/// What there is to know of one setting.
pub(crate) struct Entry {
    /// Its key in the file, with its section: `sql.timeout`.
    pub(crate) name: &'static str,
    /// Its long flag, without the dashes.
    pub(crate) flag: &'static str,
    /// Which commands have the flag.
    pub(crate) scope: Scope,
    /// What stands for the value in help texts.
    pub(crate) value_name: &'static str,
    /// The value where nobody sets one, as one would write it.
    pub(crate) default: &'static str,
    /// One line on what it is.
    pub(crate) doc: &'static str,
}

impl Key {
    /// Every setting, in the order in which help texts list them.
    pub(crate) const ALL: [Self; 15] = [
        Self::Warehouse,
        Self::Spool,
        Self::Control,
        Self::Retention,
        Self::SqlTimeout,
        Self::SqlMaxRows,
        Self::SqlMemory,
        Self::ServeListen,
        Self::ServeMaxRows,
        Self::ServeMaintain,
        Self::ServeAnswers,
        Self::ServeRole,
        Self::ServeTasks,
        Self::ServeGrace,
        Self::Server,
    ];

    /// What there is to know of it.
    pub(crate) const fn entry(self) -> Entry {
        match self {
            Self::Warehouse => Entry {
                name: "warehouse",
                flag: "warehouse",
                scope: Scope::Everywhere,
                value_name: "URL",
                default: "./plimsoll-data/warehouse",
                doc: "Where measured rows are",
            },
            Self::Spool => Entry {
                name: "spool",
                flag: "spool",
                scope: Scope::Everywhere,
                value_name: "DIR",
                default: "./plimsoll-data/spool",
                doc: "Where unpublished runs are",
            },
            Self::Control => Entry {
                name: "control",
                flag: "control",
                scope: Scope::Everywhere,
                value_name: "URL",
                default: "./plimsoll-data/control.db",
                doc: "Where jobs are",
            },
            Self::Retention => Entry {
                name: "retention",
                flag: "retention",
                scope: Scope::Commands(&["warehouse", "serve"]),
                value_name: "LIST",
                default: "requests=180d,chunks=30d",
                doc: "How long rows are kept",
            },
            Self::SqlTimeout => Entry {
                name: "sql.timeout",
                flag: "timeout",
                scope: Scope::Commands(&["sql", "serve"]),
                value_name: "TIME",
                default: "1m",
                doc: "End a statement after this time",
            },
            Self::SqlMaxRows => Entry {
                name: "sql.max_rows",
                flag: "max-rows",
                scope: Scope::Commands(&["sql"]),
                value_name: "N",
                default: "unlimited",
                doc: "Return at most N rows",
            },
            Self::SqlMemory => Entry {
                name: "sql.memory",
                flag: "memory",
                scope: Scope::Commands(&["sql", "serve"]),
                value_name: "SIZE",
                default: "1GiB",
                doc: "Memory that all statements together may hold",
            },
            Self::ServeListen => Entry {
                name: "serve.listen",
                flag: "listen",
                scope: Scope::Commands(&["serve"]),
                value_name: "ADDR",
                default: "127.0.0.1:8080",
                doc: "Address and port to listen on",
            },
            Self::ServeMaxRows => Entry {
                name: "serve.max_rows",
                flag: "max-rows",
                scope: Scope::Commands(&["serve"]),
                value_name: "N",
                default: "1000000",
                doc: "Return at most N rows in an answer",
            },
            Self::ServeMaintain => Entry {
                name: "serve.maintain",
                flag: "maintain",
                scope: Scope::Commands(&["serve"]),
                value_name: "TIME",
                default: "1h",
                doc: "Maintain the warehouse this often, or `off`",
            },
            Self::ServeAnswers => Entry {
                name: "serve.answers",
                flag: "answers",
                scope: Scope::Commands(&["serve"]),
                value_name: "SIZE",
                default: "64MiB",
                doc: "Memory for answers asked again, or `off`",
            },
            Self::ServeRole => Entry {
                name: "serve.role",
                flag: "role",
                scope: Scope::Commands(&["serve"]),
                value_name: "LIST",
                default: "api,worker,scheduler",
                doc: "What to be",
            },
            Self::ServeTasks => Entry {
                name: "serve.tasks",
                flag: "tasks",
                scope: Scope::Commands(&["serve"]),
                value_name: "N",
                default: "4",
                doc: "Work on at most N tasks at once",
            },
            Self::ServeGrace => Entry {
                name: "serve.grace",
                flag: "grace",
                scope: Scope::Commands(&["serve"]),
                value_name: "TIME",
                default: "30s",
                doc: "Let tasks end for so long after Ctrl-C",
            },
            Self::Server => Entry {
                name: "server",
                flag: "server",
                scope: Scope::Commands(&[
                    "submit",
                    "jobs",
                    "job",
                    "cancel",
                    "pause",
                    "resume",
                    "schedules",
                ]),
                value_name: "URL",
                default: "http://127.0.0.1:8080",
                doc: "Which `plimsoll serve` to talk to",
            },
        }
    }

    /// Its environment variable: `PLIMSOLL_SQL_TIMEOUT`.
    pub(crate) fn variable(self) -> String {
        let name = self.entry().name.to_uppercase().replace('.', "_");
        format!("{VARIABLE_PREFIX}{name}")
    }

    /// The setting of this name in a file.
    pub(crate) fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.entry().name == name)
    }

    /// The setting of this environment variable.
    pub(crate) fn by_variable(variable: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.variable() == variable)
    }
}

/// What the names of all our environment variables begin with.
pub(crate) const VARIABLE_PREFIX: &str = "PLIMSOLL_";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_setting_stands_in_the_list_once() {
        for (position, key) in Key::ALL.into_iter().enumerate() {
            assert_eq!(key as usize, position, "{key:?} is out of place");
        }
        let names: BTreeSet<_> = Key::ALL.iter().map(|key| key.entry().name).collect();
        let variables: BTreeSet<_> = Key::ALL.iter().map(|key| key.variable()).collect();
        assert_eq!(names.len(), Key::ALL.len());
        assert_eq!(variables.len(), Key::ALL.len());
    }

    #[test]
    fn names_and_variables_lead_back_to_their_setting() {
        for key in Key::ALL {
            assert_eq!(Key::by_name(key.entry().name), Some(key));
            assert_eq!(Key::by_variable(&key.variable()), Some(key));
        }
        assert_eq!(Key::SqlMaxRows.variable(), "PLIMSOLL_SQL_MAX_ROWS");
        assert_eq!(Key::by_name("sql"), None);
    }
}
