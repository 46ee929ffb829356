-- One row per imported experiment: what its log says beyond the view `experiments`, and what follows from the rows
-- before it. best_so_far and step_gain are computed from the metric; the log's own claims stay in word and extra.
WITH runs_read AS (
    SELECT run_id, any_value(record ->> 'import_id') AS import_id
    FROM events WHERE kind = 'import' AND run_id IS NOT NULL GROUP BY ALL),
recorded AS (
    SELECT place, unnest(from_json(record, '{
        "run_id": "VARCHAR", "experiment_id": "VARCHAR", "number": "BIGINT", "line": "BIGINT",
        "word": "VARCHAR", "commit": "VARCHAR", "full_commit": "VARCHAR", "committed_at": "TIMESTAMP",
        "best_so_far": "DOUBLE", "step_gain": "DOUBLE", "step_tries": "BIGINT", "step_p": "DOUBLE",
        "again": "BIGINT", "extra": "JSON"}'))
    FROM recorded.lines JOIN recorded.places USING (segment, seq)
    WHERE kind = 'experiment' AND run_id IN (SELECT run_id FROM runs_read))
SELECT i.import_id, run_id, experiment_id, number, line, word, "commit", full_commit, committed_at,
    best_so_far, step_gain, step_tries, step_p, again, extra
FROM recorded JOIN runs_read AS i USING (run_id)
QUALIFY row_number() OVER (PARTITION BY run_id, experiment_id ORDER BY place) = 1
ORDER BY place
