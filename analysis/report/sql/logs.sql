-- The imported logs, the largest claim first, with the gain expected from noise alone.
SELECT coalesce(name, path) AS log, claimed_gain, rerun_gain AS with_reruns, noise_share AS noise_share, chance_gain,
    baseline, best_kept, kept, new_bests, kept + new_bests - noise_steps AS not_noise, tried, failed, quarantined AS set_aside,
    metric, direction, state, reason, coalesce(path, run_id) AS id,
    (SELECT string_agg(format('line {} ({})', line, left(description, 50)), ', ' ORDER BY line)
        FROM import_rows AS r JOIN experiments AS e USING (run_id, experiment_id)
        WHERE r.run_id = imports.run_id AND step_p <= 0.05) AS not_noise_rows
FROM imports ORDER BY claimed_gain DESC NULLS LAST, path, run_id LIMIT 40
