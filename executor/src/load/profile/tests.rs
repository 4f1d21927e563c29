//! The profiles that ship, every override, and every setting that cannot be used.

use super::*;
use crate::load::arrivals::Arrivals;
use crate::load::chat::{LengthField, Transfer};

const SEED: u64 = 42;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn overrides(settings: &[&str]) -> Overrides {
    let others = settings
        .iter()
        .map(|setting| setting.parse().expect("a setting"));
    Overrides {
        others: others.collect(),
        ..Overrides::default()
    }
}

fn load(name: &str, settings: &[&str]) -> Profile {
    Profile::load(name, &overrides(settings), SEED).expect("a profile")
}

fn with(name: &str, overrides: Overrides) -> Result<Profile, ProfileError> {
    Profile::load(name, &overrides, SEED)
}

/// A plan in short: name, phase, arrivals and end of each stage.
fn lines(profile: &Profile) -> Vec<String> {
    let line = |stage: &StagePlan| {
        let arrivals = match stage.arrivals {
            Arrivals::Closed { concurrency } => format!("closed {concurrency}"),
            Arrivals::Constant { rate } => format!("constant {}", rate.per_second()),
            Arrivals::Poisson { rate, .. } => format!("poisson {}", rate.per_second()),
        };
        let end = match stage.end {
            StageEnd::After(duration) => format!("{duration:?}"),
            StageEnd::Requests(requests) => format!("{requests} requests"),
        };
        let handing_over = if stage.hands_over { " ->" } else { "" };
        format!(
            "{} | {} | {arrivals} | {end}{handing_over}",
            stage.name, stage.phase
        )
    };
    profile.plan().iter().map(line).collect()
}

#[test]
fn smoke_is_a_handful_one_at_a_time_then_a_few_at_once() {
    let profile = load("smoke", &[]);
    assert_eq!(
        lines(&profile),
        [
            "concurrency 1 | steady | closed 1 | 5 requests",
            "concurrency 4 | steady | closed 4 | 8 requests",
        ]
    );
    assert_eq!(profile.judgement(), Judgement::FixedLoad);
    assert_eq!(profile.expected_duration(), Duration::from_millis(10_500));
}

#[test]
fn step_doubles_the_rate_five_times_with_a_warm_up_each() {
    let profile = load("step", &[]);
    assert_eq!(
        lines(&profile),
        [
            "warm-up to 1 req/s | warm_up | constant 1 | 5s ->",
            "1 req/s | steady | constant 1 | 30s",
            "warm-up to 2 req/s | warm_up | constant 2 | 5s ->",
            "2 req/s | steady | constant 2 | 30s",
            "warm-up to 4 req/s | warm_up | constant 4 | 5s ->",
            "4 req/s | steady | constant 4 | 30s",
            "warm-up to 8 req/s | warm_up | constant 8 | 5s ->",
            "8 req/s | steady | constant 8 | 30s",
            "warm-up to 16 req/s | warm_up | constant 16 | 5s ->",
            "16 req/s | steady | constant 16 | 30s",
        ]
    );
    assert!(profile.limit_finding());
    assert_eq!(profile.steady_stages(), 5);
    assert_eq!(profile.expected_duration(), secs(175));
}

#[test]
fn stability_warms_up_for_five_seconds_or_a_tenth() {
    let profile = load("stability", &[]);
    assert_eq!(
        lines(&profile),
        [
            "warm-up to 1 req/s | warm_up | poisson 1 | 5s ->",
            "1 req/s | steady | poisson 1 | 120s",
        ]
    );
    assert_eq!(profile.judgement(), Judgement::FixedLoad);
    let short = load("stability", &["duration=20s", "rate=8"]);
    assert_eq!(
        lines(&short),
        [
            "warm-up to 8 req/s | warm_up | poisson 8 | 2s ->",
            "8 req/s | steady | poisson 8 | 20s",
        ]
    );
}

#[test]
fn max_throughput_doubles_the_concurrency() {
    let profile = load("max_throughput", &[]);
    let lines = lines(&profile);
    assert_eq!(lines.len(), 12);
    assert_eq!(
        lines[10..],
        [
            "warm-up to concurrency 32 | warm_up | closed 32 | 5s ->",
            "concurrency 32 | steady | closed 32 | 15s",
        ]
    );
    assert!(profile.limit_finding());
    assert_eq!(profile.expected_duration(), secs(120));
}

#[test]
fn every_profile_that_ships_says_what_it_answers_and_reads_back() {
    for name in Profile::names() {
        let profile = load(name, &[]);
        assert_eq!(profile.name(), name);
        assert!(!profile.answers().is_empty());
        assert_eq!(profile.workload().name(), "mixed-v1");
        assert_eq!(profile.seed(), SEED);
        assert_eq!(profile.request().timeout, secs(60));
    }
}

#[test]
fn no_run_of_a_job_sends_the_prompts_of_another() {
    let seeded = |seed: u64| load("step", &[&format!("seed={seed}")]);
    let last = (1 << 53) - 1;
    for (given, apart) in [
        (vec![7, 7, 7], vec![7, 8, 9]),
        (vec![7, 8, 7], vec![7, 8, 9]),
        (vec![1, 2], vec![1, 2]),
        (vec![last, last], vec![last, 0]),
    ] {
        let profiles = given.iter().copied().map(seeded).collect();
        let found = Profile::with_seeds_apart(profiles);
        let seeds: Vec<_> = found.iter().map(Profile::seed).collect();
        assert_eq!(seeds, apart);
        for pair in found.windows(2) {
            assert_ne!(pair[0].prompts().next(0), pair[1].prompts().next(0));
        }
    }
}

#[test]
fn the_flags_change_rate_length_and_seed() {
    let profile = with(
        "step",
        Overrides {
            rate: Some(4.0),
            duration: Some(secs(10)),
            prompt_tokens: Some(64),
            output_tokens: Some(16),
            seed: Some(7),
            ..Overrides::default()
        },
    )
    .expect("a profile");
    let lines = lines(&profile);
    assert_eq!(lines[1], "4 req/s | steady | constant 4 | 10s");
    assert_eq!(lines[9], "64 req/s | steady | constant 64 | 10s");
    assert_eq!(profile.workload().name(), "fixed");
    assert_eq!(profile.seed(), 7);
    let prompt = profile.prompts().next(0);
    assert_eq!(
        (prompt.prompt_tokens_asked, prompt.output_tokens_asked),
        (64, 16)
    );
}

#[test]
fn the_flag_concurrency_is_that_level_alone() {
    let one = |name| {
        let overrides = Overrides {
            concurrency: Some(3),
            ..Overrides::default()
        };
        lines(&with(name, overrides).expect("a profile"))
    };
    assert_eq!(
        one("max_throughput")[1..],
        ["concurrency 3 | steady | closed 3 | 15s"]
    );
    assert_eq!(
        one("smoke"),
        ["concurrency 3 | steady | closed 3 | 8 requests"]
    );
}

#[test]
fn requests_and_duration_take_each_others_place() {
    let requests = |name| {
        let overrides = Overrides {
            requests: Some(20),
            ..Overrides::default()
        };
        with(name, overrides).expect("a profile")
    };
    assert_eq!(
        lines(&requests("smoke"))[0],
        "concurrency 1 | steady | closed 1 | 20 requests"
    );
    let step = requests("step");
    assert_eq!(
        lines(&step)[3],
        "2 req/s | steady | constant 2 | 20 requests"
    );
    let plan = step.plan();
    assert_eq!(plan[3].deadlines().expect("an open loop").count(), 20);
    assert_eq!(plan[3].expected_duration(), secs(10));
    // A tenth of 20 requests at 1 a second is less than 5 s.
    assert_eq!(
        lines(&requests("stability"))[0],
        "warm-up to 1 req/s | warm_up | poisson 1 | 2s ->"
    );
    assert_eq!(
        lines(&load("smoke", &["duration=3s"]))[1],
        "concurrency 4 | steady | closed 4 | 3s"
    );
}

#[test]
fn any_other_setting_goes_by_its_path() {
    assert_eq!(
        load("max_throughput", &["concurrency=[1, 2, 4]"]).steady_stages(),
        3
    );
    assert_eq!(
        load("step", &["steps=3", "factor=1.5"]).plan()[5].name,
        "2.25 req/s"
    );
    assert_eq!(load("step", &["warm_up=0s"]).plan().len(), 5);
    assert_eq!(load("step", &[" seed = 9 "]).seed(), 9);
    let profile = load(
        "smoke",
        &[
            "request.timeout=5s",
            "request.stream=false",
            "request.length_field=max_completion_tokens",
            "request.ignore_eos=always",
            "request.temperature=0",
        ],
    );
    assert_eq!(
        *profile.request(),
        RequestSettings {
            timeout: secs(5),
            transfer: Transfer::Whole,
            length_field: LengthField::MaxCompletionTokens,
            ignore_eos: IgnoreEos::Always,
            temperature: Some(0.0),
        }
    );
    // The later one wins, and any wins over a flag.
    let mut both = overrides(&["rate=3", "rate=5"]);
    both.rate = Some(2.0);
    let profile = with("stability", both).expect("a profile");
    assert_eq!(profile.plan()[1].name, "5 req/s");
}

#[test]
fn other_arrivals_push_out_what_the_file_says_of_its_own() {
    let open = load("smoke", &["arrivals=poisson", "rate=2", "requests=6"]);
    assert_eq!(lines(&open), ["2 req/s | steady | poisson 2 | 6 requests"]);
    let closed = load("step", &["arrivals=closed", "concurrency=4", "warm_up=0s"]);
    assert_eq!(lines(&closed), ["concurrency 4 | steady | closed 4 | 30s"]);
}

#[test]
fn every_stage_has_bursts_of_its_own() {
    let profile = load("step", &["arrivals=poisson", "factor=1.0001"]);
    let plan = profile.plan();
    let first = |stage: &StagePlan| stage.deadlines().and_then(|mut deadlines| deadlines.next());
    for (i, stage) in plan.iter().enumerate() {
        for other in &plan[i + 1..] {
            assert_ne!(stage.arrivals, other.arrivals);
            assert_ne!(first(stage), first(other));
        }
    }
    assert_eq!(
        plan,
        load("step", &["arrivals=poisson", "factor=1.0001"]).plan()
    );
}

#[test]
fn the_effective_settings_are_enough_for_a_rerun() {
    let profiles = [
        load("smoke", &[]),
        load("step", &["workload.output_tokens=16"]),
        load(
            "stability",
            &["warm_up_share=7%", "rate=0.1", "duration=1m 1ms"],
        ),
        load("max_throughput", &["requests=9", "request.temperature=0.7"]),
        load(
            "step",
            &[
                "workload.prompt_tokens=64",
                "workload.output_tokens=16",
                "warm_up=0s",
            ],
        ),
        load(
            "step",
            &[
                "requests=30",
                "request.stream=false",
                "seed=9007199254740991",
            ],
        ),
    ];
    for profile in profiles {
        let settings = profile.effective_settings();
        let text = settings.to_string();
        let stored: Value = serde_json::from_str(&text).expect("JSON");
        let again = Profile::from_settings(&stored).expect("the same profile");
        assert_eq!(again, profile, "{text}");
        assert_eq!(again.plan(), profile.plan());
    }
}

#[test]
fn comparable_settings_leave_out_the_seed_and_nothing_that_matters() {
    let comparable = |settings: &[&str]| load("step", settings).comparable_settings();
    assert_eq!(comparable(&["seed=1"]), comparable(&["seed=2"]));
    for setting in [
        "rate=2",
        "duration=31s",
        "request.timeout=61s",
        "arrivals=poisson",
    ] {
        assert_ne!(comparable(&[setting]), comparable(&[]), "{setting}");
    }
    assert_eq!(comparable(&["duration=60s"]), comparable(&["duration=1m"]));
    assert_eq!(comparable(&["rate=2"]), comparable(&["rate=2.0"]));
}

#[test]
fn a_fresh_seed_fits_every_reader_of_json() {
    let profile = Profile::load("smoke", &Overrides::default(), u64::MAX).expect("a profile");
    assert_eq!(profile.seed(), (1 << 53) - 1);
}

#[track_caller]
fn check_refused(name: &str, settings: &[&str], message: &str) {
    let others: Result<Vec<Setting>, ProfileError> =
        settings.iter().map(|setting| setting.parse()).collect();
    let profile = others.and_then(|others| {
        let overrides = Overrides {
            others,
            ..Overrides::default()
        };
        with(name, overrides)
    });
    assert_eq!(profile.expect_err("it is refused").to_string(), message);
}

#[test]
fn an_unknown_profile_is_named_with_its_nearest() {
    check_refused(
        "steps",
        &[],
        "no profile is named `steps`; the nearest is `step`. There are smoke, step, stability, \
         max_throughput",
    );
}

#[test]
fn an_unknown_key_is_named_with_its_nearest() {
    for (setting, nearest) in [
        ("durration=3s", "duration"),
        ("workload.promt_tokens=3", "workload.prompt_tokens"),
        ("request.time_out=3s", "request.timeout"),
        ("concurency=[1,2]", "concurrency"),
    ] {
        let key = setting.split('=').next().expect("a key");
        check_refused(
            "step",
            &[setting],
            &format!("`{key}` is no key of a profile; the nearest is `{nearest}`"),
        );
    }
    for fixed in ["name", "answers", "judgement", "workload", "request"] {
        let error = setting_error(&format!("{fixed}=x"));
        assert!(
            error.starts_with(&format!("`{fixed}` is no key of a profile")),
            "{error}"
        );
    }
    let refused = |text: &str| {
        let refused = Profile::parse(text, &Overrides::default(), SEED);
        refused.expect_err("it is refused").to_string()
    };
    let step = Profile::source("step").expect("it ships");
    assert_eq!(
        refused(&format!("{step}\ntimeouts = 3")),
        "`request.timeouts` is no key of a profile; the nearest is `request.timeout`"
    );
    assert_eq!(
        refused(&step.replace("judgement", "judgment")),
        "`judgment` is no key of a profile; the nearest is `judgement`"
    );
}

fn setting_error(setting: &str) -> String {
    let setting = setting.parse::<Setting>();
    setting.expect_err("it is refused").to_string()
}

#[test]
fn a_setting_without_a_value_is_refused() {
    assert_eq!(
        setting_error("rate"),
        "`rate` is no setting; write path=value, such as rate=4 or concurrency=[1,2,4]"
    );
}

#[test]
fn values_out_of_range_are_refused_with_what_is_allowed() {
    const RATE: &str = "a number of requests a second above 0 and up to 1000000";
    const TIME: &str = "a duration above 0 and up to 30 days, such as 30s or 2m";
    const LEVELS: &str = "a whole number from 1 to 20000, or a list of them that grow";
    const REQUESTS: &str = "a whole number from 1 to 1000000000, or a list of them";
    for (name, key, value, allowed) in [
        ("step", "rate", "0", RATE),
        ("step", "rate", "-1", RATE),
        ("step", "rate", "nan", RATE),
        ("step", "rate", "inf", RATE),
        ("step", "rate", "fast", RATE),
        ("step", "rate", "2000000", RATE),
        ("step", "rate", "true", RATE),
        ("step", "steps", "0", "a whole number from 1 to 100"),
        ("step", "steps", "1.5", "a whole number from 1 to 100"),
        ("step", "factor", "1", "a number above 1 and up to 1000"),
        ("step", "factor", "0.5", "a number above 1 and up to 1000"),
        ("step", "duration", "0s", TIME),
        ("step", "duration", "30", TIME),
        ("step", "duration", "soon", TIME),
        ("step", "duration", "31days", TIME),
        ("step", "requests", "0", REQUESTS),
        ("step", "requests", "[]", REQUESTS),
        (
            "step",
            "requests",
            "[1, 2]",
            "one whole number where arrivals are constant or poisson",
        ),
        ("step", "arrivals", "open", "closed, constant or poisson"),
        (
            "step",
            "warm_up",
            "-1s",
            "a duration up to 30 days, such as 5s; 0s for none",
        ),
        (
            "step",
            "warm_up_share",
            "0%",
            "a percentage of the duration above 0% and up to 100%, such as 10%",
        ),
        (
            "step",
            "warm_up_share",
            "0.1",
            "a percentage of the duration above 0% and up to 100%, such as 10%",
        ),
        (
            "step",
            "seed",
            "-1",
            "a whole number from 0 to 9007199254740991",
        ),
        ("max_throughput", "concurrency", "0", LEVELS),
        ("max_throughput", "concurrency", "[1, 0]", LEVELS),
        ("max_throughput", "concurrency", "[]", LEVELS),
        ("max_throughput", "concurrency", "100001", LEVELS),
        ("max_throughput", "concurrency", "1.5", LEVELS),
        ("smoke", "request.timeout", "0s", TIME),
        ("smoke", "request.stream", "yes", "true or false"),
        (
            "smoke",
            "request.length_field",
            "max",
            "max_tokens or max_completion_tokens",
        ),
        (
            "smoke",
            "request.ignore_eos",
            "true",
            "where_known, always or never",
        ),
        (
            "smoke",
            "request.temperature",
            "-1",
            "a number from 0 to 10",
        ),
        ("smoke", "workload.mix", "3", "a name"),
        (
            "smoke",
            "workload.prompt_tokens",
            "-1",
            "a whole number from 0 to 4294967295",
        ),
    ] {
        check_refused(
            name,
            &[&format!("{key}={value}")],
            &format!("`{key}` is `{value}`; it must be {allowed}"),
        );
    }
}

#[test]
fn a_workload_that_cannot_be_made_is_refused() {
    check_refused(
        "smoke",
        &["workload.prompt_tokens=3"],
        "prompts of 3 tokens cannot be made; use 8 to 1000000, since shorter ones would repeat",
    );
    check_refused(
        "smoke",
        &["workload.output_tokens=0"],
        "answers of 0 tokens cannot be asked for; use 1 to 1000000",
    );
    check_refused(
        "smoke",
        &["workload.mix=mixed"],
        "no workload mix is named `mixed`; there is mixed-v1",
    );
}

#[test]
fn settings_that_do_not_go_together_are_refused() {
    check_refused(
        "step",
        &["duration=3s", "requests=3"],
        "`duration` and `requests` both say when a stage ends; give one of them",
    );
    check_refused(
        "smoke",
        &["rate=3"],
        "`rate` has no effect where arrivals are closed; set concurrency, or arrivals to constant \
         or poisson",
    );
    check_refused(
        "step",
        &["concurrency=3"],
        "`concurrency` has no effect where arrivals are constant; set rate, or arrivals to closed",
    );
    check_refused(
        "smoke",
        &["arrivals=constant"],
        "`rate` is missing; it must be a number of requests a second above 0 and up to 1000000",
    );
    check_refused(
        "step",
        &["arrivals=closed"],
        "`concurrency` is missing; it must be a whole number from 1 to 20000, or a list of them that grow",
    );
    check_refused(
        "stability",
        &["steps=2"],
        "`factor` is missing; it must be what the rate grows by from step to step, such as 2",
    );
    check_refused(
        "step",
        &["rate=100000"],
        "`rate` 100000 grown 4 times by `factor` 2 goes past 1000000 req/s; lower one of the three",
    );
    check_refused(
        "smoke",
        &["concurrency=[1,2,3]"],
        "`requests` has 2 values for 3 levels of `concurrency`; give one, or one a level",
    );
}

#[test]
fn a_file_that_is_no_profile_is_refused() {
    let refused = |text: &str| {
        let refused = Profile::parse(text, &Overrides::default(), SEED);
        refused.expect_err("it is refused").to_string()
    };
    for (text, says) in [
        ("rate = ", "a profile that cannot be read: "),
        ("name = \"x\"", "missing field `judgement`"),
        (
            "name = 3\njudgement = \"fixed_load\"\narrivals = \"closed\"",
            "expected a string",
        ),
    ] {
        let message = refused(text);
        assert!(message.contains(says), "{message}");
    }
}
