-- Every match, oldest first; ended: arms with a gain, runs: runs begun.
SELECT m.match_id, m.label, m.purpose, m.generation, m.stream, m.task, m.task_id, m.direction, m.metric, m.unit,
    m.run_budget, m.hardware_class, m.state, m.started_at, m.ended_at, count(s.gain) AS ended,
    (SELECT count(*) FROM runs AS r WHERE r.match_id = m.match_id) AS runs
FROM matches AS m LEFT JOIN standings AS s USING (match_id)
GROUP BY ALL
ORDER BY m.started_at, m.match_id
