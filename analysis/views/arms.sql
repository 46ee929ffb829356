-- One row per arm of a match: which program plays there, and as what.
WITH listed AS (
    SELECT place, match_id, unnest(from_json(arms,
        '[{"arm_id": "VARCHAR", "program_id": "VARCHAR", "role": "VARCHAR", "names": "VARCHAR"}]'), recursive := true)
    FROM recorded.match)
SELECT match_id, arm_id, program_id, role, names
FROM listed
QUALIFY row_number() OVER (PARTITION BY match_id, arm_id ORDER BY place) = 1
ORDER BY place, arm_id
