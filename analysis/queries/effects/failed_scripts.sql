-- The settings of each script whose training failed, and those of the task's untouched one.
SELECT any_value(config)::VARCHAR AS config, (SELECT config::VARCHAR FROM experiments
    WHERE task = $task AND number = 0 AND config IS NOT NULL LIMIT 1) AS base
FROM experiments
WHERE task = $task AND status NOT IN ('ok', 'fault') AND config IS NOT NULL
    AND NOT coalesce(list_contains($exclude, match_id), false)
GROUP BY source_id ORDER BY source_id
