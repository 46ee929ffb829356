-- One row per experiment of a run. The first valid result counts; of several decisions the last one holds.
-- gain: how much better than the run's own baseline experiment, as the researcher saw it (never ranks anything).
-- What was imported (it has a line) brings its decision along, and its time is not known: it was written when read.
WITH told AS (
    SELECT place, written_at, unnest(from_json(record, '{
        "run_id": "VARCHAR", "experiment_id": "VARCHAR", "number": "BIGINT", "parent_number": "BIGINT",
        "source_id": "VARCHAR", "parent_source_id": "VARCHAR", "edit": "JSON", "config": "JSON", "seed": "BIGINT",
        "replicate": "BIGINT", "fraction": "DOUBLE", "status": "VARCHAR", "metric": "DOUBLE",
        "device_seconds_charged": "DOUBLE", "device_seconds_spent": "DOUBLE", "wall_seconds": "DOUBLE",
        "peak_memory_mb": "DOUBLE", "steps": "BIGINT", "description": "VARCHAR", "proposer": "VARCHAR",
        "directive_ids": ["VARCHAR"], "trust": "VARCHAR", "cached": "BOOLEAN", "reason": "VARCHAR",
        "diff": "VARCHAR", "started_at": "TIMESTAMP", "decision": "VARCHAR", "line": "BIGINT"}'))
    FROM events WHERE kind = 'experiment'),
once AS (
    SELECT * FROM told
    QUALIFY row_number() OVER (PARTITION BY run_id, experiment_id ORDER BY status = 'fault', place) = 1),
decided AS (
    SELECT run_id, record ->> 'experiment_id' AS experiment_id, record ->> 'decision' AS decision,
        record ->> 'reason' AS decision_reason
    FROM events WHERE kind = 'decision'
    QUALIFY row_number() OVER (PARTITION BY run_id, record ->> 'experiment_id' ORDER BY place DESC) = 1),
baseline AS (
    SELECT run_id, first(metric ORDER BY place) AS metric FROM once
    WHERE number = 0 AND status = 'ok' GROUP BY run_id)
SELECT experiment_id, run_id, number, source_id, parent_source_id, edit, seed, fraction, status, once.metric,
    coalesce(decided.decision, once.decision, CASE WHEN number = 0 THEN 'baseline' END) AS decision,
    coalesce(nullif(decision_reason, ''), reason) AS reason,
    device_seconds_charged, device_seconds_spent, peak_memory_mb, description,
    coalesce(directive_ids, []) AS directive_ids, trust,
    coalesce(once.started_at, CASE WHEN once.line IS NULL
        THEN once.written_at - to_seconds(coalesce(wall_seconds, 0.0)) END) AS started_at,
    parent_number, config, replicate, steps, wall_seconds, proposer, cached, reason AS outcome_reason, diff,
    CASE WHEN r.direction = 'higher' THEN once.metric - baseline.metric ELSE baseline.metric - once.metric END AS gain,
    r.match_id, r.arm_id, r.program_id, r.task, r.direction
FROM once LEFT JOIN decided USING (run_id, experiment_id) LEFT JOIN baseline USING (run_id)
    LEFT JOIN run_starts AS r USING (run_id)
ORDER BY once.place
