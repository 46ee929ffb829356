-- One row per arm of a match and constraint of its task: the values of the runs' final sources, from their verifications.
-- broken: those beyond the limit; of a hard constraint they count as failed.
WITH limits AS (
    SELECT match_id, task, unnest(from_json(config -> 'constraints', '[{"name": "VARCHAR", "kind": "VARCHAR",
        "unit": "VARCHAR", "hard": "BOOLEAN", "at_most": "DOUBLE", "at_least": "DOUBLE"}]'), recursive := true)
    FROM matches WHERE (config -> 'constraints') IS NOT NULL),
measured AS (
    SELECT v.match_id, v.arm_id, one.key AS name, CAST(one.value AS DOUBLE) AS value
    FROM verifications AS v, json_each(v.constraints) AS one WHERE v.constraints IS NOT NULL)
SELECT l.match_id, l.task, a.arm_id, a.program_id, a.role, l.name, l.kind, l.unit, l.hard, l.at_most, l.at_least,
    avg(value) AS mean, min(value) AS least, max(value) AS most, count(value) AS n,
    count(*) FILTER (value > l.at_most OR value < l.at_least) AS broken
FROM limits AS l JOIN arms AS a USING (match_id) LEFT JOIN measured AS m USING (match_id, arm_id, name)
GROUP BY ALL
ORDER BY l.match_id, l.name, a.arm_id
