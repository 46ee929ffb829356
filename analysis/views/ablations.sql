-- One row per planned ablation: what was to be switched off in which runs, written down before any of it was made.
-- Of several records of one ablation the last holds: more budget prolongs a design, it does not change it.
SELECT ablation_id, method, match_id, program_id, run_id, task, stream, factors, seeds, plan, planned_at
FROM (
    SELECT place, record -> 'plan' AS plan, unnest(from_json(record, '{
        "ablation_id": "VARCHAR", "method": "VARCHAR", "match_id": "VARCHAR", "program_id": "VARCHAR",
        "run_id": "VARCHAR", "task": "VARCHAR", "stream": "VARCHAR", "factors": ["VARCHAR"], "seeds": "BIGINT",
        "planned_at": "TIMESTAMP"}'))
    FROM events WHERE kind = 'ablation')
QUALIFY row_number() OVER (PARTITION BY ablation_id ORDER BY place DESC) = 1
ORDER BY place
