-- Programs with their mean gain over the finished runs of the search. Over several tasks, gains are divided by
-- each task's scale; over families, whose tasks change from stage to stage, it is 1 plus the mean lead over stock on the
-- same tasks, and the error is that between tasks or that between runs, whichever is larger. The error between runs is
-- unknown where a task has one run. df: degrees of freedom of the error.
program_scores(stock) AS TABLE
WITH of_tasks AS (SELECT count(*) AS tasks, count(family) > 0 AS families FROM scales),
on_tasks AS (
    SELECT program_id, task, count(*) AS n, avg(verified_gain ORDER BY run_id) / coalesce(any_value(size), 1) AS gain,
        var_samp(verified_gain) / count(*) / coalesce(any_value(size), 1) ^ 2 AS error
    FROM runs LEFT JOIN (SELECT task, size FROM scales, of_tasks WHERE tasks > 1) USING (task)
    WHERE state = 'finished' AND verified_gain IS NOT NULL AND score_stream = 'selection'
        AND purpose IS DISTINCT FROM 'ablation'
    GROUP BY program_id, task),
compared AS (
    SELECT o.program_id, o.task, o.n, o.gain, o.gain - s.gain AS over_stock, tasks, families,
        if(families AND o.program_id <> s.program_id, o.error + s.error, o.error) AS error
    FROM on_tasks AS o LEFT JOIN (FROM on_tasks WHERE program_id = stock) AS s USING (task), of_tasks),
scores AS (
    SELECT program_id, sum(n)::BIGINT AS n, count(*) AS on_tasks, any_value(tasks) AS tasks,
        any_value(families) AS families, avg(gain ORDER BY task) AS gain, avg(over_stock ORDER BY task) AS over_stock,
        stddev_samp(over_stock) / sqrt(count(*)) AS between_tasks,
        if(count(error) = count(*), sqrt(sum(error ORDER BY task)) / count(*), NULL) AS between_runs
    FROM compared GROUP BY program_id)
SELECT program_id, n, if(families, 1 + over_stock, gain) AS gain,
    if(families, greatest(between_tasks, between_runs), between_runs) AS se,
    if(families, on_tasks - 1, n - on_tasks) AS df
FROM scores WHERE on_tasks >= tasks OR families
