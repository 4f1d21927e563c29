-- latency_matrix: how latency differs between short and long requests, one row per steady stage, arm
-- and class of the workload.
--
-- A class is what the workload draws a request from, such as short prompts with long answers; an arm
-- tells the subject's requests from those of a neighbour, and two variants from each other. Counts
-- are of requests sent; token counts are means over ok requests, as asked and as achieved. Latencies
-- are exact percentiles in ms over ok requests, counted from the scheduled time, interpolated between
-- ranks, and null where there is none. Reads the requests of the run, which are kept for 180 days
-- unless the retention says otherwise.
SELECT
    q.stage AS stage, s.name AS name, s.offered_rps AS offered_rps, s.concurrency AS concurrency,
    q.arm AS arm, q.workload_class AS workload_class,
    q.sent AS sent, q.ok AS ok, q.good AS good, q.sent - q.ok AS errors,
    q.prompt_tokens AS prompt_tokens, q.output_tokens AS output_tokens,
    q.output_tokens_asked AS output_tokens_asked,
    q.ttft_p50 / 1e6 AS ttft_p50_ms, q.ttft_p99 / 1e6 AS ttft_p99_ms,
    q.tpot_p50 / 1e6 AS tpot_p50_ms, q.tpot_p99 / 1e6 AS tpot_p99_ms,
    q.e2e_p50 / 1e6 AS e2e_p50_ms, q.e2e_p99 / 1e6 AS e2e_p99_ms,
    (SELECT max(verdict) FROM reports.runs WHERE run_key = $1) AS run_verdict,
    s.run_id AS run_id
FROM (
    SELECT
        stage, arm, workload_class,
        count(*) AS sent,
        count(CASE WHEN status = 'ok' THEN 1 END) AS ok,
        count(CASE WHEN good THEN 1 END) AS good,
        avg(CASE WHEN status = 'ok' THEN prompt_tokens END) AS prompt_tokens,
        avg(CASE WHEN status = 'ok' THEN output_tokens END) AS output_tokens,
        avg(CASE WHEN status = 'ok' THEN output_tokens_asked END) AS output_tokens_asked,
        percentile_cont(0.5) WITHIN GROUP (
            ORDER BY CASE WHEN status = 'ok' THEN ttft_ns END) AS ttft_p50,
        percentile_cont(0.99) WITHIN GROUP (
            ORDER BY CASE WHEN status = 'ok' THEN ttft_ns END) AS ttft_p99,
        percentile_cont(0.5) WITHIN GROUP (
            ORDER BY CASE WHEN status = 'ok' THEN tpot_ns END) AS tpot_p50,
        percentile_cont(0.99) WITHIN GROUP (
            ORDER BY CASE WHEN status = 'ok' THEN tpot_ns END) AS tpot_p99,
        percentile_cont(0.5) WITHIN GROUP (
            ORDER BY CASE WHEN status = 'ok' THEN e2e_ns END) AS e2e_p50,
        percentile_cont(0.99) WITHIN GROUP (
            ORDER BY CASE WHEN status = 'ok' THEN e2e_ns END) AS e2e_p99
    FROM raw.requests
    WHERE run_key = $1 AND phase = 'steady'
    GROUP BY stage, arm, workload_class
) AS q
JOIN reports.stages AS s ON s.stage = q.stage
WHERE s.run_key = $1
ORDER BY q.stage, q.arm, q.workload_class
