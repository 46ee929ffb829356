-- The imported logs: the most common metric first, then the largest claimed gain; with the gain expected from noise.
SELECT name, path, state, reason, run_id, metric, direction, "rows", quarantined, tried, kept, failed, baseline, best_kept,
    claimed_gain, rerun_gain, noise_sd, noise_from, noise_steps, noise_share, chance_keeps, chance_gain, commits_joined,
    list_sum(map_values(from_json(contradictions, '"MAP(VARCHAR, BIGINT)"')))::BIGINT AS contradictions
FROM imports
ORDER BY metric IS DISTINCT FROM $metric, claimed_gain DESC NULLS LAST, path, run_id
LIMIT $most
