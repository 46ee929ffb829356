-- The values in which experiments that ran differ from the task's untouched source. $paths: JSON pointers of the
-- knobs, whose numbers are $knobs and whose values there are $base (NULL where it has none). run: place in run_starts.
WITH held AS (
    SELECT r.place AS run, e.number, unnest($knobs::BIGINT[]) AS knob, unnest($base::VARCHAR[]) AS base,
        unnest(json_extract(config, $paths::VARCHAR[])) AS value
    FROM experiments AS e JOIN run_starts AS r USING (run_id)
    WHERE e.task = $task AND status = 'ok' AND gain IS NOT NULL AND config IS NOT NULL)
SELECT run, number, knob, value::VARCHAR AS value FROM held
WHERE value IS NOT NULL AND value::VARCHAR IS DISTINCT FROM base
