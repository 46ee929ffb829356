-- Stock and its A/A twin in the opening race: mean gains of two arms of one program, and the error of their difference.
WITH arms AS (
    SELECT role, count(*) AS n, avg(verified_gain ORDER BY run_id) AS mean,
        var_samp(verified_gain ORDER BY run_id) / count(*) AS error
    FROM runs
    WHERE task = $task AND purpose = 'race' AND role IN ('control', 'a/a') AND state = 'finished' AND verified_gain IS NOT NULL
    GROUP BY role)
SELECT any_value(mean) FILTER (role = 'control') AS first, any_value(mean) FILTER (role = 'a/a') AS second,
    min(n) AS runs, CASE WHEN count(error) = 2 THEN sqrt(sum(error)) END AS se
FROM arms HAVING count(*) = 2
