-- score_trends: every score beside the one before it on the same question, one row per run,
-- benchmark and metric.
--
-- A series is a model, a benchmark, a metric and a comparable_key: scores of another dataset,
-- template, evaluator or setting have another key and are never set side by side. change is the
-- score less the previous one of its series by start. noise is the spread of single scores between
-- the earlier runs of the series: the square root of half the mean squared difference of neighbours
-- (von Neumann, Kent, Bellinson and Hart, "The Mean Square Successive Difference", 1941), which a
-- trend does not widen. A change is significant where it exceeds both 1.96 standard errors of the
-- difference (where the evaluator gives them) and the 95 % interval of the difference of two runs
-- that vary by noise alone; its t quantile is expanded at 2 (n - 1)^2 / (3 n - 4) degrees of freedom
-- of n earlier scores. With fewer than five earlier scores it is null: undecided. Only runs whose
-- verdict says how the subject did are read: passed, degraded, blocked.
--
-- Columns:
--   benchmark: The benchmark.
--   metric: The metric of it.
--   model: As requests name it.
--   started_at: When the run began.
--   value: The score, in the metric's own unit.
--   stderr: Standard error of the score; null where the evaluator gives none.
--   n: Samples behind it.
--   comparable_key: Scores with the same key answer the same question.
--   change: Score less the previous score; null for the first.
--   significant: Whether the change is more than noise; null where that is undecided.
--   higher_is_better: Direction of the metric.
--   earlier: Earlier scores of the series.
--   noise: Spread of single scores between earlier runs; null before the third.
--   run_id: The run.
SELECT
    benchmark, metric, model, started_at, value, stderr, n, comparable_key, change,
    CASE
        WHEN earlier < 5 THEN NULL
        ELSE abs(change) > 1.96 * sqrt(variance)
            AND abs(change) > sqrt(2.0) * noise
                * (1.96 + 2.372 / freedom + 2.822 / power(freedom, 2)
                    + 2.556 / power(freedom, 3) + 1.59 / power(freedom, 4))
    END AS significant,
    higher_is_better, earlier, noise, run_id
FROM (
    SELECT
        benchmark, metric, model, started_at, value, stderr, n, comparable_key, change,
        higher_is_better, earlier, run_id,
        power(COALESCE(stderr, 0.0), 2) + power(COALESCE(previous_stderr, 0.0), 2) AS variance,
        2.0 * (earlier - 1) * (earlier - 1) / NULLIF(3.0 * earlier - 4, 0.0) AS freedom,
        sqrt(avg(change * change) OVER (
            PARTITION BY model, benchmark, metric, comparable_key
            ORDER BY started_at, run_id
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) / 2.0) AS noise
    FROM (
        SELECT
            s.benchmark AS benchmark, s.metric AS metric, r.model AS model,
            r.started_at AS started_at, s.value AS value, s.stderr AS stderr, s.n AS n,
            s.comparable_key AS comparable_key, s.higher_is_better AS higher_is_better,
            r.run_id AS run_id,
            s.value - lag(s.value) OVER (
                PARTITION BY r.model, s.benchmark, s.metric, s.comparable_key
                ORDER BY r.started_at, r.run_id
            ) AS change,
            lag(s.stderr) OVER (
                PARTITION BY r.model, s.benchmark, s.metric, s.comparable_key
                ORDER BY r.started_at, r.run_id
            ) AS previous_stderr,
            row_number() OVER (
                PARTITION BY r.model, s.benchmark, s.metric, s.comparable_key
                ORDER BY r.started_at, r.run_id
            ) - 1 AS earlier
        FROM reports.scores AS s
        JOIN reports.runs AS r ON r.run_key = s.run_key
        WHERE r.verdict IN ('passed', 'degraded', 'blocked')
    ) AS scores
) AS trends
