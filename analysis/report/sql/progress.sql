-- The gain of each run whose final script was trained again, in the order of the matches and their programs.
SELECT run_id, coalesce(label, purpose) AS stage, program_id, coalesce(name, program_id) AS program,
    verified_gain AS gain, coalesce(unit, '') AS unit
FROM verified_runs() WHERE purpose NOT IN ('ablation', 'reserve', 'night')
ORDER BY match_started_at, match_id, min(started_at) OVER (PARTITION BY arm_id), arm_id, run_id
