-- Every run that plays in a match; void: the host of the contest has declared its entry void, and not taken it back.
WITH acts AS (
    SELECT place, record ->> 'what' AS what, unnest(CAST(record -> 'arm_ids' AS VARCHAR[])) AS arm_id
    FROM events WHERE kind = 'act'
), void AS (
    SELECT arm_id FROM acts GROUP BY arm_id HAVING arg_max(what, place) = 'void'
)
SELECT *, arm_id IN (SELECT arm_id FROM void) AS void FROM runs
WHERE match_id IS NOT NULL
ORDER BY match_id, arm_id, run_id
