//! `cargo xtask bench truth`: how far the stamp of a first token lies from the truth.
//!
//! A simulator logs when each first token really left. A floor client and the product, with the
//! kernel's stamps and with its own, take turns against it on the same two clocks and cores.

use std::time::Duration;

use anyhow::{Result, bail};

use super::bound::{self, Bound};
use super::distribution::{Distribution, figures, milliseconds};
use super::load::{Load, Measured, Stamps};
use super::simulator::{Model, Simulator};
use super::truth_log::TruthLog;
use super::{floor, ours, peers};
use crate::cargo::{Build, PRODUCT, build_executables};
use crate::product::Product;
use crate::{machine, table};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Few streams, few seconds, the build that tests use, no bounds: shows that the benchmark works
    #[arg(long)]
    pub(crate) short: bool,
    /// Seconds to measure at each number of streams
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Numbers of streams; the bounds on the error hold up to 1000, more show the highest chunk rate
    #[arg(long, value_delimiter = ',', default_values_t = [100, 500, 1000, 2000, 3000])]
    streams: Vec<usize>,
}

/// Past so many streams the two cores are what is measured: the simulator itself is late.
const BOUNDED_STREAMS: usize = 1000;

/// One client at one number of streams.
struct Trial {
    streams: usize,
    client: Client,
    requests_per_second: f64,
    chunks_per_second: f64,
    cpu_share: Option<f64>,
    peak_mb: Option<f64>,
    error: Distribution,
    lateness: Distribution,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Client {
    Floor,
    Ours(Stamps),
}

/// Runs all trials and prints them; fails where a bound is missed.
pub(crate) fn run(args: &Args) -> Result<()> {
    let (build, streams, seconds) = if args.short {
        (Build::Dev, &[20][..], 3)
    } else {
        (Build::Release, &args.streams[..], args.seconds)
    };
    let program = build_executables(build, &[PRODUCT])?.remove(0);
    let product = Product::new(program)?;
    let mut trials = Vec::new();
    for &streams in streams {
        let load = Load {
            streams,
            ramp: Duration::from_secs(2),
            duration: Duration::from_secs(seconds),
            output_tokens: 64,
        };
        for client in [
            Client::Floor,
            Client::Ours(Stamps::Kernel),
            Client::Ours(Stamps::User),
        ] {
            trials.push(trial(&product, &load, client)?);
        }
    }
    println!(
        "\nFirst-token stamp against the truth: TTFT 50 ms, ITL 10 ms, 64 tokens, closed loop"
    );
    println!("{}\n", machine::description());
    print!("{}", render(&trials));
    println!(
        "\nMeasured by others on other machines:\n\n{}",
        peers::render()
    );
    if args.short {
        return Ok(());
    }
    match bound::print_all(&bounds(&trials)) {
        0 => Ok(()),
        missed => bail!("{missed} bounds are missed"),
    }
}

fn trial(product: &Product, load: &Load, client: Client) -> Result<Trial> {
    let model = Model {
        slots: 4000,
        ttft: "50ms",
        itl: "10ms",
    };
    let simulator = Simulator::start(product, &model)?;
    let measured = match client {
        Client::Floor => floor::run(load, simulator.address()?, simulator.model()),
        Client::Ours(stamps) => ours::measure(product, &simulator, load, stamps),
    }?;
    let truth = simulator.stop()?;
    compare(load, client, &measured, &truth)
}

fn compare(load: &Load, client: Client, measured: &Measured, truth: &TruthLog) -> Result<Trial> {
    let mut errors = Vec::with_capacity(measured.first_tokens.len());
    let mut lateness = Vec::with_capacity(measured.first_tokens.len());
    for seen in &measured.first_tokens {
        let Some(truth) = truth.of(&seen.request_id) else {
            bail!("request `{}` is not in the truth log", seen.request_id);
        };
        errors.push(seen.at_ns - truth.first_token_sent_ns);
        lateness.push(truth.first_token_sent_ns - truth.first_token_due_ns);
    }
    if errors.is_empty() {
        bail!(
            "{} measured no first token at {} streams",
            client.name(),
            load.streams
        );
    }
    Ok(Trial {
        streams: load.streams,
        client,
        requests_per_second: measured.requests_per_second,
        chunks_per_second: measured.requests_per_second * f64::from(load.output_tokens),
        cpu_share: measured.cpu_share,
        peak_mb: measured.peak_mb,
        error: Distribution::of(errors),
        lateness: Distribution::of(lateness),
    })
}

impl Client {
    fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Ours(Stamps::Kernel) => "plimsoll, kernel stamps",
            Self::Ours(Stamps::User) => "plimsoll, user stamps",
        }
    }
}

impl Trial {
    fn error_ms(&self, share: f64) -> Option<f64> {
        self.error
            .quantile(share)
            .map(|nanoseconds| nanoseconds as f64 / 1e6)
    }

    fn row(&self, floor: Option<&Self>) -> [String; 11] {
        let ratio = |share| {
            let floor = floor?.error_ms(share)?;
            Some(figures(self.error_ms(share)? / floor))
        };
        let ratios = match (ratio(0.5), ratio(0.99)) {
            (Some(p50), Some(p99)) => format!("{p50}, {p99}"),
            _ => "-".to_owned(),
        };
        let per_chunk = self
            .cpu_share
            .map(|share| share * 1e6 / self.chunks_per_second);
        [
            self.client.name().to_owned(),
            self.streams.to_string(),
            figures(self.requests_per_second),
            figures(self.chunks_per_second),
            per_chunk.map_or_else(|| "-".to_owned(), |us| format!("{} us", figures(us))),
            milliseconds(self.error.quantile(0.5)),
            milliseconds(self.error.quantile(0.99)),
            ratios,
            milliseconds(self.lateness.quantile(0.5)),
            milliseconds(self.lateness.quantile(0.99)),
            self.error.len().to_string(),
        ]
    }
}

fn render(trials: &[Trial]) -> String {
    let rows: Vec<_> = trials
        .iter()
        .map(|trial| trial.row(find(trials, trial.streams, Client::Floor)))
        .collect();
    let headings = [
        "client",
        "streams",
        "requests/s",
        "chunks/s",
        "CPU per chunk",
        "error p50",
        "p99",
        "times floor",
        "server late p50",
        "p99",
        "requests",
    ];
    table::render(headings, &rows)
}

fn find(trials: &[Trial], streams: usize, client: Client) -> Option<&Trial> {
    trials
        .iter()
        .find(|trial| trial.streams == streams && trial.client == client)
}

/// The bounds on what the product shows with the stamps that it uses by itself.
fn bounds(trials: &[Trial]) -> Vec<Bound> {
    let ours = trials.iter().filter(|trial| {
        trial.client == Client::Ours(Stamps::Kernel) && trial.streams <= BOUNDED_STREAMS
    });
    let mut bounds = Vec::new();
    for trial in ours {
        let streams = trial.streams;
        for (name, share, limit_ms, times) in [("p50", 0.5, 0.3, 1.3), ("p99", 0.99, 2.0, 1.5)] {
            let error = trial.error_ms(share);
            let floor =
                find(trials, streams, Client::Floor).and_then(|floor| floor.error_ms(share));
            let ratio = error.zip(floor).map(|(error, floor)| error / floor);
            let what = format!("error {name} at {streams} streams");
            bounds.push(Bound::at_most(what.clone(), error, limit_ms, " ms"));
            bounds.push(Bound::at_most(
                format!("{what}, times the floor's"),
                ratio,
                times,
                "",
            ));
        }
        if streams == BOUNDED_STREAMS {
            let what = "memory at 1000 streams";
            bounds.push(Bound::at_most(what, trial.peak_mb, 150.0, " MB"));
        }
    }
    let highest = |client| {
        let rates = trials.iter().filter(|trial| trial.client == client);
        rates.map(|trial| trial.chunks_per_second).reduce(f64::max)
    };
    let share = highest(Client::Ours(Stamps::Kernel)).zip(highest(Client::Floor));
    let share = share.map(|(ours, floor)| ours / floor);
    bounds.push(Bound::at_least(
        "highest chunk rate, times the floor's",
        share,
        0.8,
        "",
    ));
    bounds
}
