//! `plimsoll warehouse`: makes a warehouse, and keeps it small and quick.

use std::time::Duration;

use clap::{Args, ValueEnum};
use plimsoll_ingest::{Table, WarehouseStore, delta, storage};
use plimsoll_warehouse::{
    Checked, Chore, Dialect, Done, Finding, Maintained, Severity, Source, maintain,
};
use serde_json::{Value, json};

use super::reading::{block_on, let_many_files_open, open, options, unreadable};
use super::recovery::recover;
use crate::failure::{Exit, Failure, chain};
use crate::settings::Settings;
use crate::terminal::table::{Align, Heading, layout};
use crate::terminal::{self, Console};

/// Files that no version needs stay for so long: longer than any run and its
/// retries take to publish, and than anybody reads an old version.
pub(crate) const VACUUM_AFTER: Duration = Duration::from_secs(7 * 86_400);

/// The shortest time after which files may be deleted.
const SHORTEST: Duration = Duration::from_secs(86_400);

/// The arguments of `warehouse`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  plimsoll warehouse init --warehouse s3://bucket/plimsoll
  plimsoll warehouse check
  plimsoll warehouse optimize
  plimsoll warehouse optimize --retention requests=90d,ticks=1y
  plimsoll warehouse vacuum --dry-run
  plimsoll warehouse views --dialect duckdb > views.sql

init makes the tables that are missing; so does the first run.
check reads what the files and the keys of all rows say, publishes runs that a
crash left in the spool, and ends with 1 where something is broken.
optimize puts the small files of past days together, takes out days that are
past their retention, and sums up the tables' logs; vacuum then deletes the
files that no version of a table has needed for a week. Whoever reads or writes
meanwhile does not notice. One process at a time does either: the warehouse
itself holds the lease.
views prints the views as SQL, to be asked with other engines.")]
pub(crate) struct WarehouseArgs {
    /// What to do
    #[arg(value_name = "ACTION", hide_possible_values = true, help = ACTIONS)]
    action: Action,
    /// vacuum: delete what nothing has needed for TIME \[7d\]
    #[arg(
        long,
        value_name = "TIME",
        value_parser = humantime::parse_duration,
        help = "vacuum: delete what nothing has needed for TIME [7d]"
    )]
    older_than: Option<Duration>,
    /// vacuum: only say how many files would be deleted
    #[arg(long)]
    dry_run: bool,
    #[arg(
        long,
        value_enum,
        value_name = "ENGINE",
        hide_possible_values = true,
        help = "views: for datafusion or duckdb [datafusion]"
    )]
    dialect: Option<Engine>,
    /// views: read this moment's files, not the tables
    #[arg(long)]
    files: bool,
}

const ACTIONS: &str = "init, check, optimize, vacuum or views (see --help)";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Engine {
    Datafusion,
    Duckdb,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Action {
    /// Make the tables that are missing, and add columns that an earlier release did not have
    Init,
    /// Look whether everything is there, whole, and once
    Check,
    /// Put small files together, take out old days, sum up logs
    Optimize,
    /// Delete files that nothing needs
    Vacuum,
    /// Print the views as SQL
    Views,
}

/// Does one action.
pub(crate) fn execute(
    args: &WarehouseArgs,
    settings: &Settings,
    console: &Console,
) -> Result<Exit, Failure> {
    let of_vacuum = args.older_than.is_some() || args.dry_run;
    if of_vacuum && args.action != Action::Vacuum {
        return Err(Failure::usage(
            "--older-than and --dry-run are of `warehouse vacuum`",
            "leave them out",
        ));
    }
    let of_views = args.dialect.is_some() || args.files;
    if of_views && args.action != Action::Views {
        return Err(Failure::usage(
            "--dialect and --files are of `warehouse views`",
            "leave them out",
        ));
    }
    let dialect = match args.dialect {
        Some(Engine::Duckdb) => Dialect::Duckdb,
        Some(Engine::Datafusion) | None => Dialect::Datafusion,
    };
    if args.files && dialect != Dialect::Duckdb {
        return Err(Failure::usage(
            "--files is of `warehouse views --dialect duckdb`",
            "leave it out: Plimsoll's own views read its tables",
        ));
    }
    let_many_files_open();
    match args.action {
        Action::Init => block_on(init(settings, console)),
        Action::Check => block_on(check(settings, console)),
        Action::Optimize => {
            let retention = settings.retention.clone();
            let done = block_on(chore(settings, console, Chore::Optimize { retention }))?;
            let nothing = "nothing to do: the warehouse is as quick as it gets";
            tell(&done, nothing, console)
        }
        Action::Vacuum => {
            let older_than = args.older_than.unwrap_or(VACUUM_AFTER);
            if older_than < SHORTEST {
                return Err(Failure::usage(
                    "--older-than is shorter than a day",
                    "files of a run that is published just now would be taken for leftovers",
                ));
            }
            if older_than > VACUUM_AFTER {
                return Err(Failure::usage(
                    "--older-than is longer than a week",
                    "tables remember for a week which files they named: leave vacuum out for longer",
                ));
            }
            let vacuum = Chore::Vacuum {
                older_than,
                dry_run: args.dry_run,
            };
            let done = block_on(chore(settings, console, vacuum))?;
            tell(&done, "nothing to delete", console)
        }
        Action::Views => {
            let source = if args.files {
                Source::Files
            } else {
                Source::Tables
            };
            let script = block_on(views(settings, console, dialect, source))?;
            terminal::show(&script)?;
            Ok(Exit::Done)
        }
    }
}

async fn views(
    settings: &Settings,
    console: &Console,
    dialect: Dialect,
    source: Source,
) -> Result<String, Failure> {
    let warehouse = open(settings, console).await?;
    let script = warehouse.script(dialect, source).await;
    script.map_err(|error| Failure::failed(&error, error.help()))
}

async fn init(settings: &Settings, console: &Console) -> Result<Exit, Failure> {
    let location = &settings.warehouse;
    let unusable = |error: &(dyn std::error::Error + 'static)| {
        let help = storage::help(error).unwrap_or("choose a place that this user may write");
        Failure::failed(chain(error), help)
    };
    let store = WarehouseStore::connect(location).map_err(|error| unusable(&error))?;
    let making = delta::create_missing(&store);
    console
        .during("making the tables", making)
        .await
        .map_err(|error| unusable(&error))?;
    if console.json {
        console.json(&json!({"warehouse": location.to_string(), "tables": Table::ALL.len()}))?;
    } else {
        console.result(&format!("{location} holds {} tables", Table::ALL.len()))?;
    }
    Ok(Exit::Done)
}

async fn check(settings: &Settings, console: &Console) -> Result<Exit, Failure> {
    let unpublished = recover(settings, console).await;
    let looking = plimsoll_warehouse::check(
        &settings.warehouse,
        options(settings),
        settings.retention.clone(),
    );
    let checked = console
        .during("looking at every file and row", looking)
        .await;
    let checked = checked.map_err(|error| unreadable(&error))?;
    // A wrong place must not be called sound.
    if checked == Checked::default() {
        return Err(Failure::failed(
            format_args!("{} holds no warehouse", settings.warehouse),
            "`plimsoll warehouse init` makes one, and so does the first run",
        ));
    }
    // What waits in the spool for ever is in no table.
    let sound = checked.is_sound() && unpublished.is_empty();
    if console.json {
        console.json(&json!({
            "sound": sound,
            "tables": checked.tables,
            "files": checked.files,
            "runs": checked.runs,
            "findings": checked.findings.iter().map(json_of_finding).collect::<Vec<_>>(),
            "unpublished": unpublished,
        }))?;
    } else {
        for finding in &checked.findings {
            let word = word_of(finding.severity);
            console.result(&format!("{word}: {finding}\n  help: {}", finding.help))?;
        }
        let Checked {
            tables,
            files,
            runs,
            ..
        } = &checked;
        let judged = if sound { "sound" } else { "not sound" };
        let runs = match runs {
            Some(runs) => format!("{runs} runs"),
            None => "runs not looked at".to_owned(),
        };
        let waiting = match unpublished.len() {
            0 => String::new(),
            count => format!(", and {count} of the spool not published"),
        };
        console.result(&format!(
            "{judged}: {tables} tables, {files} files, {runs}{waiting}"
        ))?;
    }
    Ok(if sound { Exit::Done } else { Exit::Failed })
}

fn word_of(severity: Severity) -> &'static str {
    match severity {
        Severity::Broken => "broken",
        Severity::Note => "note",
    }
}

fn json_of_finding(finding: &Finding) -> Value {
    json!({
        "severity": word_of(finding.severity),
        "table": finding.table.to_string(),
        "what": finding.what,
        "help": finding.help,
    })
}

async fn chore(
    settings: &Settings,
    console: &Console,
    chore: Chore,
) -> Result<Maintained, Failure> {
    let working = maintain(&settings.warehouse, options(settings), chore);
    let done = console.during("maintaining the warehouse", working).await;
    done.map_err(|error| Failure::failed(&error, error.help()))
}

/// Says what was done; a table that failed is an error when all has been said.
fn tell(maintained: &Maintained, nothing: &str, console: &Console) -> Result<Exit, Failure> {
    let Maintained { done, failed } = maintained;
    if console.json {
        let tables: Vec<Value> = done.iter().map(json_of).collect();
        let failed = failed.iter().map(|(table, error)| {
            json!({"table": table.to_string(), "error": error.to_string(), "help": error.help()})
        });
        let failed: Vec<Value> = failed.collect();
        console.json(&json!({ "tables": tables, "failed": failed }))?;
    } else if done.is_empty() && failed.is_empty() {
        console.result(nothing)?;
    } else if !done.is_empty() {
        let rows: Vec<_> = done
            .iter()
            .map(|(table, done)| [table.to_string(), done.to_string()])
            .collect();
        let dry = done.iter().any(|(_, done)| done.deletable > 0);
        let headings = ["table", if dry { "to do" } else { "done" }].map(heading);
        console.result(&layout(&headings, &rows, console.stdout.width))?;
    }
    for (table, error) in failed {
        let failure = Failure::failed(format_args!("{table}: {error}"), error.help());
        terminal::tell_failure(&failure);
    }
    Ok(if failed.is_empty() {
        Exit::Done
    } else {
        Exit::Failed
    })
}

fn heading(text: &'static str) -> Heading {
    Heading {
        text,
        align: Align::Left,
        may_be_cut: false,
    }
}

fn json_of((table, done): &(Table, Done)) -> Value {
    json!({
        "table": table.to_string(),
        "files_before": done.compacted.0,
        "files_after": done.compacted.1,
        "files_expired": done.expired,
        "checkpoint": done.checkpoint,
        "log_entries_deleted": done.log_entries,
        "files_deleted": done.vacuumed,
        "files_to_delete": done.deletable,
    })
}
