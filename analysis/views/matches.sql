-- One row per match; a resumed match keeps its first record. direction: which way the metric is better.
-- That of an import is in the record itself; else it is a setting.
SELECT match_id, config, task, task_id, run_budget, hardware_class, stream, purpose, generation,
    coalesce(m.record ->> 'direction', config ->> 'direction', 'lower') AS direction,
    coalesce(m.record ->> 'metric', config ->> 'metric') AS metric, config ->> 'unit' AS unit, label,
    coalesce(e.state, 'running') AS state,
    coalesce(started_at, CASE WHEN purpose IS DISTINCT FROM 'import' THEN m.written_at END) AS started_at,
    CASE WHEN purpose IS DISTINCT FROM 'import' THEN e.written_at END AS ended_at
FROM recorded.match AS m LEFT JOIN recorded.match_ended AS e USING (match_id)
ORDER BY m.place
