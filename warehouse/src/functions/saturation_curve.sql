-- saturation_curve: how a run behaves as its load grows, one row per steady stage, ordered by load.
--
-- Open-loop stages are ordered by the rate offered, closed-loop ones by their concurrency. Rates
-- are of requests that ended inside the stage's window, a second; that of tokens counts the output
-- of the same requests. Latencies are in ms over the stage's ok rows, counted from the scheduled
-- time, and null where there is none; error_rate is the share of requests sent that did not end ok,
-- null where none was sent.
SELECT
    stage, name, workload_class, offered_rps, concurrency,
    duration_ns / 1e6 AS duration_ms,
    throughput_rps, goodput_rps, output_tokens_per_s,
    ttft_ns_p50 / 1e6 AS ttft_p50_ms, ttft_ns_p99 / 1e6 AS ttft_p99_ms,
    tpot_ns_p50 / 1e6 AS tpot_p50_ms, tpot_ns_p99 / 1e6 AS tpot_p99_ms,
    itl_ns_p50 / 1e6 AS itl_p50_ms, itl_ns_p99 / 1e6 AS itl_p99_ms,
    e2e_ns_p50 / 1e6 AS e2e_p50_ms, e2e_ns_p99 / 1e6 AS e2e_p99_ms,
    sent, missed, ok, good, errors,
    CAST(errors AS DOUBLE) / NULLIF(sent, 0) AS error_rate,
    CAST(good AS DOUBLE) / NULLIF(sent, 0) AS slo_attainment,
    in_flight_max, achieved_ratio, backlog_slope,
    schedule_lag_ns_p99 / 1e6 AS schedule_lag_p99_ms,
    valid, (SELECT max(verdict) FROM reports.runs WHERE run_key = $1) AS run_verdict, run_id
FROM reports.stages
WHERE run_key = $1 AND phase = 'steady'
ORDER BY offered_rps, concurrency, stage
