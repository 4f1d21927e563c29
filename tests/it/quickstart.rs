//! A newcomer's first command, as they type it.

use serde_json::json;

use crate::program::Place;

#[test]
fn everything_on_this_machine_from_a_model_to_an_answer() {
    let place = Place::new();
    let answer = place.answer(&["quickstart"]);
    // On a machine that is busy with other things the generator may find itself late, and says so.
    let code = answer.code;
    assert!(matches!(code, Some(0 | 5)), "{answer:?}");
    for words in ["simulated model", "warehouse", "job of suites smoke, step"] {
        assert!(answer.stderr.contains(words), "{words}: {answer:?}");
    }
    let next = "Next: plimsoll sql \"select * from peak_rps\"";
    assert!(answer.stdout.contains(next), "{answer:?}");

    let runs = place.rows("select suite, verdict, labels from reports.runs order by started_at");
    let suites: Vec<_> = runs.iter().map(|run| &run["suite"]).collect();
    assert_eq!(suites, [&json!("smoke"), &json!("step")]);
    let labels = r#"{"from":"quickstart"}"#;
    assert!(runs.iter().all(|run| run["labels"] == labels), "{runs:?}");
    assert_eq!(
        place.value("select count(*) from reports.stages where sent <> ok + errors"),
        json!(0)
    );
    assert_eq!(place.spooled(), [""; 0]);
    if code == Some(0) {
        // 8 slots, each held for 50 ms and 31 times 10 ms: 22 requests a second at most.
        let peak = place
            .value("select peak_goodput_rps from peak_rps")
            .as_f64();
        assert!(peak > Some(14.0) && peak < Some(18.0), "{peak:?}");
    }
}
