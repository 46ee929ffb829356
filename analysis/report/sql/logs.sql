-- The imported logs, the largest claim first, with the gain expected from noise alone.
SELECT coalesce(name, path) AS log, kept + new_bests - noise_steps AS not_noise,
    (SELECT string_agg('line ' || line || coalesce(' (' || left(description, 50) || ')', ''), ', ' ORDER BY line)
        FROM import_rows AS r JOIN experiments AS e USING (run_id, experiment_id)
        WHERE r.run_id = imports.run_id AND step_p <= 0.05) AS not_noise_rows, kept, new_bests, tried, failed,
    claimed_gain, nullif(rerun_gain, claimed_gain) AS with_reruns, noise_share, chance_gain, baseline, best_kept,
    quarantined AS set_aside, coalesce(metric, 'metric') AS unit, direction, run_id AS id
FROM imports WHERE state = 'imported' ORDER BY claimed_gain DESC NULLS LAST, path, run_id LIMIT 40
