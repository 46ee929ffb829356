-- The runs of the program with what they claim and what fresh seeds say, or the experiments that kept the change.
SELECT run_id, NULL AS experiment_id, claimed_gain AS claimed, verified_gain FROM runs
WHERE task = $task AND program_id = $program_id
UNION ALL
SELECT e.run_id, e.experiment_id, any_value(e.delta), any_value(r.verified_gain)
FROM edits AS e LEFT JOIN runs AS r USING (run_id)
WHERE $program_id IS NULL AND e.task = $task AND e.decision = 'keep' AND e.status = 'ok'
GROUP BY e.run_id, e.experiment_id
HAVING string_agg(CASE WHEN e.kind = 'apply' THEN '+' || e.knob
    ELSE lower(e.knob) || '=' || coalesce(format('{:.6g}', try_cast(e.value AS DOUBLE)), e.value) END,
    ' ' ORDER BY e.kind DESC, e.knob) = $label
ORDER BY run_id, experiment_id
