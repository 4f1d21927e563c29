//! `plimsoll runs`: what was measured, the newest first.

use std::time::Duration;

use clap::Args;
use plimsoll_ingest::{Timestamp, Verdict};
use plimsoll_query_api::report::units;
use serde_json::{Map, Value, json};

use super::reading;
use crate::failure::{Exit, Failure};
use crate::nearest::did_you_mean;
use crate::settings::Settings;
use crate::terminal::Console;
use crate::terminal::table::{Align, Heading, layout};

/// The arguments of `runs`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  plimsoll runs
  plimsoll runs --model llama --profile step --since 7d
  plimsoll runs --verdict blocked --since 2026-01-31T00:00:00Z --json

`limit` is the goodput at the highest load that met the SLO, in good requests a
second, for the profiles that look for it. `plimsoll report RUN` shows a run.")]
pub(crate) struct RunsArgs {
    /// Only runs of this model
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Only runs of this profile
    #[arg(long, value_name = "P")]
    profile: Option<String>,
    /// Only runs that ended so, such as blocked
    #[arg(long, value_name = "VERDICT", value_parser = verdict)]
    verdict: Option<Verdict>,
    /// Only runs since then: 7d, or an RFC 3339 time
    #[arg(long, value_name = "WHEN", value_parser = since)]
    since: Option<Timestamp>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: u32,
}

/// Lists the runs.
pub(crate) fn execute(
    args: &RunsArgs,
    settings: &Settings,
    console: &Console,
) -> Result<Exit, Failure> {
    reading::block_on(list(args, settings, console))
}

async fn list(args: &RunsArgs, settings: &Settings, console: &Console) -> Result<Exit, Failure> {
    let warehouse = reading::open(settings, console).await?;
    let (sql, parameters) = question(args);
    let asking = reading::rows(&warehouse, &sql, &parameters, settings);
    let runs = console.during("asking", asking).await?;
    if console.json {
        console.json(&runs)?;
        return Ok(Exit::Done);
    }
    if runs.is_empty() && warehouse.exists() {
        console.note("note: no run is like that; `plimsoll runs` without filters lists all");
    }
    let rows: Vec<_> = runs.iter().map(cells).collect();
    let width = if console.stdout.is_terminal {
        console.stdout.width
    } else {
        usize::MAX
    };
    console.result(&layout(&HEADINGS, &rows, width))?;
    Ok(Exit::Done)
}

/// What is shown of a run; `--json` shows all of these, the table some.
const COLUMNS: &str = "run_id, job_id, pillar, suite, profile, model, model_revision, endpoint, \
    started_at, finished_at, verdict, verdict_reasons, labels, peak_goodput_rps, \
    limit_found, peak_throughput_rps, output_tokens_per_s, ttft_ns_p50, ttft_ns_p99, tpot_ns_p50, tpot_ns_p99, \
    e2e_ns_p50, e2e_ns_p99, error_rate, slo_attainment";

/// The statement and its parameters.
fn question(args: &RunsArgs) -> (String, Vec<Value>) {
    let filters = [
        ("model =", args.model.as_ref().map(|model| json!(model))),
        (
            "profile =",
            args.profile.as_ref().map(|profile| json!(profile)),
        ),
        (
            "verdict =",
            args.verdict.map(|verdict| json!(verdict.as_str())),
        ),
        (
            "started_at >=",
            args.since.map(|since| json!(since.to_string())),
        ),
    ];
    let mut conditions = Vec::new();
    let mut parameters = Vec::new();
    for (condition, value) in filters {
        if let Some(value) = value {
            parameters.push(value);
            conditions.push(format!("{condition} ${}", parameters.len()));
        }
    }
    let filter = match conditions.as_slice() {
        [] => String::new(),
        conditions => format!(" where {}", conditions.join(" and ")),
    };
    let sql = format!(
        "select {COLUMNS} from reports.runs{filter} order by started_at desc, run_id desc limit {}",
        args.limit
    );
    (sql, parameters)
}

const HEADINGS: [Heading; 8] = {
    const fn heading(text: &'static str, align: Align) -> Heading {
        Heading {
            text,
            align,
            may_be_cut: false,
        }
    }
    [
        heading("run", Align::Left),
        heading("started", Align::Left),
        Heading {
            text: "model",
            align: Align::Left,
            may_be_cut: true,
        },
        Heading {
            text: "profile",
            align: Align::Left,
            may_be_cut: true,
        },
        heading("verdict", Align::Left),
        heading("limit", Align::Right),
        heading("TTFT p99", Align::Right),
        heading("errors", Align::Right),
    ]
};

fn cells(run: &Map<String, Value>) -> [String; 8] {
    let text = |column: &str| {
        run.get(column)
            .and_then(Value::as_str)
            .unwrap_or(units::ABSENT)
    };
    let number = |column: &str, show: fn(f64) -> String| {
        let value = run.get(column).and_then(Value::as_f64);
        value.map_or_else(|| units::ABSENT.to_owned(), show)
    };
    let id = text("run_id");
    let profile = if run.get("profile").is_some_and(Value::is_string) {
        "profile"
    } else {
        "suite"
    };
    let p99 = run.get("ttft_ns_p99").and_then(Value::as_i64);
    [
        id.get(id.len().saturating_sub(8)..)
            .unwrap_or(id)
            .to_owned(),
        whole_minutes(text("started_at")),
        text("model").to_owned(),
        text(profile).to_owned(),
        text("verdict").to_owned(),
        number("peak_goodput_rps", units::quantity),
        p99.map_or_else(|| units::ABSENT.to_owned(), units::duration),
        number("error_rate", units::percent),
    ]
}

/// A moment without its seconds: the list is in their order.
fn whole_minutes(moment: &str) -> String {
    match moment.rsplit_once(':') {
        Some((minutes, _)) => format!("{minutes}Z"),
        None => moment.to_owned(),
    }
}

fn verdict(text: &str) -> Result<Verdict, String> {
    let known = Verdict::ALL.iter().map(|verdict| verdict.as_str());
    text.parse().map_err(|_| did_you_mean(text, known))
}

/// An age before now, or a moment.
fn since(text: &str) -> Result<Timestamp, &'static str> {
    if let Some(moment) = Timestamp::parse(text) {
        return Ok(moment);
    }
    let age: Duration =
        humantime::parse_duration(text).map_err(|_| "it is neither an age nor an RFC 3339 time")?;
    let micros = i64::try_from(age.as_micros()).map_err(|_| "it is before all time")?;
    Ok(Timestamp::from_micros(
        Timestamp::now().micros().saturating_sub(micros),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> RunsArgs {
        RunsArgs {
            model: None,
            profile: None,
            verdict: None,
            since: None,
            limit: 20,
        }
    }

    /// What follows the list of columns, and the parameters.
    fn asked(args: &RunsArgs) -> (String, Vec<Value>) {
        let (sql, parameters) = question(args);
        let (columns, rest) = sql.split_once(" from ").expect("a select");
        assert_eq!(columns, format!("select {COLUMNS}"));
        (rest.to_owned(), parameters)
    }

    #[test]
    fn what_is_not_asked_filters_nothing() {
        let all = "reports.runs order by started_at desc, run_id desc limit 20".to_owned();
        assert_eq!(asked(&args()), (all, vec![]));
    }

    #[test]
    fn filters_are_parameters_and_never_text_of_the_statement() {
        let mut args = args();
        args.model = Some("x' or 1=1 --".to_owned());
        args.verdict = Some(Verdict::Blocked);
        args.since = Some(Timestamp::from_micros(0));
        let (sql, parameters) = asked(&args);
        assert_eq!(
            sql,
            "reports.runs where model = $1 and verdict = $2 and started_at >= $3 \
             order by started_at desc, run_id desc limit 20"
        );
        assert_eq!(
            parameters,
            [
                json!("x' or 1=1 --"),
                json!("blocked"),
                json!("1970-01-01T00:00:00Z")
            ]
        );
    }

    #[test]
    fn a_run_is_one_line_of_cells() {
        let run = json!({
            "run_id": "01927f1a-5c7e-7d0a-9b1e-3f2a9c41d7e0",
            "started_at": "2026-01-31T10:00:00.123Z",
            "model": "llama", "profile": "step", "suite": "step", "verdict": "passed",
            "peak_goodput_rps": 15.84, "ttft_ns_p99": 470_000_000_i64, "error_rate": 0.0,
        });
        assert_eq!(
            cells(run.as_object().expect("an object")),
            [
                "9c41d7e0",
                "2026-01-31T10:00Z",
                "llama",
                "step",
                "passed",
                "15.8",
                "470 ms",
                "0 %"
            ]
        );
        let bare = json!({"run_id": "01927f1a-5c7e-7d0a-9b1e-3f2a9c41d7e0", "suite": "tools",
            "profile": null, "verdict": "error", "ttft_ns_p99": null});
        assert_eq!(
            cells(bare.as_object().expect("an object")),
            ["9c41d7e0", "-", "-", "tools", "error", "-", "-", "-"]
        );
    }

    #[test]
    fn the_list_fits_into_eighty_columns() {
        let run = json!({
            "run_id": "01927f1a-5c7e-7d0a-9b1e-3f2a9c41d7e0",
            "started_at": "2026-01-31T10:00:00.123Z",
            "model": "meta-llama/Llama-3.3-70B-Instruct", "profile": "max_throughput",
            "verdict": "incomplete", "peak_goodput_rps": 158.4, "ttft_ns_p99": 470_000_000_i64,
            "error_rate": 0.012,
        });
        let row = cells(run.as_object().expect("an object"));
        let shown = layout(&HEADINGS, &[row], 80);
        let widest = shown.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(80), "{shown}");
    }

    #[test]
    fn since_is_an_age_or_a_moment() {
        let moment = Timestamp::parse("2026-01-31T00:00:00Z").expect("a moment");
        assert_eq!(since("2026-01-31T00:00:00Z"), Ok(moment));
        let week_ago = since("7d").expect("an age").micros();
        let exact = Timestamp::now().micros() - 7 * 86_400 * 1_000_000;
        assert!((exact - week_ago).abs() < 60 * 1_000_000);
        assert!(since("last week").is_err());
    }

    #[test]
    fn an_unknown_verdict_names_the_nearest() {
        assert_eq!(verdict("degraded"), Ok(Verdict::Degraded));
        assert_eq!(verdict("blockd"), Err("did you mean `blocked`?".to_owned()));
    }
}
