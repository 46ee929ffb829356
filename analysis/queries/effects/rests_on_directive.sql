-- The tries of the directive: over_parent against the script that they change under the same seed (0 if a training
-- failed), gain against the untouched one.
SELECT e.experiment_id, e.run_id, e.number, CASE WHEN e.status <> 'ok' THEN 0.0 ELSE e.gain - (
    SELECT avg(p.gain) FROM experiments AS p WHERE p.run_id = e.run_id AND p.source_id = e.parent_source_id
        AND p.seed = e.seed AND p.fraction = e.fraction) END AS over_parent,
    e.gain, e.status, e.decision, e.device_seconds_charged
FROM directive_tries($task, (SELECT coalesce(list(match_id), []) FROM after_search())) AS e
WHERE e.directive_id = $directive_id
ORDER BY e.run_id, e.number
