-- The directives that are cited, numbered, with the experiments of the runs that cite each.
WITH sizes AS (
    SELECT run_id, count(*) AS experiments FROM experiments
    WHERE task = $task AND number > 0 AND status <> 'fault' GROUP BY run_id),
held AS (SELECT DISTINCT directive_id, run_id FROM cited)
SELECT directive_id, sum(experiments)::BIGINT AS experiments, row_number() OVER (ORDER BY directive_id) - 1 AS id
FROM held JOIN sizes USING (run_id) GROUP BY directive_id
