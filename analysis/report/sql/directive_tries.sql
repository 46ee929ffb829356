-- What trying each directive of this program did to the script: the experiments that cite it, kept or not, and how many
-- of them runs of search and confirmation kept. noise: SD of the untouched script's metric in these runs, of its
-- `trained` trainings. A directive may have a stronger row about having it (directive_credit).
WITH trained AS (
    SELECT r.task, e.*
    FROM runs AS r JOIN matches AS m USING (match_id) JOIN (SELECT * EXCLUDE (task) FROM experiments) AS e USING (run_id)
    WHERE e.fraction = 1 AND e.status <> 'fault' AND m.purpose IS DISTINCT FROM 'ablation' AND m.purpose IS DISTINCT FROM 'reserve'),
noise AS (
    SELECT task, stddev_samp(metric ORDER BY seed, metric) AS noise, count(*) AS trained
    FROM (SELECT DISTINCT task, seed, metric FROM trained WHERE number = 0 AND metric IS NOT NULL) GROUP BY task),
used AS (
    SELECT task, directive_id, count(*) AS tries, count(*) FILTER (decision = 'keep') AS kept
    FROM (SELECT task, decision, unnest(list_distinct(directive_ids)) AS directive_id FROM trained WHERE number > 0)
    GROUP BY ALL)
SELECT d.directive_id, d.kind, d.text, c.credit_id, c.method, c.design,
    c.estimate, c.low, c.high, c.n, c.q, c.unit, c.causal, c.task,
    coalesce(u.tries, 0) AS tries, coalesce(u.kept, 0) AS kept, s.noise, coalesce(s.trained, 0) AS trained
FROM directives AS d JOIN credit AS c ON c.directive_id = d.directive_id AND c.method = 'directive'
    LEFT JOIN used AS u ON u.directive_id = d.directive_id AND u.task = c.task
    LEFT JOIN noise AS s ON s.task = c.task
WHERE d.program_id = $program AND c.estimate IS NOT NULL
ORDER BY d.position, c.n DESC, c.credit_id
