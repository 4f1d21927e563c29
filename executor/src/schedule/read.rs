//! From a document to a schedule, with all that is wrong with it.

use std::time::Duration;

use plimsoll_ingest::Timestamp;
use serde_json::Value;

use super::{Cadence, CatchUp, Overlap, ScheduleSpec};
use crate::control::LONGEST_WAIT;
use crate::job_spec::reader::{Reader, shown};
use crate::job_spec::{Fault, JobSpec};

const KEYS: [&str; 7] = [
    "name",
    "cron",
    "time_zone",
    "jitter",
    "overlap",
    "catch_up",
    "job",
];
const LONGEST_NAME: usize = 100;

pub(super) fn read(document: &Value, now: Timestamp) -> Result<ScheduleSpec, Vec<Fault>> {
    let mut reader = Reader::default();
    let spec = spec(&mut reader, document, now);
    match spec {
        Some(spec) if reader.faults.is_empty() => Ok(spec),
        _ => Err(reader.faults),
    }
}

fn spec(reader: &mut Reader, document: &Value, now: Timestamp) -> Option<ScheduleSpec> {
    let fields = reader.object("", document, &KEYS)?;
    let name = match fields.get("name") {
        Some(name) => self::name(reader, name),
        None => {
            reader.fault(
                "name",
                "it is missing: what the schedule is called, such as nightly",
            );
            None
        }
    };
    let time_zone = match fields.get("time_zone") {
        Some(zone) => reader.text("time_zone", zone),
        None => Some("UTC".to_string()),
    };
    let cron = match fields.get("cron") {
        Some(cron) => reader.text("cron", cron),
        None => {
            reader.fault("cron", "it is missing: five fields, such as `30 2 * * 1-5`");
            None
        }
    };
    if let (Some(cron), Some(zone)) = (&cron, &time_zone)
        && let Err(error) = Cadence::parse(cron, zone, now)
    {
        let path = match error {
            super::CadenceError::Zone { .. } => "time_zone",
            _ => "cron",
        };
        reader.fault(path, error.to_string());
    }
    let jitter = match fields.get("jitter") {
        Some(jitter) => jitter_of(reader, jitter),
        None => Some(Duration::ZERO),
    };
    let overlap = match fields.get("overlap") {
        Some(word) => {
            let overlap = word.as_str().and_then(|word| word.parse().ok());
            if overlap.is_none() {
                let what = shown(word);
                reader.fault(
                    "overlap",
                    format!("it is {what}; it must be skip, queue or cancel"),
                );
            }
            overlap
        }
        None => Some(Overlap::Skip),
    };
    let catch_up = match fields.get("catch_up") {
        Some(word) => {
            let catch_up = word.as_str().and_then(|word| word.parse().ok());
            if catch_up.is_none() {
                let what = shown(word);
                reader.fault(
                    "catch_up",
                    format!("it is {what}; it must be none, last or all"),
                );
            }
            catch_up
        }
        None => Some(CatchUp::Last),
    };
    let job = match fields.get("job") {
        Some(job) => {
            if let Err(invalid) = JobSpec::read(job, 0) {
                for fault in invalid.faults {
                    let path = match fault.path.is_empty() {
                        true => "job".to_string(),
                        false => format!("job.{}", fault.path),
                    };
                    reader.fault(path, fault.message);
                }
            }
            Some(job.clone())
        }
        None => {
            reader.fault("job", "it is missing: a job, as in a job file");
            None
        }
    };
    Some(ScheduleSpec {
        name: name?,
        cron: cron?,
        time_zone: time_zone?,
        jitter: jitter?,
        overlap: overlap?,
        catch_up: catch_up?,
        job: job?,
    })
}

fn jitter_of(reader: &mut Reader, value: &Value) -> Option<Duration> {
    let jitter = reader.time("jitter", value)?;
    if jitter > LONGEST_WAIT {
        let (most, what) = (humantime::format_duration(LONGEST_WAIT), shown(value));
        reader.fault("jitter", format!("it is {what}; it must be at most {most}"));
        return None;
    }
    Some(jitter)
}

/// A name that may stand in a URL as it is.
fn name(reader: &mut Reader, value: &Value) -> Option<String> {
    let name = reader.text("name", value)?;
    let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let begins = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if !begins || !name.chars().all(sound) || name.len() > LONGEST_NAME {
        reader.fault(
            "name",
            format!("it is `{name}`; it must be letters, digits, `-`, `_` and `.`"),
        );
        return None;
    }
    Some(name)
}
