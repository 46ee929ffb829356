-- One row per suspicion of the referee about a result; repeats by a resumed study are merged.
WITH recorded AS (
    SELECT place, written_at, unnest(from_json(record, '{
        "run_id": "VARCHAR", "experiment_id": "VARCHAR", "source_id": "VARCHAR", "stream": "VARCHAR",
        "seed": "BIGINT", "finding": "VARCHAR", "text": "VARCHAR"}'))
    FROM events WHERE kind = 'finding')
SELECT run_id, experiment_id, source_id, stream, seed, finding AS kind, text, written_at
FROM recorded
QUALIFY row_number() OVER (
    PARTITION BY run_id, experiment_id, source_id, stream, seed, finding, text ORDER BY place) = 1
ORDER BY place
