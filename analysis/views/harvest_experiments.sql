-- One row per training of a search for the best train.py, of its finalists and of its winner.
SELECT task, search, stage, number, stream, seed, source_id, origin, parent_source_id, from_run, edit, config, status,
    metric, reason, trust, device_seconds_charged, device_seconds_spent, wall_seconds, written_at AS measured_at
FROM (
    SELECT place, written_at, unnest(from_json(record, '{
        "task": "VARCHAR", "search": "VARCHAR", "stage": "VARCHAR", "number": "BIGINT", "stream": "VARCHAR",
        "seed": "BIGINT", "source_id": "VARCHAR", "origin": "VARCHAR", "parent_source_id": "VARCHAR",
        "from_run": "VARCHAR", "edit": "JSON", "config": "JSON", "status": "VARCHAR", "metric": "DOUBLE",
        "reason": "VARCHAR", "trust": "VARCHAR", "device_seconds_charged": "DOUBLE", "device_seconds_spent": "DOUBLE",
        "wall_seconds": "DOUBLE"}'))
    FROM events WHERE kind = 'harvest_experiment')
QUALIFY row_number() OVER (PARTITION BY task, search, stage, number ORDER BY place) = 1
ORDER BY place
