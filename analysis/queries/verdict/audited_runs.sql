-- The runs of an arm; touched: the share of a run's verifications that were compared with the baseline.
SELECT *, compared / verified_seeds AS touched FROM verified_runs() WHERE arm_id = $arm ORDER BY run_id
