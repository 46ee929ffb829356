-- One row per training of a task's untouched source: by task, stream, seed and the hidden splits that it was scored on.
-- metric: the mean over these; splits: its metric on each of them, by label, NULL where the task has none.
SELECT match_id, task, stream, seed, metric, status, source_id, trust, written_at AS measured_at, constraints, splits
FROM recorded.baseline
ORDER BY place
