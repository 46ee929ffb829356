-- The tasks of the matches that select programs, in order, each with the gains of stock's runs and those of every other
-- program there. Matches that still run count where none has ended.
WITH played AS (
    SELECT m.task, coalesce(m.unit, '') AS unit, r.program_id, r.run_id, r.started_at, r.match_id, r.verified_gain AS gain
    FROM verified_runs() AS r JOIN matches AS m USING (match_id)
    WHERE m.purpose IN ('race', 'generation', 'contest')
    QUALIFY m.state <> 'running' OR count(*) FILTER (m.state <> 'running') OVER (PARTITION BY m.task) = 0),
gained AS (SELECT task, program_id, list(gain ORDER BY run_id) AS gains FROM played GROUP BY ALL),
known AS (
    SELECT task, coalesce(first(gains) FILTER (program_id = stock_id()), []) AS stock,
        coalesce(list(gains ORDER BY program_id) FILTER (program_id <> stock_id()), []) AS others
    FROM gained GROUP BY task)
SELECT task, unit, stock, others
FROM (
    SELECT task, any_value(unit) AS unit, min(started_at) AS began, min(match_id) AS first_match
    FROM played GROUP BY task) JOIN known USING (task)
ORDER BY began, first_match
