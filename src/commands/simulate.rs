//! `plimsoll simulate`: a model server whose truth is known.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use plimsoll_executor::performance::raise_open_files;
use plimsoll_executor::simulate::{
    AccessKey, FAULT_TABLE, Fault, ItlGrowth, Jitter, Overflow, Simulator, SimulatorConfig,
    SimulatorEnd, SimulatorError, SimulatorTotals,
};
use plimsoll_query_api::report::units;
use serde_json::json;

use super::runtime;
use crate::failure::{Exit, Failure, chain};
use crate::interrupt::Interrupts;
use crate::terminal::Console;

/// Lengths for which the capacity on paper is said: a short question and a short answer.
const PAPER_PROMPT_TOKENS: u32 = 100;
const PAPER_OUTPUT_TOKENS: u32 = 64;

/// The arguments of `simulate`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  plimsoll simulate --port 9000 --slots 4
  plimsoll simulate --port 0 --slots 8 --queue 16 --ttft 50ms --itl 10ms
  plimsoll simulate --jitter 0.1 --seed 7 --truth truth.jsonl
  plimsoll simulate --fault abort:every=10 --fault role-only

It speaks the OpenAI chat API, streaming and not, and vLLM's /metrics.
A request holds a slot for
    ttft + prompt tokens x prompt-token + (output tokens - 1) x itl
so that the capacity is known on paper: slots / that time.")]
pub(crate) struct SimulateArgs {
    /// Port; 0 takes a free one
    #[arg(long, value_name = "N", default_value_t = 9000)]
    port: u16,
    /// Address to listen on
    #[arg(long, value_name = "ADDR", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,
    /// Name of the model [sim-SLOTS]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Requests that are served at once
    #[arg(long, value_name = "C", default_value = "8")]
    slots: NonZeroU32,
    /// Requests that may wait for a slot
    #[arg(long, value_name = "Q", default_value_t = 256)]
    queue: usize,
    /// Where the queue is full: 429 or 503
    #[arg(
        long,
        value_name = "STATUS",
        default_value = "429",
        hide_short_help = true
    )]
    overflow: Overflow,
    /// From the slot to the first token
    #[arg(long, value_name = "TIME", default_value = "50ms", value_parser = humantime::parse_duration)]
    ttft: Duration,
    /// What each prompt token adds to it
    #[arg(long, value_name = "TIME", default_value = "20us", value_parser = humantime::parse_duration)]
    prompt_token: Duration,
    /// From one token to the next
    #[arg(long, value_name = "TIME", default_value = "10ms", value_parser = humantime::parse_duration)]
    itl: Duration,
    /// ITL grows by 1 + G x (busy slots - 1)
    #[arg(long, value_name = "G", default_value = "0", hide_short_help = true)]
    itl_growth: ItlGrowth,
    /// Share by which times stray
    #[arg(long, value_name = "R", default_value = "0")]
    jitter: Jitter,
    /// Seed of the jitter
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// Tokens of a reply, if none asked
    #[arg(long, value_name = "N", default_value = "64", hide_short_help = true)]
    output_tokens: NonZeroU32,
    /// Variable with the key that requests must bring
    #[arg(long, value_name = "VAR", hide_short_help = true)]
    api_key_env: Option<String>,
    /// What goes wrong; repeatable, see --list-faults
    #[arg(long = "fault", value_name = "KIND")]
    faults: Vec<Fault>,
    /// List the kinds of faults and their values
    #[arg(long, hide_short_help = true)]
    list_faults: bool,
    /// Log when each chunk really left, as JSON Lines
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
}

impl SimulateArgs {
    fn config(&self) -> Result<SimulatorConfig, Failure> {
        let mut config = SimulatorConfig::new(self.slots);
        if let Some(model) = &self.model {
            config.model.clone_from(model);
        }
        config.queue = self.queue;
        config.overflow = self.overflow;
        config.ttft = self.ttft;
        config.prompt_token = self.prompt_token;
        config.itl = self.itl;
        config.itl_growth = self.itl_growth;
        config.jitter = self.jitter;
        config.seed = self.seed;
        config.default_output_tokens = self.output_tokens;
        config.api_key = self.api_key()?;
        config.faults.clone_from(&self.faults);
        config.truth.clone_from(&self.truth);
        Ok(config)
    }

    fn api_key(&self) -> Result<Option<AccessKey>, Failure> {
        let Some(variable) = &self.api_key_env else {
            return Ok(None);
        };
        match std::env::var(variable) {
            Ok(key) if !key.is_empty() => Ok(Some(AccessKey::new(key))),
            _ => Err(Failure::usage(
                format_args!("--api-key-env {variable}: the variable is not set"),
                format!("export {variable}=KEY first, or leave the flag out"),
            )),
        }
    }
}

/// Serves until the user ends it.
pub(crate) fn execute(args: &SimulateArgs, console: &Console) -> Result<Exit, Failure> {
    if args.list_faults {
        console.result(FAULT_TABLE.trim_end())?;
        return Ok(Exit::Done);
    }
    let config = args.config()?;
    if let Err(error) = raise_open_files() {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
    runtime::waiting()?.block_on(serve(
        config,
        SocketAddr::new(args.host, args.port),
        console,
    ))
}

async fn serve(
    config: SimulatorConfig,
    address: SocketAddr,
    console: &Console,
) -> Result<Exit, Failure> {
    let mut interrupts = Interrupts::listen()?;
    let simulator = Simulator::bind(config, address).await.map_err(|error| {
        let help = match error {
            SimulatorError::Bind { .. } => "choose another --port, or 0 for a free one",
            SimulatorError::Timer { .. } => "is the limit of open files reached? see `ulimit -n`",
            SimulatorError::Truth { .. } => "choose another file with --truth",
        };
        Failure::failed(chain(&error), help)
    })?;
    announce(simulator.config(), simulator.local_addr(), console)?;
    let totals = simulator
        .run(interrupts.next())
        .await
        .map_err(|error| Failure::failed(chain(&error), "what it served until then is complete"))?;
    sum_up(&totals, console)?;
    Ok(Exit::Done)
}

/// One line that says where it is and what it can carry, or the same as JSON.
fn announce(
    config: &SimulatorConfig,
    address: SocketAddr,
    console: &Console,
) -> Result<(), Failure> {
    let url = format!("http://{address}/v1");
    let service = config.service_time(PAPER_PROMPT_TOKENS, PAPER_OUTPUT_TOKENS);
    let capacity = config.capacity_rps(PAPER_PROMPT_TOKENS, PAPER_OUTPUT_TOKENS);
    if console.json {
        return console.json(&json!({
            "url": url,
            "model": config.model,
            "slots": config.slots,
            "prompt_tokens": PAPER_PROMPT_TOKENS,
            "output_tokens": PAPER_OUTPUT_TOKENS,
            "service_ns": u64::try_from(service.as_nanos()).unwrap_or(u64::MAX),
            "capacity_rps": capacity.is_finite().then_some(capacity),
        }));
    }
    console.result(&format!(
        "{url}   model {}   on paper {} ({} slots / {}, {PAPER_PROMPT_TOKENS} tokens in, \
         {PAPER_OUTPUT_TOKENS} out)",
        config.model,
        units::requests_per_second(capacity),
        config.slots,
        units::duration_setting(i64::try_from(service.as_nanos()).unwrap_or(i64::MAX)),
    ))
}

/// What it did until the end.
fn sum_up(totals: &SimulatorTotals, console: &Console) -> Result<(), Failure> {
    if console.json {
        return console.json(&json!({
            "crashed": totals.ended == SimulatorEnd::Crashed,
            "requests": totals.requests,
            "completed": totals.completed,
            "unfinished": totals.unfinished,
            "refused": totals.refused,
            "output_tokens": totals.output_tokens,
            "truth_lost": totals.truth_lost,
        }));
    }
    let mut parts = vec![
        format!("{} requests", totals.requests),
        format!("{} completed", totals.completed),
        format!("{} unfinished", totals.unfinished),
        format!("{} refused", totals.refused),
        format!("{} tokens", totals.output_tokens),
    ];
    if totals.truth_lost > 0 {
        parts.push(format!("{} missing in the truth log", totals.truth_lost));
    }
    let ended = match totals.ended {
        SimulatorEnd::Shutdown => "ended",
        SimulatorEnd::Crashed => "crashed, as asked",
    };
    console.result(&format!("{ended}: {}", parts.join(", ")))
}
