-- The values in which an experiment's config differs from the task's untouched source. $paths: JSON pointers of the
-- knobs, whose numbers are $knobs and whose values there are $base (NULL where it has none).
WITH held AS (
    SELECT run, number, unnest($knobs::BIGINT[]) AS knob, unnest($base::VARCHAR[]) AS base,
        unnest(json_extract(config, $paths::VARCHAR[])) AS value
    FROM experiments JOIN task_runs USING (run_id)
    WHERE task = $task AND status = 'ok' AND gain IS NOT NULL AND config IS NOT NULL
        AND coalesce(fraction, 1.0) = 1.0 AND NOT coalesce(list_contains($exclude, match_id), false))
SELECT run, number, knob, value::VARCHAR AS value FROM held
WHERE value IS NOT NULL AND value::VARCHAR IS DISTINCT FROM base
