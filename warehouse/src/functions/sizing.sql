-- sizing: how many replicas carry a demand, one row per hardware, workload and SLO of the model.
--
-- rate_rps is what one replica (a deployment on the given number of GPUs) is counted with: the
-- sustainable rate where it was measured, else the peak goodput, which basis tells; of either the
-- lower bound of its interval where there is one. A peak is no promise for long loads: prefer rows
-- whose basis is sustainable. Where no load was too much, the peak is a lower bound, and fewer
-- replicas may do. measured_at and run_id are of the run that the rate comes from. replicas is the demand over that rate, rounded up. With the reserve
-- there is one more, so that the loss of one leaves enough. headroom_pct is by how much the rate of
-- all replicas, reserve included, exceeds the demand; headroom_after_loss_pct the same once one is
-- lost. A row whose rate is null says that the model was measured there and no rate met the SLO, or
-- none was looked for.
SELECT
    gpu_sku, gpu_count, endpoint, workload, slo,
    $2 AS demand_rps, basis, rate_rps,
    replicas, replicas + 1 AS replicas_with_reserve, (replicas + 1) * gpu_count AS gpus_with_reserve,
    100.0 * ((replicas + 1) * rate_rps - $2) / $2 AS headroom_pct,
    100.0 * (replicas * rate_rps - $2) / $2 AS headroom_after_loss_pct,
    measured_at, stale, run_id
FROM (
    SELECT
        gpu_sku, gpu_count, endpoint, workload, slo, basis, rate_rps,
        CAST(ceil($2 / NULLIF(rate_rps, 0.0)) AS BIGINT) AS replicas,
        measured_at, stale, run_id
    FROM (
        SELECT
            gpu_sku, gpu_count, endpoint, workload, slo,
            CASE
                WHEN sustainable_rps IS NOT NULL THEN 'sustainable'
                WHEN peak_goodput_rps IS NOT NULL THEN 'peak'
            END AS basis,
            CASE
                WHEN sustainable_rps IS NOT NULL THEN COALESCE(sustainable_rps_low, sustainable_rps)
                ELSE COALESCE(peak_goodput_rps_low, peak_goodput_rps)
            END AS rate_rps,
            CASE
                WHEN sustainable_rps IS NOT NULL THEN sustainable_measured_at
                ELSE peak_measured_at
            END AS measured_at,
            stale,
            CASE WHEN sustainable_rps IS NOT NULL THEN sustainable_run_id ELSE run_id END AS run_id
        FROM reports.capacity
        WHERE model = $1
    ) AS rates
) AS needed
ORDER BY replicas, gpu_sku, gpu_count, endpoint, workload, slo
