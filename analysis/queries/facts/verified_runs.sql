-- The runs with a gain that counts, with the terms of their match.
verified_runs() AS TABLE
SELECT r.*, m.run_budget, m.hardware_class, m.unit, m.label, m.task_id, m.started_at AS match_started_at
FROM runs AS r LEFT JOIN matches AS m USING (match_id)
WHERE r.state = 'finished' AND r.verified_gain IS NOT NULL
