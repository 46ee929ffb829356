-- One row per experiment of a run. The first valid result counts; of several decisions the last one holds.
-- gain: how much better than the run's own baseline experiment, as the researcher saw it (never ranks anything).
-- decision_gain, decision_gain_se: over the source that the decision compared it with, and its standard error.
-- What was imported (it has a line) brings its decision along, and its time is not known: it was written when read.
WITH tried AS (
    SELECT place, segment, seq, run_id, experiment_id, number, status, metric
    FROM recorded.lines JOIN recorded.places USING (segment, seq) WHERE kind = 'experiment'),
-- By itself, because a record is rarely written twice: no window has to hold the text of all the others.
once AS MATERIALIZED (
    FROM tried QUALIFY row_number() OVER (PARTITION BY run_id, experiment_id ORDER BY status = 'fault', place) = 1),
decided AS (
    SELECT run_id, experiment_id, max_by(decision, place) AS decision,
        nullif(max_by(coalesce(reason, ''), place), '') AS decision_reason,
        arg_max_null(gain, place) AS decision_gain, arg_max_null(gain_se, place) AS decision_gain_se
    FROM recorded.lines JOIN recorded.places USING (segment, seq) WHERE kind = 'decision' GROUP BY ALL),
baseline AS (
    SELECT run_id, first(metric ORDER BY place) AS metric FROM once WHERE number = 0 AND status = 'ok' GROUP BY run_id),
outcomes AS (
    SELECT once.place, segment, seq, decided.decision, decision_reason, decision_gain, decision_gain_se, baseline.metric AS baseline_metric
    FROM once LEFT JOIN decided USING (run_id, experiment_id) LEFT JOIN baseline USING (run_id))
SELECT experiment_id, run_id, number, source_id, parent_source_id, edit, seed, fraction, status, metric,
    coalesce(o.decision, e.decision, CASE WHEN number = 0 THEN 'baseline' END) AS decision,
    coalesce(decision_reason, reason) AS reason,
    device_seconds_charged, device_seconds_spent, peak_memory_mb, description,
    coalesce(directive_ids, []) AS directive_ids, trust,
    coalesce(e.started_at, CASE WHEN line IS NULL
        THEN "at" - to_seconds(coalesce(wall_seconds, 0.0)) END) AS started_at,
    parent_number, config, replicate, steps, wall_seconds, utilization, proposer, cached, reason AS outcome_reason, diff,
    CASE WHEN r.direction = 'higher' THEN metric - baseline_metric ELSE baseline_metric - metric END AS gain,
    r.match_id, r.arm_id, coalesce(e.program_id, r.program_id) AS program_id, r.task, r.direction, constraints,
    decision_gain, decision_gain_se
FROM recorded.lines AS e JOIN outcomes AS o USING (segment, seq) LEFT JOIN run_starts AS r USING (run_id)
ORDER BY o.place
