-- Every experiment that ran, in no order: its run, its number there and that of its parent, its seed (-1: not known), its
-- source, its share of a full training, its outcome (higher is better) and its gain over the run's own baseline.
SELECT run, number, coalesce(parent_number, -1)::BIGINT AS parent, coalesce(seed, -1)::BIGINT AS seed,
    hash(source_id) >> 1 AS source, coalesce(fraction, 1.0)::DOUBLE AS fraction,
    CASE WHEN direction = 'higher' THEN metric ELSE -metric END AS outcome, gain
FROM experiments JOIN task_runs USING (run_id)
WHERE task = $task AND status = 'ok' AND gain IS NOT NULL AND config IS NOT NULL
    AND NOT coalesce(list_contains($exclude, match_id), false)
