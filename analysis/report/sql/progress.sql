-- The gain of each run whose final script was trained again, in the order of the matches and their programs.
SELECT r.run_id, coalesce(m.label, m.purpose) AS stage, r.program_id, coalesce(r.name, r.program_id) AS program,
    r.verified_gain AS gain, coalesce(m.unit, '') AS unit
FROM runs AS r JOIN matches AS m USING (match_id)
WHERE r.verified_gain IS NOT NULL AND r.state = 'finished' AND m.purpose NOT IN ('ablation', 'reserve', 'night')
ORDER BY m.started_at, r.match_id, min(r.started_at) OVER (PARTITION BY r.arm_id), r.arm_id, r.run_id
