-- Every full experiment that ran: its run and its metric, signed so that more is better.
SELECT row_number() OVER (ORDER BY run_id, number) - 1 AS row,
    dense_rank() OVER (ORDER BY run_id) - 1 AS run,
    CASE WHEN direction = 'higher' THEN metric ELSE -metric END AS outcome, config
FROM experiments
WHERE task = $task AND status = 'ok' AND metric IS NOT NULL AND config IS NOT NULL
    AND coalesce(fraction, 1.0) = 1.0 AND NOT coalesce(list_contains($exclude, match_id), false)
ORDER BY row
