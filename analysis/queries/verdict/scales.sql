-- The tasks of the matches that select programs, in order, each with those programs and the gains of their runs. Matches
-- that still run count where none has ended.
WITH played AS (
    SELECT r.*, m.state AS match_state FROM verified_runs() AS r JOIN matches AS m USING (match_id)
    WHERE list_contains($selecting, m.purpose)
    QUALIFY m.state <> 'running' OR count(*) FILTER (m.state <> 'running') OVER (PARTITION BY m.task) = 0),
gained AS (
    SELECT task, any_value(unit) AS unit, program_id, list(verified_gain ORDER BY run_id) AS gains,
        min(started_at) AS began, min(match_id) AS first_match
    FROM played GROUP BY task, program_id)
SELECT task, any_value(unit) AS unit, list(program_id ORDER BY program_id) AS programs,
    list(gains ORDER BY program_id) AS gains
FROM gained GROUP BY task ORDER BY min(began), min(first_match)
