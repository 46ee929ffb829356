-- The final sources with the best claims on a task, a run that ended with each; without runs that only measure stock's.
SELECT final_source_id, min(run_id) AS run_id, avg(claimed_gain ORDER BY run_id) AS claimed
FROM runs
WHERE task = $task AND state = 'finished' AND claimed_gain IS NOT NULL
    AND purpose IS DISTINCT FROM 'ablation'
GROUP BY final_source_id
ORDER BY claimed DESC, final_source_id
LIMIT $most
