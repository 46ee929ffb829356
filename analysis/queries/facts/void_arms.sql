-- The arms whose entry the host of a contest has declared void, and not taken back.
void_arms() AS TABLE
WITH acts AS (
    SELECT place, record ->> 'what' AS what, unnest(CAST(record -> 'arm_ids' AS VARCHAR[])) AS arm_id
    FROM events WHERE kind = 'act')
SELECT arm_id FROM acts GROUP BY arm_id HAVING arg_max(what, place) = 'void'
