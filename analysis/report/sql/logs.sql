-- The imported logs: the most common metric first, then the largest claimed gain; with the gain expected from noise.
SELECT name, path, state, reason, run_id, metric, direction, "rows", quarantined, tried, kept, failed, baseline, best_kept,
    claimed_gain, rerun_gain, noise_sd, kept + new_bests - noise_steps AS distinguishable, noise_share, chance_gain
FROM imports
ORDER BY metric IS DISTINCT FROM $metric, claimed_gain DESC NULLS LAST, path, run_id
LIMIT $most
