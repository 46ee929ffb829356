-- The turns of a night: device time up to the end of each, whose it was, the metric of `main` after it (the mean over
-- its seeds up to then), and the change that it kept; start: the metric of the untouched script.
SELECT t.run_id, t.number, p.name AS program, t.seconds, t.gain, left(k.description, 120) AS change,
    avg(m.metric ORDER BY m.number) AS metric,
    (SELECT avg(u.metric) FROM experiments AS u JOIN experiments AS b ON b.run_id = u.run_id AND b.source_id = u.source_id AND b.number = 0
        WHERE u.run_id = t.run_id AND u.number < (SELECT min(first_experiment) FROM night_turns AS n WHERE n.run_id = t.run_id)) AS start
FROM (SELECT *, sum(device_seconds_charged) OVER (PARTITION BY run_id ORDER BY number) AS seconds FROM night_turns) AS t
    JOIN programs AS p USING (program_id)
    JOIN experiments AS e ON e.run_id = t.run_id AND e.number = t.main
    JOIN experiments AS m ON m.run_id = t.run_id AND m.source_id = e.source_id AND m.status = 'ok'
        AND coalesce(m.fraction, 1.0) >= 1 AND m.number < t.first_experiment + t.experiments
    LEFT JOIN experiments AS k ON k.run_id = t.run_id AND k.number = t.kept
GROUP BY ALL
ORDER BY t.run_id, t.number
