-- Stock and its A/A twin in the opening race: gains of two arms of one program.
SELECT role, count(*) AS n, avg(verified_gain ORDER BY run_id) AS mean, var_samp(verified_gain ORDER BY run_id) AS var
FROM runs
WHERE task = $task AND purpose = 'race' AND role IN ('control', 'a/a') AND verified_gain IS NOT NULL
GROUP BY role ORDER BY role DESC
