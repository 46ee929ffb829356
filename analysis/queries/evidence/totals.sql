-- What the evidence rests on.
SELECT count(*) AS runs, coalesce(sum(experiments), 0)::BIGINT AS experiments
FROM runs
WHERE task = $task AND NOT coalesce(list_contains($exclude, match_id), false)
