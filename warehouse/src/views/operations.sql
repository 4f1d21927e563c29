-- operations: what the machinery did by itself, one row per event that explains a figure.
--
-- Made to be laid over a chart: a deployment that started, failed or stopped, a schedule that did not
-- fire, a GPU that was taken out of use. They are read from the audit's events, without who did it
-- and without details.
--
-- Columns:
--   at: When.
--   kind: deployment_started, deployment_failed, deployment_stopped, schedule_missed or
--     gpu_quarantined.
--   model: The model; null where it concerns none.
--   deployment: The deployment; null where it concerns none.
--   host: The host; null where it concerns none.
--   reason: Why, in words; null where nobody has to say.
SELECT
    v.at AS at, v.action AS kind, v.model AS model, v.deployment AS deployment, v.host AS host,
    v.reason AS reason
FROM audit.events AS v
WHERE v.action IN (
    'deployment_started', 'deployment_failed', 'deployment_stopped', 'schedule_missed',
    'gpu_quarantined'
)
