-- capacity: what a model carries, one row per model, hardware, workload and SLO.
--
-- Four capacities that are never mixed: the floor (time to first token without queueing), the peak
-- goodput, the sustainable rate (what holds for long), and the recovery (how long after an overload
-- until it serves as before, and what rate holds when one replica is lost). Each is that of the last
-- run that measured it, and null where none did. Hardware is null where it is unknown; two endpoints
-- on unknown hardware may be two machines, so there is a row for each. The SLO is that of the run,
-- its demand left out.
--
-- The last limit-finding run decides about the peak: where no load that it tried met the SLO,
-- peak_verdict is blocked and the peak is null, whatever earlier runs found. A run in which no load
-- was too much says only that the limit lies at its heaviest load or above (limit_found is false).
-- So it does not take the place of a higher peak that was found on the same setup before it; of
-- several such runs in a row the highest peak counts.
--
-- stale says that the figures may no longer hold: the model's last run on the hardware had another
-- revision, engine, engine version, engine arguments, driver, weights or precision than a run that a
-- figure comes from, or a figure is older than 30 days. These seven are the setup. Only performance
-- runs whose verdict says how the subject did are read: passed, degraded, blocked.
--
-- Columns:
--   model: As requests name it.
--   gpu_sku: GPU model; null where unknown.
--   gpu_count: Number of GPUs; null where unknown.
--   endpoint: Where it was served; null where the hardware is known.
--   workload: The workload in words; null in runs of releases that did not keep it.
--   slo: The SLO that the rates hold for; null in runs of releases that did not keep it.
--   floor_ttft_ms: Median time to first token without queueing, in ms.
--   peak_goodput_rps: Good requests a second at the limit.
--   peak_goodput_rps_low: Lower bound of its interval; null where the method gives none.
--   peak_goodput_rps_high: Upper bound of its interval; null where the method gives none.
--   limit_found: Whether some load was too much; where false, the limit lies at the peak or above;
--     null where no limit was looked for, and in runs of releases that did not keep it.
--   peak_verdict: Verdict of the run that looked for the limit; blocked where no load met the SLO.
--   capacity_method: How the limit was found: grid, bisected or hold.
--   peak_measured_at: Start of the run that decides about the peak; null where none looked for it.
--   sustainable_rps: Requests a second that hold for long.
--   sustainable_rps_low: Lower bound of its interval.
--   sustainable_rps_high: Upper bound of its interval.
--   sustainable_measured_at: Start of the run that the sustainable rate comes from.
--   recovery_ms: Time after an overload until it serves as before, in ms.
--   recovery_rps: Requests a second that hold when one replica is lost.
--   measured_at: Start of the earliest run that a figure comes from.
--   stale: Whether something changed since, or a figure is older than 30 days.
--   runs: Runs of this model, hardware, workload and SLO.
--   run_id: The run that decides about the peak; null where none looked for it.
--   sustainable_run_id: The run that the sustainable rate comes from.
--   workload_digest: Digest of the workload.
SELECT
    model, gpu_sku, gpu_count, endpoint, workload, slo,
    floor_ttft_ms,
    peak_goodput_rps, peak_goodput_rps_low, peak_goodput_rps_high, limit_found, peak_verdict,
    capacity_method, peak_measured_at,
    sustainable_rps, sustainable_rps_low, sustainable_rps_high, sustainable_measured_at,
    recovery_ms, recovery_rps,
    measured_at,
    COALESCE(floor_setup <> setup, FALSE) OR COALESCE(peak_setup <> setup, FALSE)
        OR COALESCE(sustainable_setup <> setup, FALSE) OR COALESCE(recovery_setup <> setup, FALSE)
        OR measured_at < now() - INTERVAL '30 days' AS stale,
    runs, run_id, sustainable_run_id, workload_digest
FROM (
    SELECT
        model, gpu_sku, gpu_count, endpoint, slo, workload_digest,
        last_value(workload ORDER BY started_at, run_id) AS workload,
        last_value(newest_setup ORDER BY started_at, run_id) AS setup,
        count(*) AS runs,
        last_value(floor_ttft_ms ORDER BY started_at, run_id)
            FILTER (WHERE floor_ttft_ms IS NOT NULL) AS floor_ttft_ms,
        last_value(own_setup ORDER BY started_at, run_id)
            FILTER (WHERE floor_ttft_ms IS NOT NULL) AS floor_setup,
        max(peak_goodput_rps) FILTER (WHERE decides) AS peak_goodput_rps,
        max(peak_goodput_rps_low) FILTER (WHERE decides) AS peak_goodput_rps_low,
        max(peak_goodput_rps_high) FILTER (WHERE decides) AS peak_goodput_rps_high,
        bool_and(limit_found) FILTER (WHERE decides) AS limit_found,
        max(verdict) FILTER (WHERE decides) AS peak_verdict,
        max(capacity_method) FILTER (WHERE decides) AS capacity_method,
        max(own_setup) FILTER (WHERE decides) AS peak_setup,
        max(started_at) FILTER (WHERE decides) AS peak_measured_at,
        max(run_id) FILTER (WHERE decides) AS run_id,
        last_value(sustainable_rps ORDER BY started_at, run_id)
            FILTER (WHERE sustainable_rps IS NOT NULL) AS sustainable_rps,
        last_value(sustainable_rps_low ORDER BY started_at, run_id)
            FILTER (WHERE sustainable_rps IS NOT NULL) AS sustainable_rps_low,
        last_value(sustainable_rps_high ORDER BY started_at, run_id)
            FILTER (WHERE sustainable_rps IS NOT NULL) AS sustainable_rps_high,
        last_value(own_setup ORDER BY started_at, run_id)
            FILTER (WHERE sustainable_rps IS NOT NULL) AS sustainable_setup,
        max(started_at) FILTER (WHERE sustainable_rps IS NOT NULL) AS sustainable_measured_at,
        last_value(run_id ORDER BY started_at, run_id)
            FILTER (WHERE sustainable_rps IS NOT NULL) AS sustainable_run_id,
        last_value(recovery_ms ORDER BY started_at, run_id)
            FILTER (WHERE recovery_ms IS NOT NULL OR recovery_rps IS NOT NULL) AS recovery_ms,
        last_value(recovery_rps ORDER BY started_at, run_id)
            FILTER (WHERE recovery_ms IS NOT NULL OR recovery_rps IS NOT NULL) AS recovery_rps,
        last_value(own_setup ORDER BY started_at, run_id)
            FILTER (WHERE recovery_ms IS NOT NULL OR recovery_rps IS NOT NULL) AS recovery_setup,
        least(
            max(started_at) FILTER (WHERE floor_ttft_ms IS NOT NULL),
            max(started_at) FILTER (WHERE decides),
            max(started_at) FILTER (WHERE sustainable_rps IS NOT NULL),
            max(started_at) FILTER (WHERE recovery_ms IS NOT NULL OR recovery_rps IS NOT NULL)
        ) AS measured_at
    FROM (
        SELECT
            *,
            -- Of those that reach higher than what was settled the highest, else what was settled.
            candidate AND row_number() OVER (
                PARTITION BY model, gpu_sku, gpu_count, endpoint, slo, workload_digest
                ORDER BY
                    CASE
                        WHEN NOT candidate THEN 3
                        WHEN settles THEN 2
                        WHEN settled_at IS NULL THEN 1
                        WHEN started_at < settled_at THEN 3
                        WHEN started_at = settled_at AND run_id < settled_id THEN 3
                        WHEN peak_goodput_rps <= settled_rps THEN 3
                        ELSE 1
                    END,
                    CASE WHEN settles THEN NULL ELSE peak_goodput_rps END DESC NULLS LAST,
                    started_at DESC, run_id DESC
            ) = 1 AS decides
        FROM (
            SELECT
                *,
                first_value(CASE WHEN candidate AND settles THEN started_at END) OVER settled_first AS settled_at,
                first_value(CASE WHEN candidate AND settles THEN run_id END) OVER settled_first AS settled_id,
                first_value(CASE WHEN candidate AND settles THEN peak_goodput_rps END) OVER settled_first AS settled_rps
            FROM (
                SELECT
                    *,
                    finds_limit AND own_setup = first_value(own_setup) OVER (
                        PARTITION BY model, gpu_sku, gpu_count, endpoint, slo, workload_digest
                        ORDER BY
                            CASE WHEN finds_limit THEN 0 ELSE 1 END, started_at DESC, run_id DESC
                    ) AS candidate,
                    first_value(own_setup) OVER (
                        PARTITION BY model, gpu_sku, gpu_count, endpoint
                        ORDER BY started_at DESC, run_id DESC
                    ) AS newest_setup
                FROM (
                    SELECT
                        r.model AS model, e.gpu_sku AS gpu_sku, e.gpu_count AS gpu_count,
                        CASE WHEN e.gpu_sku IS NULL THEN r.endpoint END AS endpoint,
                        r.slo AS slo, r.workload_digest AS workload_digest,
                        r.workload AS workload,
                        r.started_at AS started_at, r.run_id AS run_id, r.verdict AS verdict,
                        r.floor_ttft_ns / 1e6 AS floor_ttft_ms,
                        r.peak_goodput_rps AS peak_goodput_rps,
                        r.peak_goodput_rps_low AS peak_goodput_rps_low,
                        r.peak_goodput_rps_high AS peak_goodput_rps_high,
                        r.limit_found AS limit_found,
                        r.capacity_method AS capacity_method,
                        r.sustainable_rps AS sustainable_rps,
                        r.sustainable_rps_low AS sustainable_rps_low,
                        r.sustainable_rps_high AS sustainable_rps_high,
                        r.recovery_ns / 1e6 AS recovery_ms, r.recovery_rps AS recovery_rps,
                        r.peak_goodput_rps IS NOT NULL
                            OR r.verdict = 'blocked' AND COALESCE(
                                r.profile IN ('step', 'ramp', 'peak', 'max_throughput'), FALSE
                            ) AS finds_limit,
                        COALESCE(r.limit_found, TRUE) OR r.peak_goodput_rps IS NULL AS settles,
                        concat(
                            COALESCE(r.model_revision, ''), '|', COALESCE(e.engine, ''), '|',
                            COALESCE(e.engine_version, ''), '|', COALESCE(e.engine_args, ''), '|',
                            COALESCE(e.driver, ''), '|', COALESCE(e.model_digest, ''), '|',
                            COALESCE(e.precision, '')
                        ) AS own_setup
                    FROM reports.runs AS r
                    LEFT JOIN reports.envelopes AS e ON e.run_key = r.run_key
                    WHERE r.verdict IN ('passed', 'degraded', 'blocked')
                        AND r.pillar = 'performance'
                ) AS measured
            ) AS placed
            WINDOW settled_first AS (
                PARTITION BY model, gpu_sku, gpu_count, endpoint, slo, workload_digest
                ORDER BY
                    CASE WHEN candidate AND settles THEN 0 ELSE 1 END,
                    started_at DESC, run_id DESC
            )
        ) AS known
    ) AS ranked
    GROUP BY model, gpu_sku, gpu_count, endpoint, slo, workload_digest
) AS figures
WHERE measured_at IS NOT NULL
