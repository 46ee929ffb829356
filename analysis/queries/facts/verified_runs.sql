-- The runs with a gain that counts, with the terms of their match. compared: how many of a run's verifications were
-- compared with the baseline; the others gain 0 whatever it is.
verified_runs() AS TABLE
SELECT r.*, (SELECT count(*) FROM verifications AS v WHERE v.run_id = r.run_id AND v.status = 'ok') AS compared,
    m.run_budget, m.hardware_class, m.unit, m.label, m.task_id, m.started_at AS match_started_at
FROM runs AS r LEFT JOIN matches AS m USING (match_id)
WHERE r.state = 'finished' AND r.verified_gain IS NOT NULL
