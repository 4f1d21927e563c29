//! Thousands of commits, with a service beside them that refreshes, and maintenance now and then.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use super::service::{Asked, Service};
use super::timing::quantile;
use super::{Args, Bound, Programs, figures, http, table};

/// So often it is looked at what opening and refreshing take.
const PARTS: usize = 10;

/// The warehouse is maintained after so many runs, or fewer; a service does so every hour.
const MAINTAINED: usize = 100;

/// Runs of each part after whose publication, one by one, the warehouse is refreshed: a whole night, since
/// runs of different kinds write different tables.
const SINGLE: usize = 45;

/// Of the short form.
const FEW: usize = 2;

/// A run that the service does not see after so long is not waited for.
const PATIENCE: Duration = Duration::from_secs(20);

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

/// Runs of one part.
struct Runs {
    all: usize,
    /// Of these, those that are published one by one.
    single: usize,
}

/// What one part showed.
struct Part {
    commits: u64,
    files: u64,
    publish_ms: f64,
    /// The longest until the service answered with a run that was published.
    visible_ms: f64,
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
        let single = if args.short { FEW } else { SINGLE };
        let each = (args.commits as usize / PARTS).max(single);
        for _ in 0..PARTS {
            let runs = Runs { all: each, single };
            parts.push(self.part(warehouse, &runs, &mut publisher, &mut reader, &service)?);
        }
        print_parts(&parts);
        // The first part begins with an empty warehouse.
        let (early, late) = (&parts[1], &parts[PARTS - 1]);
        let growth = |of: fn(&Part) -> f64| Some(of(late) / of(early));
        let visible = parts.iter().map(|part| part.visible_ms);
        let visible = visible.fold(0.0, f64::max);
        let of = |what: &str| format!("{what}, last part over the second");
        Ok(vec![
            Bound::at_most(
                "a published run is visible within",
                Some(visible),
                2_000.0,
                " ms",
            ),
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
        runs: &Runs,
        publisher: &mut Asked,
        reader: &mut Asked,
        service: &Service,
    ) -> Result<Part> {
        let mut left = runs.all - runs.single;
        while left > 0 {
            let next = left.min(MAINTAINED);
            publisher.ask::<Published>(&next.to_string())?;
            self.optimize(warehouse)?;
            left -= next;
        }
        reader.ask::<Refreshed>("")?;
        let (mut publish_ms, mut refresh_ms, mut open_ms) = (vec![], vec![], vec![]);
        let mut visible_ms: f64 = 0.0;
        let mut commits = 0;
        for _ in 0..runs.single {
            let began = Instant::now();
            commits = publisher.ask::<Published>("1")?.published;
            let published = Instant::now();
            publish_ms.push((published - began).as_secs_f64() * 1e3);
            refresh_ms.push(reader.ask::<Refreshed>("")?.refresh_ms);
            let visible = until_visible(service, commits, published)?;
            visible_ms = visible_ms.max(visible.as_secs_f64() * 1e3);
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
            visible_ms,
            open_ms: quantile(&open_ms, 0.5),
            refresh_ms: quantile(&refresh_ms, 0.5),
            resident_mb: service.resident_mb()?,
        })
    }
}

/// How long after `published` the service answers with as many runs.
fn until_visible(service: &Service, runs: u64, published: Instant) -> Result<Duration> {
    let body = json!({"sql": "SELECT count(*) AS runs FROM runs"}).to_string();
    loop {
        let (status, answer) = http::post(service.address(), "/api/v1/sql", &body)?;
        let passed = published.elapsed();
        let seen = serde_json::from_str::<Value>(&answer).context("serve answers in JSON")?;
        if seen["rows"][0]["runs"].as_u64() == Some(runs) {
            return Ok(passed);
        }
        if passed > PATIENCE {
            bail!("{runs} runs are published, and the service answers {status}: {answer}");
        }
        thread::sleep(Duration::from_millis(10));
    }
}

fn print_parts(parts: &[Part]) {
    let rows: Vec<[String; 7]> = parts
        .iter()
        .map(|part| {
            [
                part.commits.to_string(),
                part.files.to_string(),
                figures(part.publish_ms),
                figures(part.visible_ms),
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
        "visible, at most, ms",
        "open, ms",
        "refresh, ms",
        "service resident, MB",
    ];
    println!("{}", table::render(heads, &rows));
}
