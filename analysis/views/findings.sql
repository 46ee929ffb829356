-- One row per suspicion of the referee about a result; repeats by a resumed study are merged.
SELECT run_id, experiment_id, source_id, stream, seed, finding AS kind, text, written_at
FROM recorded.finding
ORDER BY place
