-- Helper of the views below: what is known of a run when it starts; a resumed run keeps its first record.
-- When an imported run started is not known.
SELECT place, run_id, match_id, arm_id, s.program_id, coalesce(s.task, m.task) AS task, run_seed,
    coalesce(s.stream, m.stream) AS stream, researcher, device_seconds_budget, role, names,
    coalesce(record ->> 'direction', m.direction, 'lower') AS direction, m.purpose, m.generation,
    CASE WHEN record ->> 'import_id' IS NULL THEN written_at END AS started_at
FROM recorded.run_started AS s LEFT JOIN matches AS m USING (match_id) LEFT JOIN arms USING (match_id, arm_id)
ORDER BY place
