-- The runs to draw, those of the deciding matches first, up to $points experiments in all; with what each experiment came
-- to: b baseline, k kept or a log's new best, d discarded, u not resolved, x failed, r measured again, s a shortened training. line: of
-- a log.
WITH ordered AS (
    SELECT *, sum(experiments) OVER (ORDER BY place) AS so_far FROM (
        SELECT *, row_number() OVER (ORDER BY NOT list_contains($deciding, match_id), verified_gain DESC NULLS LAST,
            claimed_gain DESC NULLS LAST, run_id) AS place
        FROM runs WHERE experiments > 1)),
chosen AS (SELECT * FROM ordered WHERE place = 1 OR (so_far <= $points AND place <= 48)),
drawn AS (
    SELECT e.run_id, list({'number': e.number, 'line': line, 'metric': metric, 'what': left(description, 120), 'letter':
            CASE WHEN e.number = 0 OR decision = 'baseline' THEN 'b' WHEN status <> 'ok' OR metric IS NULL THEN 'x'
            WHEN decision = 'screen' OR fraction <> 1 THEN 's' WHEN decision IN ('replicate', 'confirm') THEN 'r'
            WHEN decision = 'keep' OR step_gain IS NOT NULL THEN 'k' WHEN decision = 'undecided' THEN 'u' ELSE 'd' END} ORDER BY e.number) AS points
    FROM experiments AS e LEFT JOIN import_rows AS l ON l.run_id = e.run_id AND l.experiment_id = e.experiment_id
    WHERE e.run_id IN (SELECT run_id FROM chosen) GROUP BY e.run_id),
ended AS (
    SELECT run_id, avg(metric) AS final FROM verifications SEMI JOIN chosen USING (run_id) GROUP BY run_id)
SELECT coalesce(c.name, i.name, c.program_id) AS program, left(c.run_id, 7) AS run, c.run_id AS id, c.role, c.experiments, c.kept,
    c.claimed_gain, c.verified_gain, c.trust, c.task, c.direction, coalesce(m.metric, i.metric, 'metric') AS metric,
    list_contains($deciding, c.match_id) AS deciding, coalesce(n.sd, i.noise_sd) AS sd, e.final, d.points
FROM chosen AS c JOIN drawn AS d USING (run_id) LEFT JOIN ended AS e USING (run_id) LEFT JOIN matches AS m USING (match_id)
    LEFT JOIN imports AS i ON i.run_id = c.run_id LEFT JOIN seed_noise() AS n ON n.task = c.task
ORDER BY c.place
