-- functional_summary: how many cases of each marker passed, one row per functional run, tier and
-- marker.
--
-- passed, failed, skipped and errors count the run's cases by their outcome; an error is a case that
-- could not be judged. comparable_key is that of the run: the same suite, configuration and
-- hardware. Only runs whose verdict says how the subject did are read: passed, degraded, blocked.
--
-- Columns:
--   model: As requests name it.
--   tier: The tier of the cases.
--   marker: What the cases are about.
--   started_at: When the run began.
--   passed: Cases that passed.
--   failed: Cases that failed.
--   skipped: Cases that were skipped.
--   errors: Cases that could not be judged.
--   comparable_key: Runs with the same key asked the same question.
--   run_id: The run.
SELECT
    r.model AS model, c.tier AS tier, c.marker AS marker, r.started_at AS started_at,
    count(CASE WHEN c.outcome = 'passed' THEN 1 END) AS passed,
    count(CASE WHEN c.outcome = 'failed' THEN 1 END) AS failed,
    count(CASE WHEN c.outcome = 'skipped' THEN 1 END) AS skipped,
    count(CASE WHEN c.outcome = 'error' THEN 1 END) AS errors,
    r.comparable_key AS comparable_key, r.run_id AS run_id
FROM reports.runs AS r
JOIN raw.cases AS c ON c.run_key = r.run_key
WHERE r.verdict IN ('passed', 'degraded', 'blocked')
GROUP BY r.model, c.tier, c.marker, r.started_at, r.comparable_key, r.run_id
