//! SQL that is wrong, writes, or never ends.

use crate::program::Place;

#[test]
fn wrong_sql_names_what_is_wrong() {
    let place = Place::new();
    let answer = place.answer(&["sql", "select * form runs"]);
    assert_eq!(answer.code, Some(1), "{answer:?}");
    place
        .answer(&["sql", "select modle from runs"])
        .refuses(1, "modle", "model");
    place
        .answer(&["sql", "select * from rnus"])
        .refuses(1, "rnus", "runs");
}

#[test]
fn whatever_writes_is_refused_and_leaves_nothing() {
    let place = Place::new();
    let out = place.path().join("out.csv");
    for statement in [
        "delete from reports.runs",
        "drop table runs",
        "create table t as select 1",
        "insert into runs select * from runs",
        "set datafusion.execution.batch_size = 1",
        &format!("copy (select 1) to '{}'", out.display()),
        &format!("explain copy (select 1) to '{}'", out.display()),
        &format!(
            "create external table t stored as csv location '{}'",
            out.display()
        ),
        "select 1; drop table runs",
    ] {
        let answer = place.answer(&["sql", statement]);
        assert_eq!(answer.code, Some(1), "{statement}: {answer:?}");
        assert!(
            answer.stderr.starts_with("error: "),
            "{statement}: {answer:?}"
        );
        assert!(!out.exists(), "{statement}");
    }
    let left = place.path().read_dir().expect("it is there").count();
    assert_eq!(left, 0, "nothing was made");
}

#[test]
fn a_file_of_the_machine_is_no_table() {
    let place = Place::new();
    std::fs::write(place.path().join("secret.csv"), "a\n1\n").expect("it can be written");
    let answer = place.answer(&["sql", "select * from 'secret.csv'"]);
    assert_eq!(answer.code, Some(1), "{answer:?}");
}

#[test]
fn a_query_without_end_is_ended() {
    let place = Place::new();
    let endless = "with recursive n as (select 1 as i union all select i + 1 from n) \
                   select count(*) from n";
    place
        .answer(&["sql", endless, "--timeout", "1s"])
        .refuses(1, "1 s", "more time");
    let endless = "select count(*) from generate_series(1, 100000) a, \
                   generate_series(1, 100000) b, generate_series(1, 100000) c";
    place
        .answer(&["sql", endless, "--timeout", "1s"])
        .refuses(1, "1 s", "more time");
}

#[test]
fn a_query_that_needs_too_much_memory_is_refused() {
    let place = Place::new();
    let list = "select count(a) from \
                (select array_agg(value) as a from generate_series(1, 30000000))";
    place
        .answer(&["sql", list, "--memory", "16MiB"])
        .refuses(1, "16 MiB", "memory");
}

#[test]
fn a_sort_that_does_not_fit_into_memory_goes_to_disk() {
    let place = Place::new();
    let sort = "select max(n) as most from (select row_number() over (order by value desc) as n \
                from generate_series(1, 2000000))";
    let answer = place.done(&["sql", sort, "--memory", "16MiB", "--format", "csv"]);
    assert_eq!(answer.stdout, "most\n2000000\n");
}

#[test]
fn a_place_without_a_warehouse_is_empty_and_stays_so() {
    let place = Place::new();
    let answer = place.done(&[
        "sql",
        "select count(*) as n from raw.requests",
        "--format",
        "csv",
    ]);
    assert_eq!(answer.stdout, "n\n0\n");
    assert!(answer.stderr.contains("no warehouse"), "{answer:?}");
    let left = place.path().read_dir().expect("it is there").count();
    assert_eq!(left, 0, "reading makes nothing");
}
