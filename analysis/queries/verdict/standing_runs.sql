-- Every run that plays in a match; void: the host of the contest has declared its entry void, and not taken it back.
SELECT *, arm_id IN (FROM void_arms()) AS void FROM runs
WHERE match_id IS NOT NULL
ORDER BY match_id, arm_id, run_id
