use proptest::prelude::*;
use serde_json::json;

use super::*;

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).expect("a moment")
}

fn cadence(pattern: &str, zone: &str) -> Cadence {
    Cadence::parse(pattern, zone, at("2026-01-01T00:00:00Z")).expect("a cadence")
}

fn ticks(pattern: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
    let cadence = cadence(pattern, zone);
    let first = cadence.next_after(at(after));
    let all = std::iter::successors(first, |tick| cadence.next_after(*tick));
    all.take(count).map(|tick| tick.to_string()).collect()
}

#[test]
fn ticks_are_where_the_pattern_says_in_its_zone() {
    assert_eq!(
        ticks("30 2 * * 1-5", "UTC", "2026-11-27T02:30:00Z", 2),
        ["2026-11-30T02:30:00Z", "2026-12-01T02:30:00Z"]
    );
    assert_eq!(
        ticks("0 0 1 * *", "America/New_York", "2026-11-15T00:00:00Z", 2),
        ["2026-12-01T05:00:00Z", "2027-01-01T05:00:00Z"]
    );
    // Day and weekday: either, as cron has it.
    assert_eq!(
        ticks("0 0 13 * 5", "UTC", "2026-11-01T00:00:00Z", 3),
        [
            "2026-11-06T00:00:00Z",
            "2026-11-13T00:00:00Z",
            "2026-11-20T00:00:00Z"
        ]
    );
}

/// 02:30 is not there on 29 March 2026 in Berlin, and is there twice on 25 October.
#[test]
fn a_day_on_which_clocks_change_has_one_tick_all_the_same() {
    let spring = ticks("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", 3);
    assert_eq!(
        spring.last().map(String::as_str),
        Some("2026-03-31T00:30:00Z")
    );
    assert!(spring[0].starts_with("2026-03-29"), "{spring:?}");
    let autumn = ticks("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2);
    assert_eq!(autumn, ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
}

#[test]
fn what_is_no_cadence_is_told_apart() {
    let now = at("2026-01-01T00:00:00Z");
    let refused = |pattern: &str, zone: &str| {
        Cadence::parse(pattern, zone, now)
            .expect_err("refused")
            .to_string()
    };
    assert_eq!(refused("0 0 31 2 *", "UTC"), "`0 0 31 2 *` never fires");
    assert_eq!(
        refused("0 0 * * *", "Europe/Berlni"),
        "`Europe/Berlni` is no time zone, such as `Europe/Berlin` or `UTC`"
    );
    for pattern in ["", "* * * *", "0 0 0 * * *", "61 * * * *", "every day"] {
        let text = refused(pattern, "UTC");
        assert!(text.contains("is no cron pattern of five fields"), "{text}");
    }
}

#[test]
fn late_ticks_are_made_up_for_as_the_schedule_says() {
    let hourly = cadence("0 * * * *", "UTC");
    let next = at("2026-11-27T03:00:00Z");
    let now = at("2026-11-27T06:30:00Z");
    let of = |catch_up| plan(&hourly, catch_up, next, now);
    let (six, seven) = (at("2026-11-27T06:00:00Z"), Some(at("2026-11-27T07:00:00Z")));
    assert_eq!(
        of(CatchUp::Last),
        Some(Due {
            tick: Some(six),
            missed: 3,
            last: six,
            next: seven
        })
    );
    assert_eq!(
        of(CatchUp::None),
        Some(Due {
            tick: None,
            missed: 4,
            last: six,
            next: seven
        })
    );
    let four = Some(at("2026-11-27T04:00:00Z"));
    assert_eq!(
        of(CatchUp::All),
        Some(Due {
            tick: Some(next),
            missed: 0,
            last: next,
            next: four
        })
    );
    let soon = at("2026-11-27T03:00:05Z");
    let on_time = Due {
        tick: Some(next),
        missed: 0,
        last: next,
        next: four,
    };
    for catch_up in CatchUp::ALL {
        assert_eq!(plan(&hourly, *catch_up, next, soon), Some(on_time.clone()));
        assert_eq!(
            plan(&hourly, *catch_up, next, at("2026-11-27T02:59:59Z")),
            None
        );
    }
    // Years later, no more than so many.
    let minutely = cadence("* * * * *", "UTC");
    let due = plan(&minutely, CatchUp::All, next, at("2026-11-30T03:00:00Z")).expect("due");
    assert_eq!(due.missed, 3 * 24 * 60 + 1 - MOST_CAUGHT_UP as u64);
}

fn document() -> Value {
    json!({
        "name": "nightly", "cron": "30 2 * * *", "time_zone": "Europe/Berlin", "jitter": "5m",
        "job": {"subject": {"model": "m", "endpoint": "http://h/v1?key=x"},
            "suites": [{"performance": "smoke"}]},
    })
}

#[test]
fn a_schedule_is_read() {
    let now = at("2026-01-01T00:00:00Z");
    let spec = ScheduleSpec::read(&document(), now).expect("a schedule");
    assert_eq!(
        (spec.overlap, spec.catch_up),
        (Overlap::Skip, CatchUp::Last)
    );
    assert_eq!(spec.jitter, Duration::from_secs(300));
    let public = spec.public_job().expect("a job").to_string();
    assert!(!public.contains("key=x"), "{public}");
}

#[test]
fn everything_wrong_with_a_schedule_is_said_at_once() {
    let mut document = document();
    document["name"] = json!("a/b");
    document["cron"] = json!("0 0 30 2 *");
    document["overlap"] = json!("both");
    document["catch_up"] = json!(3);
    document["jitter"] = json!("0s");
    document["extra"] = json!(1);
    document["job"]["suites"][0] = json!({"performance": "stpe"});
    let refused = ScheduleSpec::read(&document, at("2026-01-01T00:00:00Z")).expect_err("refused");
    let paths: Vec<&str> = refused
        .faults
        .iter()
        .map(|fault| fault.path.as_str())
        .collect();
    assert_eq!(
        paths,
        [
            "extra",
            "name",
            "cron",
            "jitter",
            "overlap",
            "catch_up",
            "job.suites[0].performance"
        ]
    );
    assert!(refused.to_string().contains("never fires"), "{refused}");
    let refused = ScheduleSpec::read(&json!({}), at("2026-01-01T00:00:00Z")).expect_err("refused");
    assert_eq!(refused.faults.len(), 3);
}

proptest! {
    /// Whatever the zone and the time of day, a daily tick comes once a local day.
    #[test]
    fn a_daily_tick_comes_once_a_day(
        zone in prop::sample::select(&["Europe/Berlin", "America/New_York", "Australia/Lord_Howe",
            "America/Sao_Paulo", "Asia/Kolkata", "UTC"][..]),
        hour in 0..24u32,
        minute in 0..60u32,
        start in 1_767_225_600i64..1_830_297_600,
    ) {
        let cadence = Cadence::parse(
            &format!("{minute} {hour} * * *"), zone, Timestamp::from_micros(start * 1_000_000),
        ).expect("a cadence");
        let zone: Tz = zone.parse().expect("a zone");
        let first = cadence.next_after(Timestamp::from_micros(start * 1_000_000));
        let ticks: Vec<_> = std::iter::successors(first, |tick| cadence.next_after(*tick)).take(400)
            .map(|tick| DateTime::<Utc>::from_timestamp_micros(tick.micros()).expect("a moment"))
            .collect();
        for pair in ticks.windows(2) {
            prop_assert!(pair[0] < pair[1]);
            let days = [0, 1].map(|n| pair[n].with_timezone(&zone).date_naive());
            prop_assert_eq!(days[0].succ_opt(), Some(days[1]), "{:?}", pair);
        }
    }
}
