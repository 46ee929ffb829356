-- The values in which an experiment's config differs from the task's untouched source (the first baseline there is).
-- id numbers the (key, value_json) pairs, so that the many rows are integers.
WITH baseline AS (
    SELECT unnest(map_entries(from_json(config, '"MAP(VARCHAR, JSON)"')), recursive := true)
    FROM (SELECT config FROM experiments WHERE task = $task AND number = 0 AND config IS NOT NULL LIMIT 1)),
held AS (
    SELECT row, unnest(map_entries(from_json(config, '"MAP(VARCHAR, JSON)"')), recursive := true) FROM joint_rows)
SELECT h.row, h.key, h.value AS value_json, dense_rank() OVER (ORDER BY h.key, h.value::VARCHAR) - 1 AS id
FROM held AS h LEFT JOIN baseline AS b ON b.key = h.key
WHERE h.value::VARCHAR IS DISTINCT FROM b.value::VARCHAR
