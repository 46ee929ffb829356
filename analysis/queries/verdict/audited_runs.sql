-- The finished, verified runs of an arm; touched: the share of a run's verifications that were compared with the baseline.
SELECT r.*, (SELECT avg((v.status = 'ok')::INT) FROM verifications AS v
    WHERE v.run_id = r.run_id) AS touched
FROM verified_runs() AS r WHERE arm_id = $arm ORDER BY run_id
