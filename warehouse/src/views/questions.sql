-- questions: where to start, one row per question, with a statement that answers it.
--
-- Every statement runs as it is; run_id, model and the like may be narrowed by adding to its WHERE.
-- Those that say so read samples in the schema raw, which not every role may see.
--
-- Columns:
--   question: What somebody may want to know.
--   sql: A statement that answers it.
SELECT question, sql
FROM (VALUES
    ('What was measured lately?',
     'SELECT model, profile, verdict, started_at, run_id FROM runs ORDER BY started_at DESC LIMIT 20'),
    ('What does each model carry, in plain words?',
     'SELECT answer FROM answers ORDER BY model, gpu_sku, workload, slo'),
    ('What does each model carry, in figures?',
     'SELECT model, gpu_sku, gpu_count, workload, slo, floor_ttft_ms, peak_goodput_rps, sustainable_rps, recovery_ms, measured_at, stale FROM capacity ORDER BY model, gpu_sku'),
    ('How much load did each model carry within its SLO, day by day?',
     'SELECT * FROM peak_rps ORDER BY day DESC, model'),
    ('How many replicas of a model carry 100 requests a second? (put its name in)',
     'SELECT * FROM sizing(''NAME'', 100)'),
    ('How does the last run behave as its load grows?',
     'SELECT * FROM saturation_curve(''latest'')'),
    ('What got worse since a day, and what else changed there? (put the day in)',
     'SELECT * FROM regressions(''2026-11-01'')'),
    ('How do the last two runs differ, and is it more than noise? (put their ids in)',
     'SELECT * FROM compare_runs(''latest'', ''latest'')'),
    ('What is more than 5 % worse than it was at its best?',
     'SELECT model, profile, metric, unit, best, last, gap_pct FROM performance_summary WHERE runs > 1 AND (gap_pct > 5 OR best = 0 AND gap > 0) ORDER BY gap_pct DESC NULLS FIRST'),
    ('How did the scores of benchmarks change?',
     'SELECT benchmark, metric, model, started_at, value, stderr, change, significant, run_id FROM score_trends ORDER BY benchmark, metric, model, started_at DESC'),
    ('How many functional cases passed?',
     'SELECT model, tier, marker, started_at, passed, failed, skipped, errors, run_id FROM functional_summary ORDER BY started_at DESC, tier, marker'),
    ('What did the GPUs do in the last week?',
     'SELECT hour, host, gpu, busy, idle, "foreign", quarantined FROM gpu_hours WHERE hour >= now() - INTERVAL ''7 days'' ORDER BY hour DESC, host, gpu'),
    ('What happened to deployments, schedules and GPUs?',
     'SELECT * FROM operations ORDER BY at DESC'),
    ('Which runs did not pass, and why?',
     'SELECT model, profile, verdict, verdict_reasons, run_id FROM runs WHERE verdict <> ''passed'' ORDER BY started_at DESC'),
    ('Did the generator keep its schedule?',
     'SELECT run_id, stage, name, missed, schedule_lag_ns_p99 / 1e6 AS schedule_lag_p99_ms, valid FROM stages ORDER BY run_key DESC, stage'),
    ('What did the last run look like second by second?',
     'SELECT at_ns / 1e9 AS second, offered, completed, errors, in_flight, backlog FROM ticks WHERE run_key = (SELECT run_key FROM runs ORDER BY started_at DESC, run_id DESC LIMIT 1) ORDER BY at_ns'),
    ('On what hardware and engine was each run made?',
     'SELECT r.model, r.started_at, e.gpu_sku, e.gpu_count, e.engine, e.engine_version, r.run_id FROM runs AS r JOIN envelopes AS e ON e.run_key = r.run_key ORDER BY r.started_at DESC'),
    ('Which tables and columns are there, and what do they mean?',
     'SELECT table_schema, table_name, column_name, data_type, comment FROM information_schema.columns WHERE table_schema <> ''information_schema'' ORDER BY table_schema, table_name, ordinal_position'),
    ('How does latency differ between short and long requests in the last run?',
     'SELECT * FROM latency_matrix(''latest'')'),
    ('How did the requests of the last run end? (needs the schema raw)',
     'SELECT phase, status, http_status, failure_kind, count(*) AS requests FROM requests WHERE run_key = (SELECT run_key FROM runs ORDER BY started_at DESC, run_id DESC LIMIT 1) GROUP BY phase, status, http_status, failure_kind ORDER BY requests DESC'),
    ('Which requests of the last run were slowest to their first token? (needs the schema raw)',
     'SELECT stage, request_id, status, prompt_tokens, output_tokens, ttft_ns / 1e6 AS ttft_ms, e2e_ns / 1e6 AS e2e_ms FROM requests WHERE run_key = (SELECT run_key FROM runs ORDER BY started_at DESC, run_id DESC LIMIT 1) AND ttft_ns IS NOT NULL ORDER BY ttft_ns DESC LIMIT 20')
) AS entries (question, sql)
