-- One row per task and search for the best train.py: the one it ended with, trained afresh on data that chose nothing.
SELECT task, search, stream, source_id, origin, config, files, experiments, finalists, chosen_by, gain, se, low, high, n,
    failed, trust, device_seconds_charged, device_seconds_spent, drift, written_at AS measured_at, noise, start, "end" AS end_, held_rows
FROM (
    SELECT place, written_at, unnest(from_json(record, '{
        "task": "VARCHAR", "search": "VARCHAR", "stream": "VARCHAR", "source_id": "VARCHAR", "origin": "VARCHAR",
        "config": "JSON", "files": "JSON", "experiments": "BIGINT", "finalists": "BIGINT", "chosen_by": "DOUBLE",
        "gain": "DOUBLE", "se": "DOUBLE", "low": "DOUBLE", "high": "DOUBLE", "n": "BIGINT", "failed": "BIGINT",
        "trust": "VARCHAR", "device_seconds_charged": "DOUBLE", "device_seconds_spent": "DOUBLE",
        "drift": "DOUBLE", "noise": "VARCHAR", "start": "DOUBLE", "end": "DOUBLE", "held_rows": "BIGINT"}'))
    FROM events WHERE kind = 'harvest')
QUALIFY row_number() OVER (PARTITION BY task, search ORDER BY place) = 1
ORDER BY place
