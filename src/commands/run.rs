//! `plimsoll run`: measures one endpoint now.

mod labels;

use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum};
use plimsoll_executor::load::abort::{AbortRuleError, AbortRules};
use plimsoll_executor::load::profile::{Overrides, Profile};
use plimsoll_executor::load::stamped::Stamping;
use plimsoll_executor::performance::{
    ApiKey, Endpoint, EndpointError, JobRequest, Origin, PerformanceSuite, Target, fresh_seed,
};
use plimsoll_executor::slo::{Slo, SloError};
use plimsoll_ingest::Trigger;

use super::profiles::unusable;
use super::{job, runtime};
use crate::failure::{Exit, Failure};
use crate::settings::Settings;
use crate::terminal::Console;

/// What is measured where nothing is named.
const USUAL_PROFILE: &str = "smoke";

/// The arguments of `run`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  plimsoll run --url http://gpu7:8000/v1 --model llama
      does it serve at all, and how fast with nobody else there
  plimsoll run --url http://gpu7:8000/v1 --model llama --profile step \\
      --slo ttft_p99=500ms,error_rate=1%,demand=10
      at which rate it breaks its SLO, and whether 10 a second is below that
  plimsoll run --url https://api.example.com/v1 --model m --api-key-env MY_KEY \\
      --profile max_throughput --set concurrency=[1,2,4,8]
  plimsoll run --url http://gpu7:8000/v1 --model llama --profile stability \\
      --rate 8 --duration 10m --abort-if error_rate=50%@10s --json

SLO: (ttft|tpot|itl|e2e)_pNN=TIME, error_rate=P%, demand=R, with commas between.
Profiles after the first take the next seeds: no run sends another's prompts.
--abort-if looks at an error rate once 10 requests have ended in its time.
Ctrl-C ends cleanly and publishes what was measured; twice stops at once.
SIGUSR1 holds all requests back, SIGUSR2 lets them go on.")]
pub(crate) struct RunArgs {
    /// Base URL of the server, usually ending in /v1
    #[arg(long, value_name = "URL")]
    url: String,
    /// Name of the model, as the server knows it
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    model: String,
    /// Shape of the load (smoke); repeatable, see `profiles`
    #[arg(long = "profile", value_name = "P")]
    profiles: Vec<String>,
    /// What must hold, such as ttft_p99=500ms,error_rate=1%
    #[arg(long, value_name = "RULES", value_parser = slo)]
    slo: Option<Slo>,
    /// Variable that holds the API key
    #[arg(long, value_name = "VAR")]
    api_key_env: Option<String>,
    /// Label the runs; repeatable
    #[arg(long = "label", value_name = "K=V")]
    labels: Vec<String>,
    /// Requests a second: fixed, or of the first stage
    #[arg(long, value_name = "R", allow_negative_numbers = true)]
    rate: Option<f64>,
    /// Requests at once: that one level alone
    #[arg(long, value_name = "N")]
    concurrency: Option<u32>,
    /// Length of each stage, such as 30s
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
    /// Requests of each stage
    #[arg(long, value_name = "N")]
    requests: Option<u64>,
    /// Tokens of every prompt
    #[arg(long, value_name = "N")]
    prompt_tokens: Option<u32>,
    /// Tokens asked of every answer
    #[arg(long, value_name = "N")]
    output_tokens: Option<u32>,
    /// Seed of arrivals, lengths and prompts
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Any other setting of the profile; repeatable
    #[arg(long = "set", value_name = "PATH=VALUE")]
    settings: Vec<String>,
    /// Stop early, such as error_rate=50%@10s,in_flight=4000
    #[arg(long, value_name = "RULES", value_parser = abort_rules)]
    abort_if: Option<AbortRules>,
    /// Who takes receive times: kernel or user (kernel)
    #[arg(
        long,
        value_name = "WHO",
        default_value = "kernel",
        hide_default_value = true,
        hide_possible_values = true,
        hide_short_help = true
    )]
    timestamps: Timestamps,
}

/// Who takes the receive times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Timestamps {
    /// The kernel, where it can.
    Kernel,
    /// This program, after each read.
    User,
}

/// Measures, publishes and reports.
pub(crate) fn execute(
    args: &RunArgs,
    settings: &Settings,
    console: &Console,
) -> Result<Exit, Failure> {
    let request = args.job(&|variable| std::env::var(variable).ok())?;
    runtime::waiting()?.block_on(job::execute(request, settings, console))
}

impl RunArgs {
    /// The job, checked wholly: nothing has happened yet.
    fn job(&self, environment: &dyn Fn(&str) -> Option<String>) -> Result<JobRequest, Failure> {
        let api_key = self.api_key(environment)?;
        let endpoint = Endpoint::new(&self.url, api_key.as_ref()).map_err(|error| wrong(&error))?;
        let overrides = self.overrides()?;
        let usual = [USUAL_PROFILE.to_owned()];
        let names = if self.profiles.is_empty() {
            &usual[..]
        } else {
            &self.profiles
        };
        // One seed for all, so that one number repeats the job.
        let seed = fresh_seed();
        let profiles = names
            .iter()
            .map(|name| Profile::load(name, &overrides, seed).map_err(|error| unusable(&error)))
            .collect::<Result<_, _>>()?;
        let profiles = Profile::with_seeds_apart(profiles);
        let suites = profiles.into_iter().map(|profile| PerformanceSuite {
            profile,
            slo: self.slo.clone().unwrap_or_default(),
            abort: self.abort_if.unwrap_or_default(),
        });
        Ok(JobRequest {
            target: Target {
                endpoint,
                api_key_env: self.api_key_env.clone(),
                model: self.model.clone(),
                revision: None,
                stamping: match self.timestamps {
                    Timestamps::Kernel => Stamping::Kernel,
                    Timestamps::User => Stamping::User,
                },
            },
            origin: Origin {
                labels: labels::parse(&self.labels)?,
                triggered_by: user(environment),
                trigger: Trigger::Manual,
                schedule_id: None,
                trace_id: None,
            },
            suites: suites.collect(),
        })
    }

    fn overrides(&self) -> Result<Overrides, Failure> {
        let others = self.settings.iter().map(|setting| setting.parse());
        Ok(Overrides {
            rate: self.rate,
            concurrency: self.concurrency,
            duration: self.duration,
            requests: self.requests,
            prompt_tokens: self.prompt_tokens,
            output_tokens: self.output_tokens,
            seed: self.seed,
            others: others
                .collect::<Result<_, _>>()
                .map_err(|error| unusable(&error))?,
        })
    }

    fn api_key(
        &self,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Option<ApiKey>, Failure> {
        let Some(variable) = &self.api_key_env else {
            return Ok(None);
        };
        let key = environment(variable).ok_or_else(|| {
            Failure::usage(
                format_args!("--api-key-env {variable}: the variable is not set"),
                format!("export {variable}=KEY first"),
            )
        })?;
        // The key itself is never said.
        let key = ApiKey::new(&key).ok_or_else(|| {
            Failure::usage(
                format_args!("--api-key-env {variable}: what it holds is blank or no key"),
                "a key is one line of printable characters",
            )
        })?;
        Ok(Some(key))
    }
}

/// What it means that a URL cannot be measured.
fn wrong(error: &EndpointError) -> Failure {
    match error {
        EndpointError::NotAUrl { .. } | EndpointError::Scheme { .. } => Failure::usage(
            format_args!("--url: {error}"),
            "write it as http://HOST:PORT/v1 or https://HOST/v1",
        ),
        EndpointError::Credentials => Failure::usage(
            format_args!("--url: {error}"),
            "the key is sent as a bearer token and is never stored",
        ),
        EndpointError::Certificates { .. } => Failure::failed(
            error,
            "install the system's certificates (ca-certificates), or set SSL_CERT_FILE",
        ),
    }
}

/// Who asks: the name that this system knows the user by.
pub(super) fn user(environment: &dyn Fn(&str) -> Option<String>) -> String {
    ["USER", "LOGNAME"]
        .into_iter()
        .find_map(|variable| environment(variable).filter(|name| !name.is_empty()))
        .or_else(account)
        .unwrap_or_else(|| "unknown".to_owned())
}

/// The name of the account that this process runs under.
fn account() -> Option<String> {
    let account = nix::unistd::User::from_uid(nix::unistd::getuid());
    account.ok().flatten().map(|account| account.name)
}

fn slo(text: &str) -> Result<Slo, SloError> {
    text.parse()
}

fn abort_rules(text: &str) -> Result<AbortRules, AbortRuleError> {
    text.parse()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::cli::{Asked, Command, parse};

    fn arguments(rest: &[&str]) -> RunArgs {
        let line = [
            "plimsoll",
            "run",
            "--url",
            "http://gpu7:8000/v1",
            "--model",
            "llama",
        ];
        let line = line.iter().chain(rest).map(OsString::from);
        match parse(line).expect("a valid command line") {
            Asked::Run(invocation) => match invocation.command {
                Command::Run(args) => args,
                other => panic!("{other:?}"),
            },
            Asked::Text { text, .. } => panic!("{text}"),
        }
    }

    fn environment(variable: &str) -> Option<String> {
        match variable {
            "USER" => Some("ada".to_owned()),
            "LLAMA_KEY" => Some("sk-secret-1234".to_owned()),
            "BLANK_KEY" => Some("  ".to_owned()),
            _ => None,
        }
    }

    fn job(rest: &[&str]) -> Result<JobRequest, Failure> {
        arguments(rest).job(&environment)
    }

    fn names(job: &JobRequest) -> Vec<&str> {
        let suites = job.suites.iter();
        suites.map(|suite| suite.profile.name()).collect()
    }

    fn check_refused(rest: &[&str], error: &str, help: &str) {
        let failure = job(rest).expect_err(error);
        assert_eq!(failure.exit(), Exit::Usage, "{rest:?}");
        let lines = format!("error: {error}\nhelp:  {help}");
        assert_eq!(failure.lines(), Some(lines));
    }

    #[test]
    fn nothing_asked_is_a_smoke_run_with_the_usual_slo() {
        let job = job(&[]).expect("a job");
        assert_eq!(job.target.endpoint.url(), "http://gpu7:8000/v1");
        assert_eq!(job.target.model, "llama");
        assert_eq!(names(&job), ["smoke"]);
        assert_eq!(job.suites[0].slo, Slo::default());
        assert!(job.suites[0].abort.is_empty());
        assert_eq!(
            (job.origin.triggered_by.as_str(), job.origin.trigger),
            ("ada", Trigger::Manual)
        );
        assert_eq!(job.target.stamping, Stamping::Kernel);
    }

    #[test]
    fn every_flag_reaches_the_job() {
        let job = job(&[
            "--profile",
            "step",
            "--profile",
            "stability",
            "--slo",
            "ttft_p99=500ms,demand=10",
            "--label",
            "team=inference",
            "--rate",
            "2",
            "--duration",
            "12s",
            "--prompt-tokens",
            "100",
            "--output-tokens",
            "20",
            "--seed",
            "7",
            "--set",
            "warm_up=3s",
            "--abort-if",
            "error_rate=50%@10s",
            "--api-key-env",
            "LLAMA_KEY",
            "--timestamps",
            "user",
        ])
        .expect("a job");
        assert_eq!(names(&job), ["step", "stability"]);
        for (suite, seed) in job.suites.iter().zip(7..) {
            let settings = suite.profile.effective_settings();
            assert_eq!(settings["rate"].as_f64(), Some(2.0), "{settings}");
            assert_eq!(settings["duration"], "12s");
            assert_eq!(settings["warm_up"], "3s");
            assert_eq!(settings["seed"], seed);
            assert_eq!(settings["workload"]["prompt_tokens"], 100);
            assert_eq!(settings["workload"]["output_tokens"], 20);
        }
        assert_eq!(
            job.suites[0].slo.to_string(),
            "ttft_p99=500ms,error_rate=1%,demand=10"
        );
        assert!(!job.suites[0].abort.is_empty());
        assert_eq!(job.origin.labels["team"], "inference");
        assert_eq!(job.target.stamping, Stamping::User);
        assert!(
            !format!("{job:?}").contains("sk-secret"),
            "the key is never printed"
        );
    }

    #[test]
    fn closed_loops_take_their_own_flags() {
        let job = job(&["--profile", "max_throughput", "--set", "concurrency=[1,2]"]);
        let settings = job.expect("a job").suites[0].profile.effective_settings();
        assert_eq!(settings["concurrency"], serde_json::json!([1, 2]));
    }

    #[test]
    fn what_is_wrong_is_said_before_anything_happens() {
        check_refused(
            &["--profile", "stpe"],
            "no profile is named `stpe`; the nearest is `step`. There are smoke, step, stability, \
             max_throughput",
            "did you mean `step`? `plimsoll profiles` lists all",
        );
        check_refused(
            &["--api-key-env", "NO_SUCH_KEY"],
            "--api-key-env NO_SUCH_KEY: the variable is not set",
            "export NO_SUCH_KEY=KEY first",
        );
        check_refused(
            &["--api-key-env", "BLANK_KEY"],
            "--api-key-env BLANK_KEY: what it holds is blank or no key",
            "a key is one line of printable characters",
        );
        check_refused(
            &["--label", "team"],
            "--label `team` is no name=value",
            "write it as --label team=inference",
        );
        for rest in [
            &["--rate", "-1", "--profile", "step"][..],
            &["--set", "reqest.timeout=1s"][..],
            &["--duration", "1s", "--requests", "5"][..],
        ] {
            assert_eq!(
                job(rest).expect_err("refused").exit(),
                Exit::Usage,
                "{rest:?}"
            );
        }
    }

    #[test]
    fn a_url_with_credentials_is_refused_without_saying_them() {
        let mut args = arguments(&[]);
        args.url = "http://me:hunter2@gpu7/v1".to_owned();
        let failure = args.job(&environment).expect_err("refused");
        assert_eq!(failure.exit(), Exit::Usage);
        let lines = failure.lines().expect("two lines");
        assert!(!lines.contains("hunter2"), "{lines}");
    }
}
