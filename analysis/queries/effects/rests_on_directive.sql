-- The tries of the directive, as in directive_use: over_parent against the script that they change under the same seed (0
-- if a training failed), gain against the untouched one.
SELECT e.experiment_id, e.run_id, e.number, CASE WHEN e.status <> 'ok' THEN 0.0 ELSE e.gain - (
    SELECT avg(p.gain) FROM experiments AS p WHERE p.run_id = e.run_id AND p.source_id = e.parent_source_id
        AND p.seed = e.seed AND p.fraction = e.fraction) END AS over_parent,
    e.gain, e.status, e.decision, e.device_seconds_charged
FROM experiments AS e
WHERE e.task = $task AND e.number > 0 AND e.status <> 'fault' AND list_contains(e.directive_ids, $directive_id)
    AND coalesce(e.match_id NOT IN (SELECT match_id FROM after_search()), true)
QUALIFY row_number() OVER (PARTITION BY e.run_id, e.source_id
    ORDER BY e.status = 'ok', e.source_id IS NOT DISTINCT FROM e.parent_source_id, e.gain IS NULL OR e.config IS NULL,
        e.number) = 1
    AND bool_or(e.source_id IS DISTINCT FROM e.parent_source_id) OVER (PARTITION BY e.run_id, e.source_id)
ORDER BY e.run_id, e.number
