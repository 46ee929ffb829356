-- One row per task, stream and seed: the task's untouched source, trained with that seed; shared by all matches.
WITH recorded AS (
    SELECT place, written_at, unnest(from_json(record, '{
        "match_id": "VARCHAR", "task": "VARCHAR", "stream": "VARCHAR", "seed": "BIGINT", "metric": "DOUBLE",
        "status": "VARCHAR", "source_id": "VARCHAR", "trust": "VARCHAR", "constraints": "JSON"}'))
    FROM events WHERE kind = 'baseline')
SELECT match_id, task, stream, seed, metric, status, source_id, trust, written_at AS measured_at, constraints
FROM recorded
QUALIFY row_number() OVER (PARTITION BY match_id, task, stream, seed ORDER BY status = 'fault', place) = 1
ORDER BY place
