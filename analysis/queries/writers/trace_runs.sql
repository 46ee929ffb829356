-- Ended runs of the search on some tasks, in matches of earlier generations: the runs that a writer of $generation may use.
SELECT r.run_id, r.task, r.match_id, r.program_id, coalesce(p.name, r.program_id) AS name, r.role, r.generation, r.run_seed, r.state,
    r.verified_gain, r.claimed_gain, r.verified_seeds, r.device_seconds_charged, r.device_seconds_budget, r.experiments,
    r.kept, r.reason
FROM runs AS r LEFT JOIN programs AS p ON p.program_id = r.program_id
WHERE list_contains($tasks, r.task) AND r.purpose IN ('race', 'generation') AND coalesce(r.generation, 0) < $generation
    AND r.state <> 'running'
ORDER BY list_position($tasks, r.task), coalesce(r.generation, 0) DESC, r.match_id, r.arm_id, r.run_id
