-- All logs together.
SELECT count(DISTINCT path) AS logs, count(*) FILTER (run_id IS NOT NULL) AS runs,
    count(*) FILTER (run_id IS NULL) AS refused, coalesce(sum("rows"), 0)::BIGINT AS rows,
    coalesce(sum(quarantined), 0)::BIGINT AS quarantined, coalesce(sum(tried), 0)::BIGINT AS tried,
    coalesce(sum(kept), 0)::BIGINT AS kept, coalesce(sum(new_bests), 0)::BIGINT AS new_bests, count(noise_sd) AS noise_known,
    coalesce(sum(kept + new_bests) FILTER (noise_sd IS NOT NULL), 0)::BIGINT AS kept_known, sum(noise_steps)::BIGINT AS noise_steps,
    sum(chance_keeps ORDER BY path, run_id) AS chance_keeps, median(claimed_gain) AS median_gain
FROM imports
