-- How many experiments there are, by what became of them.
SELECT coalesce(decision, 'undecided') AS decision, coalesce(status, 'unknown') AS status, count(*) AS n
FROM experiments
GROUP BY ALL
ORDER BY decision, status
