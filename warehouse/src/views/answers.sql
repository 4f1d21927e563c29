-- answers: what is known of a model's capacity, in plain words, one row per model, hardware, workload
-- and SLO.
--
-- The figures are those of the view capacity. A sentence says only what was measured: where a figure
-- is missing, it says that it is.
--
-- Columns:
--   model: As requests name it.
--   gpu_sku: GPU model; null where unknown.
--   gpu_count: Number of GPUs; null where unknown.
--   endpoint: Where it was served; null where the hardware is known.
--   workload: The workload in words; null in runs of releases that did not keep it.
--   slo: The SLO; null in runs of releases that did not keep it.
--   answer: What is known, in a few sentences.
--   measured_at: Start of the earliest run that a figure comes from.
--   stale: Whether something changed since, or a figure is older than 30 days.
--   run_id: The run that decides about the peak; null where none looked for it.
SELECT
    model, gpu_sku, gpu_count, endpoint, workload, slo,
    concat(
        model,
        CASE
            WHEN gpu_sku IS NULL THEN concat(' at ', endpoint, ' on hardware that is not known')
            WHEN gpu_count IS NULL THEN concat(' on ', gpu_sku)
            ELSE concat(' on ', CAST(gpu_count AS VARCHAR), ' x ', gpu_sku)
        END,
        CASE
            WHEN peak_goodput_rps IS NOT NULL AND limit_found THEN concat(
                ' serves ', CAST(round(peak_goodput_rps, 2) AS VARCHAR),
                ' good requests a second at its limit'
            )
            WHEN peak_goodput_rps IS NOT NULL THEN concat(
                ' serves at least ', CAST(round(peak_goodput_rps, 2) AS VARCHAR),
                ' good requests a second'
            )
            WHEN peak_verdict IS NOT NULL THEN ' met the SLO at no load that was tried'
            ELSE ' was not driven to its limit yet'
        END,
        CASE WHEN workload IS NULL THEN '' ELSE concat(', on workload ', workload) END,
        CASE WHEN slo IS NULL THEN '' ELSE concat(', with SLO ', slo) END,
        '.',
        CASE
            WHEN limit_found OR peak_goodput_rps IS NULL THEN ''
            WHEN NOT limit_found THEN ' No load that was tried was too much.'
            ELSE ''
        END,
        CASE
            WHEN sustainable_rps IS NULL THEN ' What holds for long was not measured.'
            ELSE concat(
                ' ', CAST(round(sustainable_rps, 2) AS VARCHAR), ' requests a second hold for long.'
            )
        END,
        CASE
            WHEN floor_ttft_ms IS NULL THEN ''
            ELSE concat(
                ' Without load the first token takes ', CAST(round(floor_ttft_ms, 1) AS VARCHAR),
                ' ms.'
            )
        END,
        CASE
            WHEN recovery_ms IS NULL THEN ''
            ELSE concat(
                ' After an overload it serves as before within ',
                CAST(round(recovery_ms / 1e3, 1) AS VARCHAR), ' s.'
            )
        END,
        ' Measured ', CAST(CAST(measured_at AS DATE) AS VARCHAR), '.',
        CASE
            WHEN stale THEN ' This may no longer hold: measure again.'
            ELSE ''
        END
    ) AS answer,
    measured_at, stale, run_id
FROM reports.capacity
