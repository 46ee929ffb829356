-- Programs with their mean gain over the finished runs of the search. Over several tasks, gains are divided by
-- each task's scale; over families, whose tasks change from stage to stage, it is 1 plus the mean lead over stock on the
-- same tasks, and the error is that between tasks or that between runs, whichever is larger.
program_scores(stock) AS TABLE
WITH of_tasks AS (SELECT count(*) AS tasks, count(family) > 0 AS families FROM scales),
on_tasks AS (
    SELECT program_id, task, count(*) AS n, avg(verified_gain ORDER BY run_id) / coalesce(any_value(size), 1) AS gain,
        var_samp(verified_gain) / count(*) / coalesce(any_value(size), 1) ^ 2 AS error
    FROM runs LEFT JOIN (SELECT task, size FROM scales, of_tasks WHERE tasks > 1) USING (task)
    WHERE state = 'finished' AND verified_gain IS NOT NULL AND score_stream = 'selection'
        AND purpose IS DISTINCT FROM 'ablation'
    GROUP BY program_id, task)
SELECT o.program_id, sum(o.n)::BIGINT AS n,
    if(any_value(families), 1 + avg(o.gain - s.gain ORDER BY task), avg(o.gain ORDER BY task)) AS gain,
    if(any_value(families), greatest(coalesce(stddev_samp(o.gain - s.gain) / sqrt(count(*)), 0),
        sqrt(sum(o.error + if(o.program_id = s.program_id, 0, s.error) ORDER BY task)) / count(*)),
        sqrt(sum(o.error ORDER BY task)) / count(*)) AS se
FROM on_tasks AS o LEFT JOIN (FROM on_tasks WHERE program_id = stock) AS s USING (task), of_tasks
GROUP BY o.program_id HAVING count(*) >= any_value(tasks) OR any_value(families)
