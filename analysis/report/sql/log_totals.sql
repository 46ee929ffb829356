-- All logs together.
SELECT count(DISTINCT path) AS logs, coalesce(sum("rows"), 0)::BIGINT AS rows,
    coalesce(sum(quarantined), 0)::BIGINT AS quarantined, coalesce(sum(tried), 0)::BIGINT AS tried,
    coalesce(sum(kept), 0)::BIGINT AS kept, coalesce(sum(new_bests), 0)::BIGINT AS new_bests,
    coalesce(sum(kept + new_bests) FILTER (noise_sd IS NOT NULL), 0)::BIGINT AS kept_known,
    coalesce(sum(kept + new_bests - noise_steps), 0)::BIGINT AS distinguishable
FROM imports
