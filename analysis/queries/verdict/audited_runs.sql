-- The finished, verified runs of an arm; touched: the share of a run's verifications that were compared with the baseline.
SELECT r.*, (SELECT avg((v.status = 'ok')::INT) FROM verifications AS v
    WHERE v.run_id = r.run_id) AS touched
FROM runs AS r WHERE arm_id = $arm AND state = 'finished' AND verified_gain IS NOT NULL ORDER BY run_id
