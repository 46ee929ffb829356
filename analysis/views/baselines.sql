-- One row per training of a task's untouched source: by task, stream, seed and the hidden splits that it was scored on.
-- metric: the mean over these; splits: its metric on each of them, by label, NULL where the task has none.
WITH recorded AS (
    SELECT place, written_at, unnest(from_json(record, '{
        "match_id": "VARCHAR", "task": "VARCHAR", "stream": "VARCHAR", "seed": "BIGINT", "metric": "DOUBLE",
        "status": "VARCHAR", "source_id": "VARCHAR", "trust": "VARCHAR", "constraints": "JSON",
        "splits": "JSON"}'))
    FROM events WHERE kind = 'baseline')
SELECT match_id, task, stream, seed, metric, status, source_id, trust, written_at AS measured_at, constraints, splits
FROM recorded
QUALIFY row_number() OVER (PARTITION BY match_id, task, stream, seed, splits::VARCHAR ORDER BY status = 'fault', place) = 1
ORDER BY place
