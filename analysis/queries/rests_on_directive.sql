-- The experiments that cite the directive and change their script: over_parent against that script under the same seed (0
-- if it failed), gain against the untouched one.
SELECT e.experiment_id, e.run_id, e.number, CASE WHEN e.status <> 'ok' THEN 0.0 ELSE e.gain - (
    SELECT avg(p.gain) FROM experiments AS p WHERE p.run_id = e.run_id AND p.source_id = e.parent_source_id
        AND p.seed = e.seed AND p.fraction = e.fraction) END AS over_parent,
    e.gain, e.status, e.decision, e.device_seconds_charged
FROM experiments AS e
WHERE e.task = $task AND e.number > 0 AND e.status <> 'fault' AND list_contains(e.directive_ids, $directive_id)
    AND e.source_id IS DISTINCT FROM e.parent_source_id
    AND e.match_id NOT IN (SELECT match_id FROM matches WHERE stream IN ('confirmation', 'reserve') AND purpose <> 'night')
ORDER BY e.run_id, e.number
