-- Device-seconds that the whole study spent: runs, verifications, harvest, baselines.
SELECT coalesce((SELECT sum(device_seconds_spent ORDER BY run_id) FROM runs), 0.0)
    + coalesce((SELECT sum(device_seconds_spent ORDER BY run_id, seed) FROM verifications), 0.0)
    + coalesce((SELECT sum(device_seconds_spent ORDER BY task, search, stage, number) FROM harvest_experiments), 0.0)
    + coalesce((SELECT sum((record ->> 'device_seconds_spent')::DOUBLE ORDER BY place) FROM events
        WHERE kind = 'baseline'), 0.0)
