-- Runs of the task whose kept commits were planned to be trained again.
SELECT a.ablation_id, a.run_id, r.program_id, a.factors, a.plan::JSON AS plan
FROM ablations AS a JOIN run_starts AS r USING (run_id)
WHERE a.method = 'replay' AND a.task = $task AND NOT coalesce(list_contains($exclude, r.match_id), false)
ORDER BY a.run_id
