-- One row per training of a search for the best train.py, of its finalists and of its winner.
SELECT task, search, stage, number, stream, seed, source_id, origin, parent_source_id, from_run, edit, config, status,
    metric, reason, trust, device_seconds_charged, device_seconds_spent, wall_seconds, written_at AS measured_at
FROM recorded.harvest_experiment
ORDER BY place
