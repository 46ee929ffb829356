-- Finished, verified runs per program, at the budget and on the hardware of the latest match on the task: only those
-- can be compared.
WITH latest AS (
    SELECT m.run_budget, m.hardware_class FROM runs AS r JOIN matches AS m USING (match_id)
    WHERE r.task = $task AND NOT coalesce(list_contains($exclude, r.match_id), false)
    ORDER BY m.started_at DESC LIMIT 1)
SELECT r.program_id, coalesce(p.name, r.program_id) AS name, p.words, p.generation, r.verified_gain AS gain,
    r.claimed_gain AS claimed
FROM runs AS r JOIN matches AS m USING (match_id)
    JOIN latest AS l ON l.run_budget IS NOT DISTINCT FROM m.run_budget
        AND l.hardware_class IS NOT DISTINCT FROM m.hardware_class
    LEFT JOIN programs AS p ON p.program_id = r.program_id
WHERE r.task = $task AND r.state = 'finished' AND r.verified_gain IS NOT NULL
    AND NOT coalesce(list_contains($exclude, r.match_id), false)
ORDER BY r.program_id, r.run_id
