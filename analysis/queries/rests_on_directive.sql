-- The experiments that cite the directive: over_parent against the script that each changed, gain against the untouched one.
SELECT e.experiment_id, e.run_id, e.number, e.gain - parent.gain AS over_parent, e.gain, e.status, e.decision,
    e.device_seconds_charged
FROM experiments AS e LEFT JOIN experiments AS parent ON parent.run_id = e.run_id AND parent.number = e.parent_number
WHERE e.task = $task AND e.number > 0 AND list_contains(e.directive_ids, $directive_id)
    AND e.match_id NOT IN (SELECT match_id FROM matches WHERE stream IN ('confirmation', 'reserve') AND purpose <> 'night')
ORDER BY e.run_id, e.number
