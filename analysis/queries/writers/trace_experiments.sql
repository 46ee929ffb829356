-- Experiments of some runs in order, with what each was better than the one it was made on, if that had the same seed and
-- fraction (positive is better).
SELECT e.run_id, e.number, e.experiment_id, e.parent_number, e.status, e.decision, e.reason, e.outcome_reason, e.metric,
    e.gain, CASE WHEN e.direction = 'higher' THEN e.metric - b.metric ELSE b.metric - e.metric END AS delta,
    e.fraction, e.replicate, e.device_seconds_charged AS cost, e.proposer, e.description, e.directive_ids, e.edit, e.diff
FROM experiments AS e LEFT JOIN experiments AS b ON b.run_id = e.run_id AND b.number = e.parent_number
    AND b.seed = e.seed AND b.fraction = e.fraction
WHERE list_contains($runs, e.run_id)
ORDER BY e.run_id, e.number
