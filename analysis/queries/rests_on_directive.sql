-- The experiments that cite the directive.
SELECT experiment_id, run_id, number, gain, status, decision, device_seconds_charged FROM experiments
WHERE task = $task AND number > 0 AND list_contains(directive_ids, $directive_id)
    AND match_id NOT IN (SELECT match_id FROM matches WHERE stream IN ('confirmation', 'reserve'))
ORDER BY run_id, number
