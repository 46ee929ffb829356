-- The values of these knobs in the task's untouched source (the first baseline there is).
SELECT json_extract(config, $paths::VARCHAR[])::VARCHAR[] AS base
FROM (SELECT config FROM experiments WHERE task = $task AND number = 0 AND config IS NOT NULL LIMIT 1)
