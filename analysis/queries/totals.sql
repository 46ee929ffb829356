-- What the evidence rests on.
SELECT count(*) AS runs, coalesce(sum(experiments), 0)::BIGINT AS experiments,
    coalesce(sum(device_seconds_charged ORDER BY run_id), 0.0) AS device_seconds, list(DISTINCT trust) AS trusts
FROM runs
WHERE task = $task AND NOT coalesce(list_contains($exclude, match_id), false)
