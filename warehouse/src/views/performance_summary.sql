-- performance_summary: every headline figure of every question, and how far its last value is from
-- its best, one row per model, profile, question and metric.
--
-- A question is a comparable_key: same profile, configuration, SLO, workload and GPUs. runs counts
-- the performance runs that have the figure; average is their mean; best is the greatest where
-- higher is better, else the least; last is the value of the run that started last (of those that
-- started at once, the one with the greatest id). gap is how far last is from best, in the metric's
-- unit, signed so that positive is worse, and 0 where last is best; gap_pct is gap in per cent of
-- best's magnitude, null where best is 0. Latencies, shares and tokens describe the load of a run's
-- headline (of a limit-finding run that at its limit): only runs whose headline lies at the stage of
-- the question's last run are read for them, since a heavier load has other latencies. A
-- limit-finding run that is blocked counts with a peak of 0. Durations are in ms. Only runs whose
-- verdict says how the subject did are read: passed, degraded, blocked.
--
-- Columns:
--   model: As requests name it.
--   profile: The profile of its runs.
--   comparable_key: Runs with the same key asked the same question.
--   metric: Name of the figure, with its unit where it is a duration or a rate.
--   unit: Unit of the figure: req/s, tokens/s, share (0 to 1), ms or USD.
--   higher_is_better: Direction of the figure.
--   runs: Runs that have the figure.
--   average: Mean over those runs, in the unit.
--   best: Best of those runs, in the unit.
--   last: That of the run that started last, in the unit.
--   gap: How far last is from best, in the unit; positive is worse.
--   gap_pct: The gap in per cent of best's magnitude; null where best is 0.
SELECT
    model, profile, comparable_key, metric, unit, higher_is_better, runs, average, best, last,
    CASE WHEN higher_is_better THEN best - last ELSE last - best END AS gap,
    100.0 * CASE WHEN higher_is_better THEN best - last ELSE last - best END
        / NULLIF(abs(best), 0.0) AS gap_pct
FROM (
    SELECT
        model, profile, comparable_key, metric, unit, higher_is_better,
        count(*) AS runs,
        avg(value) AS average,
        CASE WHEN higher_is_better THEN max(value) ELSE min(value) END AS best,
        last_value(value ORDER BY started_at, run_id) AS last
    FROM (
        SELECT
            r.model AS model, r.profile AS profile, r.comparable_key AS comparable_key,
            m.metric AS metric, m.unit AS unit, m.higher_is_better AS higher_is_better,
            r.started_at AS started_at, r.run_id AS run_id,
            CASE m.metric
                WHEN 'peak_goodput_rps' THEN CASE
                    WHEN verdict = 'blocked'
                        AND profile IN ('step', 'ramp', 'peak', 'max_throughput')
                        THEN COALESCE(peak_goodput_rps, 0.0)
                    ELSE peak_goodput_rps
                END
                WHEN 'peak_throughput_rps' THEN peak_throughput_rps
                WHEN 'sustainable_rps' THEN sustainable_rps
                WHEN 'output_tokens_per_s' THEN output_tokens_per_s
                WHEN 'slo_attainment' THEN slo_attainment
                WHEN 'error_rate' THEN error_rate
                WHEN 'floor_ttft_ms' THEN floor_ttft_ns / 1e6
                WHEN 'ttft_p50_ms' THEN ttft_ns_p50 / 1e6
                WHEN 'ttft_p90_ms' THEN ttft_ns_p90 / 1e6
                WHEN 'ttft_p95_ms' THEN ttft_ns_p95 / 1e6
                WHEN 'ttft_p99_ms' THEN ttft_ns_p99 / 1e6
                WHEN 'tpot_p50_ms' THEN tpot_ns_p50 / 1e6
                WHEN 'tpot_p90_ms' THEN tpot_ns_p90 / 1e6
                WHEN 'tpot_p95_ms' THEN tpot_ns_p95 / 1e6
                WHEN 'tpot_p99_ms' THEN tpot_ns_p99 / 1e6
                WHEN 'itl_p50_ms' THEN itl_ns_p50 / 1e6
                WHEN 'itl_p90_ms' THEN itl_ns_p90 / 1e6
                WHEN 'itl_p95_ms' THEN itl_ns_p95 / 1e6
                WHEN 'itl_p99_ms' THEN itl_ns_p99 / 1e6
                WHEN 'e2e_p50_ms' THEN e2e_ns_p50 / 1e6
                WHEN 'e2e_p90_ms' THEN e2e_ns_p90 / 1e6
                WHEN 'e2e_p95_ms' THEN e2e_ns_p95 / 1e6
                WHEN 'e2e_p99_ms' THEN e2e_ns_p99 / 1e6
                WHEN 'recovery_ms' THEN recovery_ns / 1e6
                WHEN 'recovery_rps' THEN recovery_rps
                WHEN 'cost_usd' THEN cost_usd
            END AS value
        FROM (
            SELECT
                r.*, h.name AS headline,
                first_value(h.name) OVER (
                    PARTITION BY r.model, r.profile, r.comparable_key
                    ORDER BY r.started_at DESC, r.run_id DESC
                ) AS newest_headline
            FROM reports.runs AS r
            LEFT JOIN reports.stages AS h
                ON h.run_key = r.run_key AND h.stage = r.headline_stage
            WHERE r.verdict IN ('passed', 'degraded', 'blocked') AND r.pillar = 'performance'
        ) AS r
        CROSS JOIN (VALUES
            ('peak_goodput_rps', 'req/s', TRUE, FALSE),
            ('peak_throughput_rps', 'req/s', TRUE, FALSE),
            ('sustainable_rps', 'req/s', TRUE, FALSE),
            ('output_tokens_per_s', 'tokens/s', TRUE, TRUE),
            ('slo_attainment', 'share', TRUE, TRUE),
            ('error_rate', 'share', FALSE, TRUE),
            ('floor_ttft_ms', 'ms', FALSE, FALSE),
            ('ttft_p50_ms', 'ms', FALSE, TRUE),
            ('ttft_p90_ms', 'ms', FALSE, TRUE),
            ('ttft_p95_ms', 'ms', FALSE, TRUE),
            ('ttft_p99_ms', 'ms', FALSE, TRUE),
            ('tpot_p50_ms', 'ms', FALSE, TRUE),
            ('tpot_p90_ms', 'ms', FALSE, TRUE),
            ('tpot_p95_ms', 'ms', FALSE, TRUE),
            ('tpot_p99_ms', 'ms', FALSE, TRUE),
            ('itl_p50_ms', 'ms', FALSE, TRUE),
            ('itl_p90_ms', 'ms', FALSE, TRUE),
            ('itl_p95_ms', 'ms', FALSE, TRUE),
            ('itl_p99_ms', 'ms', FALSE, TRUE),
            ('e2e_p50_ms', 'ms', FALSE, TRUE),
            ('e2e_p90_ms', 'ms', FALSE, TRUE),
            ('e2e_p95_ms', 'ms', FALSE, TRUE),
            ('e2e_p99_ms', 'ms', FALSE, TRUE),
            ('recovery_ms', 'ms', FALSE, FALSE),
            ('recovery_rps', 'req/s', TRUE, FALSE),
            ('cost_usd', 'USD', FALSE, FALSE)
        ) AS m (metric, unit, higher_is_better, of_headline)
        WHERE NOT m.of_headline OR r.headline IS NOT DISTINCT FROM r.newest_headline
    ) AS figures
    WHERE value IS NOT NULL
    GROUP BY model, profile, comparable_key, metric, unit, higher_is_better
) AS summary
