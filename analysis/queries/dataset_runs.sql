-- Verified runs of every match that compares programs; without A/A arms.
SELECT match_id, task, purpose, program_id, run_seed, verified_gain AS gain
FROM runs
WHERE state = 'finished' AND verified_gain IS NOT NULL AND program_id IS NOT NULL
    AND purpose IS DISTINCT FROM 'ablation' AND role IS DISTINCT FROM 'a/a'
ORDER BY match_id, program_id, run_seed, run_id
