-- The runs of each program that can be compared.
SELECT r.program_id, coalesce(p.name, r.program_id) AS name, p.words, p.generation, r.verified_gain AS gain,
    r.claimed_gain AS claimed
FROM scored_runs($task, $exclude) AS r LEFT JOIN programs AS p USING (program_id)
ORDER BY r.program_id, r.run_id
