//! Whole reports, as people see them.

use super::samples::{self, Rows};
use super::{Report, TerminalStyle};

const PLAIN: TerminalStyle = TerminalStyle {
    width: 80,
    colour: false,
};

fn report((run, stages, envelope): Rows) -> Report {
    Report::from_rows(&run, &stages, Some(&envelope)).expect("report")
}

#[track_caller]
fn check(rows: Rows, expected: &str) {
    let text = report(rows).terminal(&PLAIN);
    assert_eq!(text, expected.trim_start_matches('\n'), "\n{text}");
    for line in text.lines() {
        assert!(
            line.chars().count() <= PLAIN.width,
            "longer than the terminal: {line}"
        );
        assert_eq!(line, line.trim_end(), "ends in spaces");
    }
}

#[test]
fn a_passed_step_run() {
    check(
        samples::passed_step(),
        r#"
  PASSED  llama-70b-c50 holds its SLO at 16 req/s and breaks it at 32 req/s
          (needed: 10)
          step at http://gpu7:8000/v1, vllm 0.33, 2 x H100
          SLO ttft_p99=500ms,error_rate=1%,demand=10

                           TTFT             TPOT               in
  offered  good  thrpt      p50     p99      p50      p99  flight  errors    SLO
     4 /s  4.00   4.00  98.0 ms  140 ms  21.0 ms  26.0 ms       9     0 %  100 %
     8 /s  8.00   8.00   112 ms  240 ms  22.0 ms  31.0 ms      19     0 %  100 %
    16 /s  15.8   15.9   190 ms  470 ms  25.0 ms  40.0 ms      44     0 %  100 %
    32 /s  6.10   24.8   1.90 s  6.20 s  33.0 ms  71.0 ms     171  0.42 %   24 %
          <- TTFT p99 6.20 s, limit 500 ms

  good req/s   o holds the SLO   x does not
  20 |
     |            o 16
     |
  10 |
     |      o 8                                               32 x
     |     o 4
   0 |
     +------------------------------------------------------------
      1.2 s                   p50 end to end                   4 s

  generator: schedule lag p99 210 us, none missed, kernel timestamps: valid
  lengths: prompt 240 of 250 asked, output 64.0 of 64.0 asked tokens (mean)
  run ..9c2f41d7  ->  plimsoll report 9c2f41d7
                  ->  plimsoll sql "select * from saturation_curve('9c2f41d7')"
  does it hold this for longer?  plimsoll run .. --profile stability --rate 16
"#,
    );
}

#[test]
fn a_blocked_step_run() {
    check(
        samples::blocked_step(),
        r#"
  BLOCKED  llama-70b-c50 breaks its SLO at 4 req/s, the lightest load tried
           step at http://gpu7:8000/v1, vllm 0.33, 2 x H100
           SLO ttft_p99=500ms,error_rate=1%,demand=10

                           TTFT             TPOT               in
  offered   good  thrpt     p50     p99      p50      p99  flight  errors   SLO
     4 /s  0.900   3.90  1.90 s  6.20 s  33.0 ms  71.0 ms     171  0.42 %  24 %
          <- TTFT p99 6.20 s, limit 500 ms

  good req/s   o holds the SLO   x does not
    1 |
      |                                                        4 x
      |
  0.5 |
      |
      |
    0 |
      +------------------------------------------------------------
       3 s                    p50 end to end                    4 s

  generator: schedule lag p99 210 us, none missed, kernel timestamps: valid
  lengths: prompt 240 of 250 asked, output 64.0 of 64.0 asked tokens (mean)
  run ..9c2f41d7  ->  plimsoll report 9c2f41d7
                  ->  plimsoll sql "select * from saturation_curve('9c2f41d7')"
"#,
    );
}

#[test]
fn an_invalid_run() {
    check(
        samples::invalid(),
        r#"
  INVALID  no valid measurement of llama-70b-c50: schedule lag p99 14.2 ms, at
           most 10 ms
           step at http://gpu7:8000/v1, vllm 0.33, 2 x H100
           SLO ttft_p99=500ms,error_rate=1%,demand=10

                           TTFT             TPOT               in
  offered  good  thrpt      p50     p99      p50      p99  flight  errors    SLO
     4 /s  4.00   4.00  98.0 ms  140 ms  21.0 ms  26.0 ms       9     0 %  100 %
     8 /s  8.00   8.00   112 ms  240 ms  22.0 ms  31.0 ms      19     0 %  100 %

  good req/s
  8 |                                                         8 o
    |
    |
  4 |                                           o 4
    |
    |
  0 |
    +------------------------------------------------------------
     1.2 s                  p50 end to end                  1.5 s

  generator: schedule lag p99 14.2 ms (10 ms allowed), none missed, not on time
             at 8 req/s, kernel timestamps: invalid
  lengths: prompt 240 of 250 asked, output 64.0 of 64.0 asked tokens (mean)
  run ..9c2f41d7  ->  plimsoll report 9c2f41d7
                  ->  plimsoll sql "select * from saturation_curve('9c2f41d7')"
"#,
    );
}

#[test]
fn a_smoke_run() {
    check(
        samples::smoke(),
        r#"
  PASSED  sim-8 holds its SLO, with a floor TTFT of 50.0 ms
          smoke at http://gpu7:8000/v1, vllm 0.33, 2 x H100
          SLO error_rate=1%

      in                         TTFT              TPOT
  flight  good  thrpt  tok/s      p50      p99      p50      p99  errors    SLO
       1  1.43   1.43   91.5  50.0 ms  52.0 ms  10.0 ms  10.4 ms     0 %  100 %
       4  5.71   5.71    365  51.0 ms  53.0 ms  10.0 ms  10.4 ms     0 %  100 %

  generator: none missed, kernel timestamps: valid
  lengths: prompt 240 of 250 asked, output 64.0 of 64.0 asked tokens (mean)
  run ..9c2f41d7  ->  plimsoll report 9c2f41d7
                  ->  plimsoll sql "select * from saturation_curve('9c2f41d7')"
  where does it bend?  plimsoll run .. --profile step
"#,
    );
}

#[test]
fn a_closed_loop_run() {
    check(
        samples::max_throughput(),
        r#"
  PASSED  sim-8 reaches 11.4 req/s (730 tok/s) at 8 in flight, and holds its SLO
          up to 16 in flight, the heaviest load tried
          max_throughput at http://gpu7:8000/v1, vllm 0.33, 2 x H100
          SLO error_rate=1%

      in                         TTFT              TPOT
  flight  good  thrpt  tok/s      p50      p99      p50      p99  errors    SLO
       1  1.43   1.43   91.5  50.0 ms  52.0 ms  10.0 ms  10.4 ms     0 %  100 %
       2  2.86   2.86    183  50.0 ms  52.0 ms  10.0 ms  10.4 ms     0 %  100 %
       4  5.71   5.71    365  51.0 ms  53.0 ms  10.0 ms  10.4 ms     0 %  100 %
       8  11.4   11.4    730  52.0 ms  54.0 ms  10.0 ms  10.4 ms     0 %  100 %
      16  11.4   11.4    730   750 ms   752 ms  10.0 ms  10.4 ms     0 %  100 %

  req/s
  12 |     o 8                                           o 16
     |
     |
   6 |     o 4
     |
     |   2 o 1
   0 |
     +------------------------------------------------------------
      600 ms                 p50 end to end                  1.5 s

  generator: none missed, kernel timestamps: valid
  lengths: prompt 240 of 250 asked, output 64.0 of 64.0 asked tokens (mean)
  run ..9c2f41d7  ->  plimsoll report 9c2f41d7
                  ->  plimsoll sql "select * from saturation_curve('9c2f41d7')"
  which request rate does it hold?  plimsoll run .. --profile step
"#,
    );
}

#[test]
fn an_incomplete_run_without_stages() {
    check(
        samples::incomplete(),
        r#"
  INCOMPLETE  the measurement of llama-70b-c50 did not finish: the process ended
              before the run did
              step at http://gpu7:8000/v1, vllm 0.33, 2 x H100
              SLO ttft_p99=500ms,error_rate=1%,demand=10

  no stage was measured to its end

  generator: sent nothing that counts
  run ..9c2f41d7  ->  plimsoll report 9c2f41d7
                  ->  plimsoll runs
"#,
    );
}

#[test]
fn a_cancelled_run() {
    check(
        samples::cancelled(),
        r#"
  CANCELLED  the measurement of llama-70b-c50 was cancelled after 41.2 s:
             stopped by Ctrl-C
             step at http://gpu7:8000/v1, vllm 0.33, 2 x H100
             SLO ttft_p99=500ms,error_rate=1%,demand=10

                          TTFT             TPOT               in
  offered  good  thrpt     p50     p99      p50      p99  flight  errors    SLO
     8 /s  8.00   8.00  112 ms  240 ms  22.0 ms  31.0 ms      19     0 %  100 %

  good req/s
  8 |                                                         8 o
    |
    |
  4 |
    |
    |
  0 |
    +------------------------------------------------------------
     1.2 s                  p50 end to end                  1.5 s

  generator: schedule lag p99 210 us, none missed, kernel timestamps: valid
  lengths: prompt 240 of 250 asked, output 64.0 of 64.0 asked tokens (mean)
  not judged: warm-up of 30 s at 4 req/s
  run ..9c2f41d7  ->  plimsoll report 9c2f41d7
                  ->  plimsoll sql "select * from saturation_curve('9c2f41d7')"
"#,
    );
}

#[test]
fn a_report_in_markdown() {
    let text = report(samples::passed_step()).markdown();
    assert_eq!(
        text,
        r##"# PASSED: llama-70b-c50 holds its SLO at 16 req/s and breaks it at 32 req/s (needed: 10)

- goodput at the limit 15.8 req/s, at least 10 req/s: met
- at 32 req/s: TTFT p99 6.2 s, at most 500 ms: not met

| offered | good req/s | ok req/s | TTFT p50 | TTFT p99 | TPOT p50 | TPOT p99 | in flight | errors | within SLO |  |
|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|:--|
| 4 /s | 4.00 | 4.00 | 98.0 ms | 140 ms | 21.0 ms | 26.0 ms | 9 | 0 % | 100 % |  |
| 8 /s | 8.00 | 8.00 | 112 ms | 240 ms | 22.0 ms | 31.0 ms | 19 | 0 % | 100 % |  |
| 16 /s | 15.8 | 15.9 | 190 ms | 470 ms | 25.0 ms | 40.0 ms | 44 | 0 % | 100 % |  |
| 32 /s | 6.10 | 24.8 | 1.90 s | 6.20 s | 33.0 ms | 71.0 ms | 171 | 0.42 % | 24 % | TTFT p99 6.20 s, limit 500 ms |

```text
good req/s   o holds the SLO   x does not
20 |
   |            o 16
   |
10 |
   |      o 8                                               32 x
   |     o 4
 0 |
   +------------------------------------------------------------
    1.2 s                   p50 end to end                   4 s
```

- **Generator**: schedule lag p99 210 us, none missed, kernel timestamps: valid
- **Lengths**: prompt 240 of 250 asked, output 64.0 of 64.0 asked tokens (mean)
- **Subject**: llama-70b-c50, http://gpu7:8000/v1
- **Suite**: performance step, workload mix-v1, seed 42
- **SLO**: ttft_p99=500ms,error_rate=1%,demand=10
- **Environment**: vllm 0.33, 2 x H100, driver 580.65, bf16, load from bench-1, plimsoll 0.1.0
- **Run**: 0195a000-7b11-7abc-8def-01239c2f41d7, 2026-02-25T06:13:20Z to 2026-02-25T06:16:20Z

```sh
# this report again
plimsoll report 9c2f41d7
# ask it in SQL
plimsoll sql "select * from saturation_curve('9c2f41d7')"
# does it hold this for longer?
plimsoll run --url http://gpu7:8000/v1 --model llama-70b-c50 --profile stability --rate 16 --slo ttft_p99=500ms,error_rate=1%,demand=10
```
"##,
        "\n{text}"
    );
}

#[test]
fn markdown_without_stages() {
    let text = report(samples::incomplete()).markdown();
    assert!(text.starts_with("# INCOMPLETE: the measurement of llama-70b-c50 did not finish"));
    assert!(text.contains("- the process ended before the run did\n"));
    assert!(text.contains("No stage was measured to its end."));
    assert!(!text.contains("```text"), "no points, no curve");
}

#[test]
fn names_break_no_table_in_markdown() {
    let (mut run, mut stages, envelope) = samples::passed_step();
    run.model = "a|b <script>".to_string();
    stages[0].name = "x|y".to_string();
    (stages[0].offered_rps, stages[0].concurrency) = (None, None);
    let text = report((run, stages, envelope)).markdown();
    assert!(text.contains(r"a\|b &lt;script&gt;"), "{text}");
    let table: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).collect();
    assert_eq!(table.len(), 6);
    for line in table {
        let borders = line.replace(r"\|", "").matches('|').count();
        assert_eq!(borders, 12, "{line}");
    }
}

#[test]
fn colour_is_around_the_verdict_alone() {
    let colours = [
        (samples::passed_step(), "\u{1b}[1;32mPASSED\u{1b}[0m"),
        (samples::blocked_step(), "\u{1b}[1;31mBLOCKED\u{1b}[0m"),
        (samples::invalid(), "\u{1b}[1;35mINVALID\u{1b}[0m"),
        (samples::cancelled(), "\u{1b}[1mCANCELLED\u{1b}[0m"),
    ];
    for (rows, painted) in colours {
        let report = report(rows);
        let text = report.terminal(&TerminalStyle {
            colour: true,
            ..PLAIN
        });
        assert!(text.contains(painted), "{text}");
        let word = report.verdict.as_str().to_uppercase();
        assert_eq!(text.replace(painted, &word), report.terminal(&PLAIN));
    }
}

#[test]
fn any_width_gives_a_whole_report() {
    for width in [0, 20, 40, 60, 80, 100, 120, 300] {
        let text = report(samples::passed_step()).terminal(&TerminalStyle {
            width,
            colour: false,
        });
        for part in [
            "PASSED",
            "16 /s",
            "6.20 s",
            "generator:",
            "plimsoll report 9c2f41d7",
        ] {
            assert!(
                text.contains(part),
                "`{part}` is missing at {width}:\n{text}"
            );
        }
    }
    let wide = report(samples::passed_step()).terminal(&TerminalStyle {
        width: 160,
        colour: false,
    });
    assert!(
        wide.contains("24 %  <- TTFT p99 6.20 s, limit 500 ms"),
        "{wide}"
    );
}

#[test]
fn json_keeps_numbers_as_numbers() {
    let json = serde_json::to_value(report(samples::passed_step())).expect("json");
    assert_eq!(json["verdict"], "passed");
    assert_eq!(json["run_id"], "0195a000-7b11-7abc-8def-01239c2f41d7");
    assert_eq!(json["limit"]["holds_at"], "16 req/s");
    assert_eq!(json["stages"][3]["ttft_ns_p99"], 6_200_000_000_i64);
    assert_eq!(json["stages"][3]["holds"], false);
    assert_eq!(json["generator"]["valid"], true);
    assert_eq!(json["started_at"], "2026-02-25T06:13:20Z");
}

#[test]
fn rows_that_break_the_contract_are_refused_by_column() {
    let refusal = |change: fn(&mut Rows)| {
        let mut rows = samples::passed_step();
        change(&mut rows);
        let (run, stages, envelope) = rows;
        let error = Report::from_rows(&run, &stages, Some(&envelope)).expect_err("refused");
        error.to_string()
    };
    assert!(refusal(|(run, _, _)| run.verdict = "splendid".to_string()).contains("verdict"));
    assert!(refusal(|(run, _, _)| run.config = "7".to_string()).contains("`config`"));
    assert!(refusal(|(run, _, _)| run.verdict_reasons.clear()).contains("`verdict_reasons`"));
    assert!(refusal(|(_, _, envelope)| envelope.json.clear()).contains("`envelopes.json`"));
    assert!(refusal(|(run, _, _)| run.config = samples::config("ttft<1s", true)).contains("SLO"));
}
