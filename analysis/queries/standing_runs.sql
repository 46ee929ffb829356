-- Every run that plays in a match.
SELECT * FROM runs
WHERE match_id IS NOT NULL
ORDER BY match_id, arm_id, run_id
