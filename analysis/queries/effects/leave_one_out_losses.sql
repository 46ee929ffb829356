-- Of each kept commit of the runs that were trained again: what the final source loses without it, seed by seed.
WITH planned AS (
    SELECT a.ablation_id, a.run_id, r.program_id, a.factors, unnest(a.factors) AS experiment_id,
        unnest(from_json(a.plan -> 'labels', '["VARCHAR"]')) AS label, generate_subscripts(a.factors, 1) AS position
    FROM ablations AS a JOIN run_starts AS r USING (run_id)
    WHERE a.method = 'replay' AND a.task = $task AND NOT coalesce(list_contains($exclude, r.match_id), false)),
trained AS (SELECT ablation_id, list_sort(commits) AS commits, seed, gain FROM replays WHERE gain IS NOT NULL)
SELECT p.run_id, p.program_id, p.experiment_id, p.label, list(w.gain - l.gain ORDER BY w.seed) AS losses
FROM planned AS p JOIN trained AS w ON w.ablation_id = p.ablation_id AND w.commits = list_sort(p.factors)
    JOIN trained AS l ON l.ablation_id = p.ablation_id AND l.seed = w.seed
        AND len(l.commits) = len(p.factors) - 1 AND NOT list_contains(l.commits, p.experiment_id)
        AND list_has_all(p.factors, l.commits)
GROUP BY p.run_id, p.program_id, p.experiment_id, p.label, p.position
ORDER BY p.run_id, p.position
