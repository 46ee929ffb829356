-- One row per elementary change of an experiment: one constant set, or one named patch applied (value 'true').
-- delta: how much better than its parent source in the same run with the same seed, both at full fraction; a try that
-- failed earns 0. single: the experiment made no other change, so that delta is what this change earned there.
WITH full_tries AS (
    SELECT * FROM experiments
    WHERE coalesce(fraction, 1.0) = 1.0 AND number > 0 AND status <> 'fault'
        AND source_id IS DISTINCT FROM parent_source_id AND decision IS DISTINCT FROM 'replicate'
        AND coalesce(decision, '') <> 'confirm'),
parents AS (
    SELECT run_id, source_id, seed, avg(metric) AS metric FROM experiments
    WHERE coalesce(fraction, 1.0) = 1.0 AND status = 'ok' GROUP BY ALL),
changes AS (
    SELECT experiment_id, run_id, 'set' AS kind, unnest(map_entries(from_json(edit -> 'set', '"MAP(VARCHAR, JSON)"')),
        recursive := true)
    FROM full_tries
    UNION ALL
    SELECT experiment_id, run_id, 'apply', unnest(from_json(edit -> 'apply', '["VARCHAR"]')), 'true'::JSON
    FROM full_tries)
SELECT c.experiment_id, c.run_id, t.task, t.match_id, t.program_id, c.kind, c.key AS knob,
    c.value ->> '$' AS value, c.value AS value_json,
    count(*) OVER (PARTITION BY c.run_id, c.experiment_id) = 1 AS single, t.status, t.proposer, t.decision,
    CASE WHEN t.status <> 'ok' THEN 0.0
        WHEN t.direction = 'higher' THEN t.metric - p.metric ELSE p.metric - t.metric END AS delta,
    t.device_seconds_charged, t.number, t.source_id, t.parent_source_id, t.seed
FROM changes AS c JOIN full_tries AS t USING (run_id, experiment_id)
    LEFT JOIN parents AS p ON p.run_id = t.run_id AND p.source_id = t.parent_source_id AND p.seed = t.seed
ORDER BY t.run_id, t.number, c.kind DESC, c.key
