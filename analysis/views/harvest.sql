-- One row per task and search for the best train.py: the one it ended with, trained afresh on data that chose nothing.
SELECT task, search, stream, source_id, origin, config, files, experiments, finalists, chosen_by, gain, se, low, high, n,
    failed, trust, device_seconds_charged, device_seconds_spent, drift, written_at AS measured_at, noise, start, "end" AS end_, held_rows
FROM recorded.harvest
ORDER BY place
