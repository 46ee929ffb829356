-- The knobs that experiments that ran hold, a list for each set of them that occurs; nearly all have those of the first.
WITH first_told AS (
    SELECT json_keys(config) AS keys FROM experiments WHERE task = $task AND number = 0 AND config IS NOT NULL LIMIT 1)
FROM first_told
UNION ALL
SELECT DISTINCT json_keys(config) FROM experiments
WHERE task = $task AND status = 'ok' AND gain IS NOT NULL AND config IS NOT NULL
    AND json_keys(config) IS DISTINCT FROM (SELECT keys FROM first_told)
