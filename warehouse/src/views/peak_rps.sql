-- peak_rps: the peak goodput that a limit-finding run found, one row per model, question and day.
--
-- A question is a comparable_key: same profile, configuration, SLO, workload and GPUs. Where a day
-- has several runs of one question, the best is shown, and among equals the last; run_id names it,
-- and revision, engine and hardware are that run's: a new revision or engine does not split the
-- series. The day is the UTC day of the run's start. The peak is the goodput (good requests a
-- second) of the last stage that meets the SLO before the first that fails it; where no stage fails,
-- limit_found is false, and the peak is that of the heaviest load tried: the limit lies there or
-- above. Low and high are the bounds of its interval, null where the method gives none. The
-- sustainable rate is what holds for long; null where it was not measured. Engine and hardware are null where they are unknown. Only
-- runs whose verdict says how the subject did are read: passed, degraded, blocked.
--
-- Columns:
--   model: As requests name it.
--   revision: Revision of the model in that run; null where unknown.
--   engine: Serving engine in that run; null where it does not say.
--   gpu_sku: GPU model; null where unknown.
--   gpu_count: Number of GPUs; null where unknown.
--   comparable_key: Runs with the same key asked the same question.
--   day: UTC day of the run's start.
--   peak_goodput_rps: Good requests a second at the limit.
--   peak_goodput_rps_low: Lower bound of its interval; null where the method gives none.
--   peak_goodput_rps_high: Upper bound of its interval; null where the method gives none.
--   limit_found: Whether a load above the peak was tried and was too much; null in runs of releases
--     that did not keep it.
--   sustainable_rps: Requests a second that hold for long; null where not measured.
--   sustainable_rps_low: Lower bound of its interval; null where not measured.
--   sustainable_rps_high: Upper bound of its interval; null where not measured.
--   run_id: The run that is shown.
SELECT
    model, revision, engine, gpu_sku, gpu_count, comparable_key, day,
    peak_goodput_rps, peak_goodput_rps_low, peak_goodput_rps_high, limit_found,
    sustainable_rps, sustainable_rps_low, sustainable_rps_high,
    run_id
FROM (
    SELECT
        r.model AS model, r.model_revision AS revision,
        e.engine AS engine, e.gpu_sku AS gpu_sku, e.gpu_count AS gpu_count,
        r.comparable_key AS comparable_key, CAST(r.started_at AS DATE) AS day,
        r.peak_goodput_rps AS peak_goodput_rps,
        r.peak_goodput_rps_low AS peak_goodput_rps_low,
        r.peak_goodput_rps_high AS peak_goodput_rps_high,
        r.limit_found AS limit_found,
        r.sustainable_rps AS sustainable_rps,
        r.sustainable_rps_low AS sustainable_rps_low,
        r.sustainable_rps_high AS sustainable_rps_high,
        r.run_id AS run_id,
        row_number() OVER (
            PARTITION BY r.model, r.comparable_key, CAST(r.started_at AS DATE)
            ORDER BY r.peak_goodput_rps DESC, r.started_at DESC, r.run_id DESC
        ) AS place
    FROM reports.runs AS r
    LEFT JOIN reports.envelopes AS e ON e.run_key = r.run_key
    WHERE r.verdict IN ('passed', 'degraded', 'blocked')
        AND r.peak_goodput_rps IS NOT NULL
) AS ranked
WHERE place = 1
