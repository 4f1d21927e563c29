-- capacity: what a model carries, one row per model, hardware, workload and SLO.
--
-- Four capacities that are never mixed: the floor (time to first token without queueing), the peak
-- goodput, the sustainable rate (what holds for long), and the recovery (how long after an overload
-- until it serves as before, and what rate holds when one replica is lost). Each is that of the last
-- run that measured it, and null where none did. The last limit-finding run decides about the peak:
-- where no rate that it tried met the SLO, peak_verdict is blocked and the peak is null, whatever
-- earlier runs found. The SLO is that of the run, its demand left out. Hardware is null where it is
-- unknown.
--
-- stale says that the figures may no longer hold: the model's last run on the hardware had another
-- revision, engine, engine version, engine arguments, driver, weights or precision than a run that a
-- figure comes from, or a figure is older than 30 days. Only performance runs whose verdict says how
-- the subject did are read: passed, degraded, blocked.
--
-- Columns:
--   model: As requests name it.
--   gpu_sku: GPU model; null where unknown.
--   gpu_count: Number of GPUs; null where unknown.
--   workload: The workload in words; null in runs of releases that did not keep it.
--   slo: The SLO that the rates hold for; null in runs of releases that did not keep it.
--   floor_ttft_ms: Median time to first token without queueing, in ms.
--   peak_goodput_rps: Good requests a second at the limit.
--   peak_goodput_rps_low: Lower bound of its interval; null where the method gives none.
--   peak_goodput_rps_high: Upper bound of its interval; null where the method gives none.
--   peak_verdict: Verdict of the run that looked for the limit; blocked where no rate met the SLO.
--   capacity_method: How the limit was found: grid, bisected or hold.
--   sustainable_rps: Requests a second that hold for long.
--   sustainable_rps_low: Lower bound of its interval.
--   sustainable_rps_high: Upper bound of its interval.
--   recovery_ms: Time after an overload until it serves as before, in ms.
--   recovery_rps: Requests a second that hold when one replica is lost.
--   measured_at: Start of the earliest run that a figure comes from.
--   stale: Whether something changed since, or a figure is older than 30 days.
--   runs: Runs of this model, hardware, workload and SLO.
--   run_id: The run that decides about the peak; null where none looked for it.
--   workload_digest: Digest of the workload.
SELECT
    model, gpu_sku, gpu_count, workload, slo,
    floor_ttft_ms,
    peak_goodput_rps, peak_goodput_rps_low, peak_goodput_rps_high, peak_verdict, capacity_method,
    sustainable_rps, sustainable_rps_low, sustainable_rps_high,
    recovery_ms, recovery_rps,
    measured_at,
    COALESCE(floor_setup <> setup, FALSE) OR COALESCE(peak_setup <> setup, FALSE)
        OR COALESCE(sustainable_setup <> setup, FALSE) OR COALESCE(recovery_setup <> setup, FALSE)
        OR measured_at < now() - INTERVAL '30 days' AS stale,
    runs, run_id, workload_digest
FROM (
    SELECT
        model, gpu_sku, gpu_count, slo, workload_digest,
        last_value(workload ORDER BY started_at, run_id) AS workload,
        last_value(newest_setup ORDER BY started_at, run_id) AS setup,
        count(*) AS runs,
        last_value(floor_ttft_ms ORDER BY started_at, run_id)
            FILTER (WHERE floor_ttft_ms IS NOT NULL) AS floor_ttft_ms,
        last_value(own_setup ORDER BY started_at, run_id)
            FILTER (WHERE floor_ttft_ms IS NOT NULL) AS floor_setup,
        last_value(peak_goodput_rps ORDER BY started_at, run_id)
            FILTER (WHERE finds_limit) AS peak_goodput_rps,
        last_value(peak_goodput_rps_low ORDER BY started_at, run_id)
            FILTER (WHERE finds_limit) AS peak_goodput_rps_low,
        last_value(peak_goodput_rps_high ORDER BY started_at, run_id)
            FILTER (WHERE finds_limit) AS peak_goodput_rps_high,
        last_value(capacity_method ORDER BY started_at, run_id)
            FILTER (WHERE finds_limit) AS capacity_method,
        last_value(verdict ORDER BY started_at, run_id)
            FILTER (WHERE finds_limit) AS peak_verdict,
        last_value(own_setup ORDER BY started_at, run_id)
            FILTER (WHERE finds_limit) AS peak_setup,
        last_value(run_id ORDER BY started_at, run_id)
            FILTER (WHERE finds_limit) AS run_id,
        last_value(sustainable_rps ORDER BY started_at, run_id)
            FILTER (WHERE sustainable_rps IS NOT NULL) AS sustainable_rps,
        last_value(sustainable_rps_low ORDER BY started_at, run_id)
            FILTER (WHERE sustainable_rps IS NOT NULL) AS sustainable_rps_low,
        last_value(sustainable_rps_high ORDER BY started_at, run_id)
            FILTER (WHERE sustainable_rps IS NOT NULL) AS sustainable_rps_high,
        last_value(own_setup ORDER BY started_at, run_id)
            FILTER (WHERE sustainable_rps IS NOT NULL) AS sustainable_setup,
        last_value(recovery_ms ORDER BY started_at, run_id)
            FILTER (WHERE recovery_ms IS NOT NULL OR recovery_rps IS NOT NULL) AS recovery_ms,
        last_value(recovery_rps ORDER BY started_at, run_id)
            FILTER (WHERE recovery_ms IS NOT NULL OR recovery_rps IS NOT NULL) AS recovery_rps,
        last_value(own_setup ORDER BY started_at, run_id)
            FILTER (WHERE recovery_ms IS NOT NULL OR recovery_rps IS NOT NULL) AS recovery_setup,
        least(
            max(started_at) FILTER (WHERE floor_ttft_ms IS NOT NULL),
            max(started_at) FILTER (WHERE finds_limit),
            max(started_at) FILTER (WHERE sustainable_rps IS NOT NULL),
            max(started_at) FILTER (WHERE recovery_ms IS NOT NULL OR recovery_rps IS NOT NULL)
        ) AS measured_at
    FROM (
        SELECT
            model, gpu_sku, gpu_count, slo, workload_digest, workload, started_at, run_id, verdict,
            floor_ttft_ms, peak_goodput_rps, peak_goodput_rps_low, peak_goodput_rps_high,
            capacity_method, sustainable_rps, sustainable_rps_low, sustainable_rps_high,
            recovery_ms, recovery_rps, own_setup,
            peak_goodput_rps IS NOT NULL
                OR verdict = 'blocked'
                AND profile IN ('step', 'ramp', 'peak', 'max_throughput') AS finds_limit,
            first_value(own_setup) OVER (
                PARTITION BY model, gpu_sku, gpu_count
                ORDER BY started_at DESC, run_id DESC
            ) AS newest_setup
        FROM (
            SELECT
                r.model AS model, e.gpu_sku AS gpu_sku, e.gpu_count AS gpu_count, r.slo AS slo,
                r.workload_digest AS workload_digest, r.workload AS workload,
                r.started_at AS started_at, r.run_id AS run_id, r.verdict AS verdict,
                r.profile AS profile,
                r.floor_ttft_ns / 1e6 AS floor_ttft_ms,
                r.peak_goodput_rps AS peak_goodput_rps,
                r.peak_goodput_rps_low AS peak_goodput_rps_low,
                r.peak_goodput_rps_high AS peak_goodput_rps_high,
                r.capacity_method AS capacity_method,
                r.sustainable_rps AS sustainable_rps,
                r.sustainable_rps_low AS sustainable_rps_low,
                r.sustainable_rps_high AS sustainable_rps_high,
                r.recovery_ns / 1e6 AS recovery_ms, r.recovery_rps AS recovery_rps,
                concat(
                    COALESCE(r.model_revision, ''), '|', COALESCE(e.engine, ''), '|',
                    COALESCE(e.engine_version, ''), '|', COALESCE(e.engine_args, ''), '|',
                    COALESCE(e.driver, ''), '|', COALESCE(e.model_digest, ''), '|',
                    COALESCE(e.precision, '')
                ) AS own_setup
            FROM reports.runs AS r
            LEFT JOIN reports.envelopes AS e ON e.run_key = r.run_key
            WHERE r.verdict IN ('passed', 'degraded', 'blocked') AND r.pillar = 'performance'
        ) AS measured
    ) AS placed
    GROUP BY model, gpu_sku, gpu_count, slo, workload_digest
) AS figures
WHERE measured_at IS NOT NULL
