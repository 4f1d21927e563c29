//! Thousands of commits, with a service beside them that refreshes, and maintenance now and then.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use super::service::{Asked, Service};
use super::timing::quantile;
use super::{Args, Bound, Programs, figures, table};

/// So often it is looked at what opening and refreshing take.
const PARTS: usize = 10;

/// The warehouse is maintained after so many runs, or fewer; a service does so every hour.
const MAINTAINED: usize = 100;

/// Runs of each part after whose publication, one by one, the warehouse is refreshed.
const SINGLE: usize = 10;

/// How often a process is started that opens the warehouse.
const OPENED: usize = 5;

#[derive(Deserialize)]
struct Published {
    published: u64,
}

#[derive(Deserialize)]
struct Refreshed {
    refresh_ms: f64,
}

/// What one part showed.
struct Part {
    commits: u64,
    files: u64,
    publish_ms: f64,
    open_ms: f64,
    refresh_ms: f64,
    resident_mb: f64,
}

impl Programs {
    /// Publishes run after run, each in commits of its own.
    pub(super) fn commits(&self, warehouse: &Path, args: &Args) -> Result<Vec<Bound>> {
        let mut publisher = Command::new(&self.fill);
        publisher
            .arg(warehouse)
            .args([args.commits.to_string(), "50".to_owned()])
            .args([args.seed.to_string(), "-".to_owned()]);
        let mut publisher = Asked::start(&mut publisher)?;
        // The tables are there when it has answered.
        publisher.ask::<Published>("0")?;
        let service = Service::start(&self.product, warehouse, "off")?;
        let mut reader = Command::new(&self.refresh);
        let mut reader = Asked::start(reader.arg(warehouse))?;
        let mut parts = Vec::new();
        let each = (args.commits as usize / PARTS).max(SINGLE);
        for _ in 0..PARTS {
            parts.push(self.part(warehouse, each, &mut publisher, &mut reader, &service)?);
        }
        print_parts(&parts);
        // The first part begins with an empty warehouse.
        let (early, late) = (&parts[1], &parts[PARTS - 1]);
        let growth = |of: fn(&Part) -> f64| Some(of(late) / of(early));
        let of = |what: &str| format!("{what}, last part over the second");
        Ok(vec![
            Bound::at_most(of("opening"), growth(|part| part.open_ms), 1.5, ""),
            Bound::at_most(of("refreshing"), growth(|part| part.refresh_ms), 1.5, ""),
            Bound::at_most(
                of("publishing a run"),
                growth(|part| part.publish_ms),
                1.5,
                "",
            ),
            Bound::at_most(
                of("resident memory of the service"),
                growth(|part| part.resident_mb),
                1.5,
                "",
            ),
        ])
    }

    fn part(
        &self,
        warehouse: &Path,
        runs: usize,
        publisher: &mut Asked,
        reader: &mut Asked,
        service: &Service,
    ) -> Result<Part> {
        let mut left = runs - SINGLE;
        while left > 0 {
            let next = left.min(MAINTAINED);
            publisher.ask::<Published>(&next.to_string())?;
            self.optimize(warehouse)?;
            left -= next;
        }
        reader.ask::<Refreshed>("")?;
        let (mut publish_ms, mut refresh_ms, mut open_ms) = (vec![], vec![], vec![]);
        let mut commits = 0;
        for _ in 0..SINGLE {
            let began = Instant::now();
            commits = publisher.ask::<Published>("1")?.published;
            publish_ms.push(began.elapsed().as_secs_f64() * 1e3);
            refresh_ms.push(reader.ask::<Refreshed>("")?.refresh_ms);
        }
        for _ in 0..OPENED {
            let began = Instant::now();
            let seen: u64 = self
                .value(warehouse, "SELECT count(*) FROM runs")?
                .parse()?;
            open_ms.push(began.elapsed().as_secs_f64() * 1e3);
            if seen != commits {
                bail!("{commits} runs are published, and {seen} are seen");
            }
        }
        let told = Command::new(&self.product)
            .args(["warehouse", "check", "--json", "-q", "--warehouse"])
            .arg(warehouse)
            .output()?;
        let told: Value = serde_json::from_slice(&told.stdout).context("check answers in JSON")?;
        if told["sound"] != true {
            bail!("the warehouse is not sound: {told}");
        }
        Ok(Part {
            commits,
            files: told["files"].as_u64().context("check counts files")?,
            publish_ms: quantile(&publish_ms, 0.5),
            open_ms: quantile(&open_ms, 0.5),
            refresh_ms: quantile(&refresh_ms, 0.5),
            resident_mb: service.resident_mb()?,
        })
    }
}

fn print_parts(parts: &[Part]) {
    let rows: Vec<[String; 6]> = parts
        .iter()
        .map(|part| {
            [
                part.commits.to_string(),
                part.files.to_string(),
                figures(part.publish_ms),
                figures(part.open_ms),
                figures(part.refresh_ms),
                figures(part.resident_mb),
            ]
        })
        .collect();
    let heads = [
        "commits of `runs`",
        "files",
        "publish a run, ms",
        "open, ms",
        "refresh, ms",
        "service resident, MB",
    ];
    println!("{}", table::render(heads, &rows));
}
