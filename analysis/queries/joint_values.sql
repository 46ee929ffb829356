-- The values in which an experiment's config differs from the task's untouched source (the first baseline there is).
WITH baseline AS (
    SELECT unnest(map_entries(from_json(config, '"MAP(VARCHAR, JSON)"')), recursive := true)
    FROM (SELECT config FROM experiments WHERE task = $task AND number = 0 AND config IS NOT NULL LIMIT 1)),
held AS (
    SELECT row, unnest(map_entries(from_json(config, '"MAP(VARCHAR, JSON)"')), recursive := true) FROM joint_rows)
SELECT h.row, lower(h.key) AS key, h.value AS value_json
FROM held AS h LEFT JOIN baseline AS b ON lower(b.key) = lower(h.key)
WHERE h.value::VARCHAR IS DISTINCT FROM b.value::VARCHAR
