-- The value of every knob in the task's untouched source (the first baseline there is).
SELECT key AS knob, value::VARCHAR AS value FROM (
    SELECT unnest(map_entries(from_json(config, '"MAP(VARCHAR, JSON)"')), recursive := true)
    FROM (SELECT config FROM experiments WHERE task = $task AND number = 0 AND config IS NOT NULL LIMIT 1))
