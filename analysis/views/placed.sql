-- Helper of the view `experiments`: its rows with their place, in no order.
-- What was imported (it has a line) brings its decision along, and its time is not known: it was written when read.
SELECT recorded.place, experiment_id, run_id, number, source_id, parent_source_id, edit, seed, fraction, status, metric,
    coalesce(o.decision, recorded.decision, CASE WHEN number = 0 THEN 'baseline' END) AS decision,
    coalesce(nullif(decision_reason, ''), reason) AS reason,
    device_seconds_charged, device_seconds_spent, peak_memory_mb, description,
    coalesce(directive_ids, []) AS directive_ids, trust,
    coalesce(recorded.started_at, CASE WHEN line IS NULL
        THEN written_at - to_seconds(coalesce(wall_seconds, 0.0)) END) AS started_at,
    parent_number, config, replicate, steps, wall_seconds, utilization, proposer, cached, reason AS outcome_reason, diff,
    CASE WHEN r.direction = 'higher' THEN metric - baseline_metric ELSE baseline_metric - metric END AS gain,
    r.match_id, r.arm_id, coalesce(recorded.program_id, r.program_id) AS program_id, r.task, r.direction, constraints
FROM records AS recorded JOIN outcomes AS o ON o.place = recorded.place LEFT JOIN run_starts AS r USING (run_id)
