-- Helper of the view `experiments`: what became of each experiment.
-- The first valid result counts; of several decisions the last one holds. Records are rarely written twice, so those
-- are sought by themselves and no window has to hold all the others.
WITH tried AS (SELECT place, run_id, experiment_id, number, status, metric FROM records WHERE kind = 'experiment'),
twice AS (SELECT run_id, experiment_id FROM tried GROUP BY ALL HAVING count(*) > 1),
again AS (
    SELECT place FROM tried AS t JOIN twice AS w
        ON w.run_id IS NOT DISTINCT FROM t.run_id AND w.experiment_id IS NOT DISTINCT FROM t.experiment_id
    QUALIFY row_number() OVER (PARTITION BY t.run_id, t.experiment_id ORDER BY status = 'fault', place) > 1),
once AS (SELECT * FROM tried ANTI JOIN again USING (place)),
said AS (SELECT place, run_id, experiment_id, decision, reason FROM records WHERE kind = 'decision'),
said_twice AS (SELECT run_id, experiment_id FROM said GROUP BY ALL HAVING count(*) > 1),
taken_back AS (
    SELECT place FROM said JOIN said_twice USING (run_id, experiment_id)
    QUALIFY row_number() OVER (PARTITION BY run_id, experiment_id ORDER BY place DESC) > 1),
decided AS (SELECT * FROM said ANTI JOIN taken_back USING (place)),
baseline AS (
    SELECT run_id, first(metric ORDER BY place) AS metric FROM once
    WHERE number = 0 AND status = 'ok' GROUP BY run_id)
SELECT once.place, decided.decision, decided.reason AS decision_reason, baseline.metric AS baseline_metric
FROM once LEFT JOIN decided USING (run_id, experiment_id) LEFT JOIN baseline USING (run_id)
ORDER BY once.place
