-- One row per run, stream and fresh seed: its final source trained anew and scored where no researcher looked.
-- The first valid result counts. A source that failed under a seed gains 0 there, and so does a run that ends at the
-- baseline where runs are only chosen (status 'baseline', nothing is trained; on the streams confirmation and reserve it
-- is trained like any other, in studies begun by this version); our own faults count for nothing.
WITH recorded AS (
    SELECT place, written_at, unnest(from_json(record, '{
        "run_id": "VARCHAR", "arm_id": "VARCHAR", "program_id": "VARCHAR", "task": "VARCHAR", "stream": "VARCHAR",
        "seed": "BIGINT", "status": "VARCHAR", "metric": "DOUBLE", "baseline_metric": "DOUBLE", "gain": "DOUBLE",
        "trust": "VARCHAR", "device_seconds_spent": "DOUBLE", "constraints": "JSON", "reason": "VARCHAR",
        "split": "VARCHAR"}'))
    FROM events WHERE kind = 'verification')
SELECT run_id, coalesce(recorded.arm_id, r.arm_id) AS arm_id, coalesce(recorded.program_id, r.program_id) AS program_id,
    coalesce(recorded.task, r.task) AS task, recorded.stream, seed, coalesce(status, 'ok') AS status, metric, baseline_metric,
    CASE WHEN coalesce(status, 'ok') = 'ok' THEN gain WHEN status = 'fault' THEN NULL ELSE 0.0 END AS gain,
    trust, r.match_id, recorded.device_seconds_spent, written_at AS verified_at, constraints, reason, split
FROM recorded LEFT JOIN run_starts AS r USING (run_id)
QUALIFY row_number() OVER (
    PARTITION BY run_id, recorded.stream, seed ORDER BY coalesce(status, '') = 'fault', recorded.place) = 1
ORDER BY recorded.place
