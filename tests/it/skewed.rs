//! Storage and a host whose clocks differ.

use serde_json::json;

use crate::buckets::answer;
use crate::peers::Bucket;
use crate::program::Place;
use crate::simulated::Simulated;

/// Nothing that is measured is lost by it, and nothing is thrown away by a clock that may be wrong.
#[test]
fn storage_whose_clock_is_wrong_holds_runs_and_is_not_maintained() {
    for hours in [-50, 50] {
        let bucket = Bucket::s3_ahead(hours);
        let place = Place::new();
        let simulated = Simulated::quick(&place);
        let ask = |arguments: &[&str]| {
            let arguments = [arguments, &["--warehouse", bucket.warehouse]].concat();
            answer(&place, &bucket.variables, &arguments)
        };
        for _ in 0..2 {
            let done = ask(&simulated.run(&["--requests", "4"]));
            assert!(matches!(done.code, Some(0 | 5)), "{hours} h: {done:?}");
        }
        assert_eq!(place.spooled(), Vec::<String>::new());
        for action in ["optimize", "vacuum"] {
            let refused = ask(&["warehouse", action]);
            let seconds = i64::from(hours).abs() * 3_600;
            refused.refuses(
                1,
                "the clocks of this host and of the warehouse's storage differ by ",
                "set this host's clock right",
            );
            let told = refused
                .stderr
                .split_once(" differ by ")
                .map(|(_, rest)| rest);
            let told = told.and_then(|rest| rest.split(' ').next()?.parse::<i64>().ok());
            assert!(
                told.is_some_and(|told| (told - seconds).abs() < 60),
                "{refused:?}"
            );
        }
        let checked = ask(&["warehouse", "check", "--json"]);
        assert_eq!(checked.code, Some(0), "{checked:?}");
        let checked = checked.json();
        assert_eq!(
            (&checked["sound"], &checked["runs"]),
            (&json!(true), &json!(2)),
            "{checked}"
        );
    }
}
