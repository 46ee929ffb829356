-- Stock and its A/A twin in the opening race: mean gains of two arms of one program, and the error of their difference.
WITH arms AS (
    SELECT role = 'a/a' AS is_twin, count(*) AS n, avg(verified_gain ORDER BY run_id) AS mean,
        var_samp(verified_gain ORDER BY run_id) / count(*) AS error
    FROM verified_runs() WHERE task = $task AND purpose = 'race' AND program_id = stock_id() GROUP BY is_twin)
SELECT any_value(mean) FILTER (NOT is_twin) AS first, any_value(mean) FILTER (is_twin) AS second,
    min(n) AS runs, CASE WHEN count(error) = 2 THEN sqrt(sum(error)) END AS se
FROM arms HAVING count(*) = 2
