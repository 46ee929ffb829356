-- One row per match; a resumed match keeps its first record. direction: which way the metric is better.
WITH recorded AS (
    SELECT place, written_at, unnest(from_json(record, '{
        "match_id": "VARCHAR", "config": "JSON", "task": "VARCHAR", "task_id": "VARCHAR", "run_budget": "DOUBLE",
        "hardware_class": "VARCHAR", "stream": "VARCHAR", "purpose": "VARCHAR", "generation": "BIGINT",
        "direction": "VARCHAR", "label": "VARCHAR", "metric": "VARCHAR", "started_at": "TIMESTAMP"}'))
    FROM events WHERE kind = 'match'),
ended AS (
    SELECT record ->> 'match_id' AS match_id, last(record ->> 'state' ORDER BY place) AS state,
        last(written_at ORDER BY place) AS ended_at
    FROM events WHERE kind = 'match_ended' GROUP BY ALL)
SELECT match_id, config, task, task_id, run_budget, hardware_class, stream, purpose, generation,
    coalesce(direction, config ->> 'direction', 'lower') AS direction,
    coalesce(metric, config ->> 'metric') AS metric, config ->> 'unit' AS unit, label,
    coalesce(state, 'running') AS state,
    coalesce(started_at, CASE WHEN purpose IS DISTINCT FROM 'import' THEN written_at END) AS started_at,
    CASE WHEN purpose IS DISTINCT FROM 'import' THEN ended_at END AS ended_at
FROM recorded LEFT JOIN ended USING (match_id)
QUALIFY row_number() OVER (PARTITION BY match_id ORDER BY place) = 1
ORDER BY place
