-- Finished runs of one program on one task, with what they claimed and what was verified; of its matches and its A/A arms.
SELECT run_id, claimed_gain, verified_gain FROM runs
WHERE task = $task AND program_id = $program AND state = 'finished' AND claimed_gain IS NOT NULL
    AND verified_gain IS NOT NULL AND NOT is_apart(purpose)
ORDER BY run_id
