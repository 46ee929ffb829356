-- The arms whose entry the host of a contest has declared void, and not taken back.
SELECT arm_id FROM (
    SELECT place, record ->> 'what' AS what, unnest(CAST(record -> 'arm_ids' AS VARCHAR[])) AS arm_id
    FROM events WHERE kind = 'act')
GROUP BY arm_id HAVING arg_max(what, place) = 'void'
