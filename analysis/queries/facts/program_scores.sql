-- Programs with their mean gain over the finished runs of the search. Over several tasks, gains are divided by
-- each task's scale. The error is unknown where a task has one run. df: degrees of freedom of the error.
program_scores() AS TABLE
WITH of_tasks AS (SELECT count(*) AS tasks FROM scales),
on_tasks AS (
    SELECT program_id, task, count(*) AS n, avg(verified_gain ORDER BY run_id) / coalesce(any_value(size), 1) AS gain,
        var_samp(verified_gain) / count(*) / coalesce(any_value(size), 1) ^ 2 AS error
    FROM verified_runs() LEFT JOIN (SELECT task, size FROM scales, of_tasks WHERE tasks > 1) USING (task)
    WHERE score_stream = 'selection' AND purpose IS DISTINCT FROM 'ablation'
    GROUP BY program_id, task)
SELECT program_id, sum(n)::BIGINT AS n, avg(gain ORDER BY task) AS gain,
    if(count(error) = count(*), sqrt(sum(error ORDER BY task)) / count(*), NULL) AS se, sum(n)::BIGINT - count(*) AS df
FROM on_tasks GROUP BY program_id HAVING count(*) >= (SELECT tasks FROM of_tasks)
