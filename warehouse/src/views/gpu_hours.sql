-- gpu_hours: what each GPU did in each hour, one row per hour, host and GPU.
--
-- Each column is a share of an hour, in hours: the minutes for which the fleet was sampled in that
-- state, a sixtieth each. busy is leased to a deployment, idle is free, foreign is used by a process
-- that is not ours, quarantined is kept out of use. A minute that was sampled twice in one state
-- counts once: each minute of an hour is a bit of a number. A minute in which the state changed counts
-- for either. sampled says how much of the hour was sampled at all: less than 1 where the host was not
-- all the time. Leased is not utilised: a deployment that waits is busy. Hours are UTC. Ask for some
-- days (WHERE hour >= ..): only their rows are read then.
--
-- Columns:
--   hour: Start of the hour, UTC.
--   host: The host.
--   gpu: UUID of the GPU.
--   sku: GPU model; null where unknown.
--   busy: Hours in which it was leased to a deployment, 0 to 1.
--   idle: Hours in which it was free, 0 to 1.
--   foreign: Hours in which a process that is not ours used it, 0 to 1.
--   quarantined: Hours in which it was kept out of use, 0 to 1.
--   sampled: Hours in which it was sampled at all, 0 to 1.
SELECT
    hour, host, gpu, max(sku) AS sku,
    COALESCE(bit_count(bit_or(CASE WHEN state = 'leased' THEN minute END)), 0) / 60.0 AS busy,
    COALESCE(bit_count(bit_or(CASE WHEN state = 'idle' THEN minute END)), 0) / 60.0 AS idle,
    COALESCE(bit_count(bit_or(CASE WHEN state = 'foreign' THEN minute END)), 0) / 60.0 AS foreign,
    COALESCE(bit_count(bit_or(CASE WHEN state = 'quarantined' THEN minute END)), 0) / 60.0
        AS quarantined,
    bit_count(bit_or(minute)) / 60.0 AS sampled
FROM (
    SELECT
        date_trunc('hour', f.at) AS hour,
        CAST(1 AS BIGINT) << CAST(date_part('minute', f.at) AS BIGINT) AS minute,
        f.host AS host, f.gpu_uuid AS gpu, f.sku AS sku, f.state AS state
    FROM reports.fleet AS f
    WHERE f.gpu_uuid IS NOT NULL
) AS minutes
GROUP BY hour, host, gpu
