-- Helper of the views below: what is known of a run when it starts; a resumed run keeps its first record.
-- When an imported run started is not known.
WITH recorded AS (
    SELECT place, written_at, unnest(from_json(record, '{
        "run_id": "VARCHAR", "match_id": "VARCHAR", "arm_id": "VARCHAR", "program_id": "VARCHAR", "task": "VARCHAR",
        "run_seed": "BIGINT", "stream": "VARCHAR", "researcher": "VARCHAR", "device_seconds_budget": "DOUBLE",
        "direction": "VARCHAR", "import_id": "VARCHAR"}'))
    FROM events WHERE kind = 'run_started'
    QUALIFY row_number() OVER (PARTITION BY record ->> 'run_id' ORDER BY place) = 1)
SELECT place, run_id, match_id, arm_id, recorded.program_id, coalesce(recorded.task, m.task) AS task, run_seed,
    coalesce(recorded.stream, m.stream) AS stream, researcher, device_seconds_budget, role, names,
    coalesce(recorded.direction, m.direction, 'lower') AS direction, m.purpose, m.generation,
    CASE WHEN import_id IS NULL THEN written_at END AS started_at
FROM recorded LEFT JOIN matches AS m USING (match_id) LEFT JOIN arms USING (match_id, arm_id)
ORDER BY place
