//! Scores over time.

use plimsoll_ingest::{RunRow, ScoreRow, Verdict};

use crate::place::{Place, answer, at, blank, id, run};

/// One score of a series, a minute after the one before it.
async fn score(place: &Place, minute: i64, value: f64, stderr: Option<f64>, key: &str) {
    let run_id = id(at(1, minute), 1);
    let row = ScoreRow {
        benchmark: "gsm8k".into(),
        metric: "acc".into(),
        value,
        stderr,
        n: 200,
        higher_is_better: true,
        comparable_key: key.into(),
        ..blank(run_id)
    };
    place.append(&[row]).await;
    place
        .append(&[RunRow {
            pillar: "benchmark".into(),
            ..run(run_id, "m")
        }])
        .await;
}

#[tokio::test]
async fn scores_are_compared_with_the_one_before_of_the_same_key() {
    let place = Place::new();
    for (minute, value) in [(0, 0.5), (2, 0.75), (4, 0.5)] {
        score(&place, minute, value, Some(0.03), "a").await;
    }
    score(&place, 1, 0.125, None, "b").await;
    // A run that says nothing about the model.
    let spoiled = id(at(1, 3), 9);
    let row = ScoreRow {
        benchmark: "gsm8k".into(),
        metric: "acc".into(),
        value: 0.0,
        comparable_key: "a".into(),
        ..blank(spoiled)
    };
    place.append(&[row]).await;
    let row = RunRow {
        verdict: Verdict::Incomplete.to_string(),
        ..run(spoiled, "m")
    };
    place.append(&[row]).await;
    let sql = "SELECT comparable_key, value, change, significant, earlier, round(noise, 4) \
               FROM score_trends ORDER BY comparable_key, started_at";
    assert_eq!(
        answer(&place.open().await, sql).await,
        "a,0.5,,,0,\n\
         a,0.75,0.25,,1,\n\
         a,0.5,-0.25,,2,0.1768\n\
         b,0.125,,,0,"
    );
}

/// Five earlier scores 0.02 apart from neighbour to neighbour: noise 0.02 / sqrt 2. The interval of
/// a difference is then 3.2 times 0.02 at 2.9 degrees of freedom.
#[tokio::test]
async fn a_change_is_significant_past_the_noise_and_the_standard_error() {
    for (last, stderr, significant) in [
        (0.57, 0.0, "true"),
        (0.56, 0.0, "false"),
        (0.43, 0.0, "true"),
        (0.57, 0.03, "false"),
        (0.50, 0.0, "false"),
    ] {
        let place = Place::new();
        for minute in 0..5 {
            let value = 0.5 - 0.02 * (minute % 2) as f64;
            score(&place, minute, value, Some(stderr), "a").await;
        }
        score(&place, 5, last, Some(stderr), "a").await;
        let sql = "SELECT significant, round(noise, 6) FROM score_trends WHERE earlier = 5";
        assert_eq!(
            answer(&place.open().await, sql).await,
            format!("{significant},0.014142"),
            "{last} {stderr}"
        );
    }
    // One fewer, and nothing is decided.
    let place = Place::new();
    for minute in 0..5 {
        score(&place, minute, minute as f64, None, "a").await;
    }
    let sql = "SELECT count(significant) FROM score_trends";
    assert_eq!(answer(&place.open().await, sql).await, "0");
}
