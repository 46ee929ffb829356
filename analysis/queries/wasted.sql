-- Device-seconds that could not earn anything, by what they went to.
WITH tried AS (
    SELECT * FROM experiments
    WHERE task = $task AND status <> 'fault' AND NOT coalesce(list_contains($exclude, match_id), false)),
failed AS (
    SELECT DISTINCT e.run_id, e.experiment_id, e.device_seconds_charged AS seconds,
        CASE WHEN e.kind = 'apply' THEN '+' || e.knob 
            ELSE lower(e.knob) || '=' || coalesce(format('{:.6g}', try_cast(e.value AS DOUBLE)), e.value) END AS label
    FROM edits AS e JOIN tried USING (run_id, experiment_id)
    WHERE e.single AND e.status <> 'ok'),
again AS (
    SELECT run_id, number, device_seconds_charged AS seconds FROM tried
    WHERE number > 0 AND coalesce(decision, '') NOT IN ('replicate', 'confirm', 'baseline')
    QUALIFY row_number() OVER (PARTITION BY run_id, source_id, seed, fraction ORDER BY number) > 1)
SELECT 'failed' AS reason, label, count(*) AS n, count(DISTINCT run_id) AS runs,
    sum(coalesce(seconds, 0.0) ORDER BY run_id, experiment_id) AS device_seconds
FROM failed GROUP BY label
UNION ALL
SELECT 'repeated', 'the same source with the same seed again', count(*), count(DISTINCT run_id),
    sum(coalesce(seconds, 0.0) ORDER BY run_id, number)
FROM again HAVING count(*) > 0
UNION ALL
SELECT 'forfeited', 'a rest of the budget too small for an experiment', count(*), count(*), sum(forfeited ORDER BY run_id)
FROM runs
WHERE task = $task AND forfeited > 0 AND NOT coalesce(list_contains($exclude, match_id), false)
HAVING count(*) > 0
ORDER BY device_seconds DESC, label
