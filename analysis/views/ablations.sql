-- One row per planned ablation: what was to be switched off in which runs, written down before any of it was made.
-- Of several records of one ablation the last holds: more budget prolongs a design, it does not change it.
SELECT ablation_id, method, match_id, program_id, run_id, task, stream, factors, seeds, plan, planned_at
FROM recorded.ablation
ORDER BY place
