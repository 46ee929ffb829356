-- One row per experiment of a run. The first valid result counts; of several decisions the last one holds.
-- gain: how much better than the run's own baseline experiment, as the researcher saw it (never ranks anything).
-- decision_gain, decision_gain_se: over the source that the decision compared it with, and its standard error.
-- What was imported (it has a line) brings its decision along, and its time is not known: it was written when read.
WITH recorded AS (
    SELECT place, written_at, run_id, unnest(from_json(record, '{
        "experiment_id": "VARCHAR", "number": "BIGINT", "parent_number": "BIGINT", "source_id": "VARCHAR",
        "parent_source_id": "VARCHAR", "edit": "JSON", "config": "JSON", "seed": "BIGINT", "replicate": "BIGINT",
        "fraction": "DOUBLE", "status": "VARCHAR", "metric": "DOUBLE", "device_seconds_charged": "DOUBLE",
        "device_seconds_spent": "DOUBLE", "wall_seconds": "DOUBLE", "peak_memory_mb": "DOUBLE",
        "utilization": "DOUBLE", "steps": "BIGINT", "description": "VARCHAR", "proposer": "VARCHAR",
        "directive_ids": ["VARCHAR"], "trust": "VARCHAR", "cached": "BOOLEAN", "reason": "VARCHAR", "diff": "VARCHAR",
        "started_at": "TIMESTAMP", "decision": "VARCHAR", "line": "BIGINT", "constraints": "JSON",
        "program_id": "VARCHAR"}'))
    FROM records WHERE kind = 'experiment'),
-- By itself, because a record is rarely written twice: no window has to hold the text of all the others.
tried AS MATERIALIZED (
    SELECT place, run_id, unnest(from_json(record, '{"experiment_id": "VARCHAR", "number": "BIGINT",
        "status": "VARCHAR", "metric": "DOUBLE"}'))
    FROM records WHERE kind = 'experiment'),
once AS MATERIALIZED (
    SELECT place, run_id, experiment_id, number, status, metric FROM tried
    QUALIFY row_number() OVER (PARTITION BY run_id, experiment_id ORDER BY status = 'fault', place) = 1),
decided AS (
    SELECT run_id, record ->> 'experiment_id' AS experiment_id, max_by(record ->> 'decision', place) AS decision,
        nullif(max_by(coalesce(record ->> 'reason', ''), place), '') AS decision_reason,
        arg_max_null((record ->> 'gain')::DOUBLE, place) AS decision_gain,
        arg_max_null((record ->> 'gain_se')::DOUBLE, place) AS decision_gain_se
    FROM records WHERE kind = 'decision' GROUP BY ALL),
baseline AS (
    SELECT run_id, first(metric ORDER BY place) AS metric FROM once WHERE number = 0 AND status = 'ok' GROUP BY run_id),
outcomes AS (
    SELECT once.place, decided.decision, decision_reason, decision_gain, decision_gain_se, baseline.metric AS baseline_metric
    FROM once LEFT JOIN decided USING (run_id, experiment_id) LEFT JOIN baseline USING (run_id))
SELECT experiment_id, run_id, number, source_id, parent_source_id, edit, seed, fraction, status, metric,
    coalesce(o.decision, recorded.decision, CASE WHEN number = 0 THEN 'baseline' END) AS decision,
    coalesce(decision_reason, reason) AS reason,
    device_seconds_charged, device_seconds_spent, peak_memory_mb, description,
    coalesce(directive_ids, []) AS directive_ids, trust,
    coalesce(recorded.started_at, CASE WHEN line IS NULL
        THEN written_at - to_seconds(coalesce(wall_seconds, 0.0)) END) AS started_at,
    parent_number, config, replicate, steps, wall_seconds, utilization, proposer, cached, reason AS outcome_reason, diff,
    CASE WHEN r.direction = 'higher' THEN metric - baseline_metric ELSE baseline_metric - metric END AS gain,
    r.match_id, r.arm_id, coalesce(recorded.program_id, r.program_id) AS program_id, r.task, r.direction, constraints,
    decision_gain, decision_gain_se
FROM recorded JOIN outcomes AS o USING (place) LEFT JOIN run_starts AS r USING (run_id)
ORDER BY recorded.place
