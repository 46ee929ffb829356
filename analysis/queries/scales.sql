-- The tasks of the matches that select programs, in order, each with the gains of stock's runs and those of every other
-- program: on the task, or in a study over families on all its members. Matches that still run count where none has ended.
WITH members AS (
    SELECT unnest(map_entries(from_json(config -> 'families' -> 'members', '"MAP(VARCHAR, VARCHAR[])"')), recursive := true)
    FROM studies),
named AS (SELECT key AS family, unnest(value) AS task_id FROM members),
played AS (
    SELECT m.task, coalesce(m.unit, '') AS unit, n.family, coalesce(n.family, m.task) AS shared, r.program_id, r.run_id,
        r.started_at, r.match_id, r.arm_id, r.verified_gain AS gain
    FROM runs AS r JOIN matches AS m USING (match_id) LEFT JOIN named AS n ON n.task_id = m.task_id
    WHERE r.state = 'finished' AND r.verified_gain IS NOT NULL AND m.purpose IN ('race', 'generation', 'contest')
    QUALIFY m.state <> 'running' OR count(*) FILTER (m.state <> 'running') OVER (PARTITION BY shared) = 0),
gained AS (
    SELECT shared, program_id, list(gain ORDER BY run_id) AS gains FROM played GROUP BY ALL),
known AS (
    SELECT shared, coalesce(first(gains) FILTER (program_id = $stock), []) AS stock,
        coalesce(list(gains ORDER BY program_id) FILTER (program_id <> $stock), []) AS others
    FROM gained GROUP BY shared)
SELECT task, unit, family, stock, others
FROM (
    SELECT task, any_value(unit) AS unit, any_value(family) AS family, any_value(shared) AS shared,
        min(started_at) AS began, min(match_id) AS first_match
    FROM played GROUP BY task) JOIN known USING (shared)
ORDER BY began, first_match
