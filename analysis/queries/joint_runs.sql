-- The runs of the joint model, numbered in the order of their ids.
SELECT run_id, row_number() OVER (ORDER BY run_id) - 1 AS run
FROM (
    SELECT DISTINCT run_id FROM experiments
    WHERE task = $task AND status = 'ok' AND gain IS NOT NULL AND config IS NOT NULL
        AND coalesce(fraction, 1.0) = 1.0 AND NOT coalesce(list_contains($exclude, match_id), false))
