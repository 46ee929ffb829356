-- What the runs of each program claim from start to end, and how many sources each had tried in full.
WITH tried AS (
    SELECT run_id, count(*) AS sources FROM experiments
    WHERE task = $task AND status = 'ok' AND coalesce(fraction, 1.0) = 1.0
        AND coalesce(decision, '') NOT IN ('replicate', 'confirm', 'screen') GROUP BY run_id)
SELECT r.program_id, coalesce(any_value(r.name), r.program_id) AS label, count(*) AS runs,
    list(r.claimed_gain ORDER BY r.run_id) AS deltas,
    avg($best[greatest(1, least(t.sources, len($best)))]) AS noise
FROM runs AS r JOIN tried AS t USING (run_id)
WHERE r.task = $task AND r.claimed_gain IS NOT NULL AND NOT coalesce(list_contains($exclude, r.match_id), false)
GROUP BY r.program_id
ORDER BY r.program_id
