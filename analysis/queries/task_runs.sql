-- The runs of the task, numbered in the order of their ids.
SELECT run_id, place, row_number() OVER (ORDER BY run_id) - 1 AS run FROM run_starts WHERE task = $task
