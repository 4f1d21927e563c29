use super::*;

const WHOLE: &str = "
subject:
  model: llama-70b-c50
  revision: 3219
  endpoint: http://gpu7:8000/v1?api-version=7
  api_key_env: LLAMA_KEY
change: {ref: PR-1234, kind: engine-flag, summary: \"enable multi-token prediction\"}
suites:
  - performance: step
    set: {duration: 30s, rate: 4, workload: {output_tokens: 20}}
    slo: {ttft_p99: 500ms, error_rate: 1%, demand: 10}
    abort_if: error_rate=50%@10s
  - performance: smoke
shared: true
priority: high
labels: {team: inference, shard: 7}
notify: {slack: \"#model-quality\"}
deadline: 2h
max_attempts: 2
";

fn parse(text: &str) -> Result<JobSpec, InvalidJob> {
    JobSpec::parse(text, Format::Yaml, 7)
}

#[track_caller]
fn check_refused(text: &str, faults: &[&str]) {
    let refused = parse(text).expect_err(text);
    let texts: Vec<String> = refused.faults.iter().map(ToString::to_string).collect();
    assert_eq!(texts, faults);
}

#[test]
fn a_whole_job_is_read_and_read_back() {
    let spec = parse(WHOLE).expect("a job");
    assert_eq!(spec.subject.revision.as_deref(), Some("3219"));
    assert_eq!(spec.subject.api_key_env.as_deref(), Some("LLAMA_KEY"));
    let names: Vec<&str> = spec
        .suites
        .iter()
        .map(|suite| suite.profile.name())
        .collect();
    assert_eq!(names, ["step", "smoke"]);
    let settings = spec.suites[0].profile.effective_settings();
    assert_eq!(
        (&settings["duration"], &settings["seed"]),
        (&json!("30s"), &json!(7))
    );
    assert_eq!(settings["workload"]["output_tokens"], 20);
    assert_eq!(
        spec.suites[1].profile.effective_settings()["seed"],
        8,
        "seeds are apart"
    );
    assert_eq!(
        spec.suites[0].slo.to_string(),
        "ttft_p99=500ms,error_rate=1%,demand=10"
    );
    assert!(!spec.suites[0].abort.is_empty() && spec.suites[1].abort.is_empty());
    assert_eq!(
        (spec.shared, spec.priority, spec.max_attempts),
        (true, Priority::High, 2)
    );
    assert_eq!(spec.labels["shard"], "7");
    assert_eq!(spec.deadline, Some(Duration::from_secs(7200)));
    assert_eq!(spec.notify.slack.as_deref(), Some("#model-quality"));
    let stored = spec.to_json();
    let again = JobSpec::from_json(&stored.to_string()).expect("our own");
    assert_eq!(again.to_json(), stored);
    assert_eq!(
        spec.to_public_json()["subject"]["endpoint"],
        "http://gpu7:8000/v1"
    );
    assert!(JobSpec::from_json("{}").is_err());
}

#[test]
fn json_is_read_too_and_most_may_be_left_out() {
    let text = r#"{"subject": {"model": "m", "endpoint": "http://h/v1"}, "suites": [{"performance": "smoke"}]}"#;
    let spec = JobSpec::parse(text, Format::Json, 1).expect("a job");
    assert_eq!(
        (spec.shared, spec.priority, spec.max_attempts),
        (false, Priority::Normal, 3)
    );
    assert_eq!((spec.change, spec.deadline), (None, None));
    assert!(parse(text).is_ok(), "JSON is YAML");
}

#[test]
fn everything_wrong_is_said_at_once_with_its_place() {
    check_refused(
        "
subject: {modle: m, endpoint: gpu7, api_key_env: \"sk-1234\"}
suites:
  - performance: stpe
  - performance: step
    set: {durration: 30s, rate: 4}
    slo: {ttft_99: 500ms, error_rate: 1}
  - functional: standard
  - {}
priority: urgent
shared: maybe
labels: [a]
deadline: soon
max_attempts: 0
extra: 1
",
        &[
            "extra: it means nothing; the nearest is `deadline`",
            "subject.modle: it means nothing; the nearest is `model`",
            "subject.model: it is missing: the model's name, as requests give it",
            "subject.api_key_env: it is no name of a variable; the key itself is never written down",
            "subject.endpoint: `gpu7` is no URL; give one such as http://127.0.0.1:8000/v1",
            "suites[0].performance: no profile is named `stpe`; the nearest is `step`. There are \
             smoke, step, stability, max_throughput",
            "suites[1].set.durration: `durration` is no key of a profile; the nearest is `duration`",
            "suites[1].slo.ttft_99: `ttft_99` is no objective; the nearest is `ttft_p99`. There are \
             ttft, tpot, itl and e2e with _p50, _p90, _p95 or _p99, and error_rate and demand",
            "suites[1].slo.error_rate: `1` is no limit for `error_rate`; use a percentage from 0% to \
             100%, such as 1%",
            "suites[2].functional: this release has performance suites alone: smoke, step, \
             stability, max_throughput",
            "suites[3]: it names no suite: give `performance: smoke` or another profile",
            "shared: it is text; it must be true or false",
            "priority: it is `urgent`; it must be high, normal or low",
            "labels: it is a list; write it as {team: inference}",
            "deadline: it is `soon`; it must be a time above 0, such as 2h",
            "max_attempts: it is `0`; it must be a whole number from 1 to 20",
        ],
    );
}

#[test]
fn what_is_no_job_at_all_is_refused() {
    check_refused("- a", &["it is a list; it must be an object"]);
    check_refused("", &["it is nothing; it must be an object"]);
    check_refused(
        "suites: []",
        &[
            "subject: it is missing: what is to be evaluated, with model and endpoint",
            "suites: it has 0 entries; it must have 1 to 100",
        ],
    );
    let refused = parse("subject: [1, 2").expect_err("no YAML");
    assert!(refused.to_string().contains("it is no YAML"), "{refused}");
    let refused = parse("subject: {model: a, model: b}").expect_err("twice");
    assert!(refused.to_string().contains("model"), "{refused}");
    let refused = JobSpec::parse("{", Format::Json, 1).expect_err("no JSON");
    assert!(refused.to_string().contains("it is no JSON"), "{refused}");
    check_refused(
        "
subject: {model: m, serve: {engine: vllm}}
suites: [{performance: smoke}]
",
        &[
            "subject.serve: this release evaluates one endpoint that serves already: give `endpoint`",
        ],
    );
    let secret =
        "subject: {model: m, endpoint: \"http://me:hunter2@h/v1\"}\nsuites: [{performance: smoke}]";
    let refused = parse(secret).expect_err("credentials");
    assert!(!refused.to_string().contains("hunter2"), "{refused}");
    for endpoint in [
        "ftp://me:hunter2@h/v1",
        "gpu7/v1?key=hunter2",
        "me:hunter2@gpu7/v1#x",
    ] {
        let text = secret.replace("http://me:hunter2@h/v1", endpoint);
        let refused = parse(&text).expect_err(endpoint);
        assert!(!refused.to_string().contains("hunter2"), "{refused}");
    }
}

/// A few lines that stand for a billion nodes.
#[test]
fn a_bomb_is_refused_soon() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_string();
    for level in 1..10 {
        let inner = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{inner}]\n"));
    }
    let begun = std::time::Instant::now();
    let refused = parse(&bomb).expect_err("too much");
    assert!(refused.to_string().contains("it is no YAML"), "{refused}");
    let deep = "[".repeat(100_000);
    assert!(parse(&deep).is_err());
    assert!(JobSpec::parse(&deep, Format::Json, 1).is_err());
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
}
