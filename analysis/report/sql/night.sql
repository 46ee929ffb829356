-- The turns of a night: device time when the first experiment of each ended, whose it was, and the metric of `main` after it (the mean over its
-- seeds up to then).
WITH costs AS (
    SELECT run_id, number, sum(device_seconds_charged) OVER (PARTITION BY run_id ORDER BY number) AS spent
    FROM experiments),
mains AS (
    SELECT run_id, source_id, avg(metric ORDER BY number) AS metric FROM experiments
    WHERE status = 'ok' AND coalesce(fraction, 1.0) >= 1 GROUP BY ALL)
SELECT t.number, p.name AS program, c.spent AS seconds, m.metric, t.gain, t.kept IS NOT NULL AS kept,
    left(k.description, 120) AS change
FROM night_turns AS t
    JOIN costs AS c ON c.run_id = t.run_id AND c.number = t.first_experiment
    JOIN experiments AS e ON e.run_id = t.run_id AND e.number = t.main
    JOIN mains AS m ON m.run_id = e.run_id AND m.source_id = e.source_id
    LEFT JOIN experiments AS k ON k.run_id = t.run_id AND k.number = t.kept
    JOIN programs AS p ON p.program_id = t.program_id
WHERE t.experiments > 0
ORDER BY t.run_id, t.number
