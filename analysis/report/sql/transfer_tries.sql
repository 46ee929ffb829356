-- Mean gain of the experiments that cite a directive, per task; the figures above count a cached measurement once and
-- cap losses.
WITH tried AS (SELECT DISTINCT run_id, experiment_id, delta FROM edits WHERE delta IS NOT NULL),
cited AS (SELECT run_id, experiment_id, task, unnest(list_distinct(directive_ids)) AS directive_id FROM experiments)
SELECT task, directive_id, avg(delta) AS estimate, count(*) AS tries, count(DISTINCT run_id) AS runs
FROM cited JOIN tried USING (run_id, experiment_id) GROUP BY ALL ORDER BY directive_id, task
