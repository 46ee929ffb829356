-- Every experiment but the baseline with each directive that it cites.
SELECT run_id, number, source_id, status <> 'ok' AS failed, coalesce(device_seconds_charged, 0.0) AS seconds,
    unnest(list_distinct(directive_ids)) AS directive_id
FROM experiments
WHERE task = $task AND number > 0 AND status <> 'fault' AND NOT coalesce(list_contains($exclude, match_id), false)
