-- The train.py that each search on a task ended with.
SELECT search, device_seconds_charged AS seconds, experiments, gain, low, high, n, trust FROM harvest WHERE task = $task
UNION ALL
SELECT b.role, r.device_seconds_charged + b.device_seconds_spent, r.experiments, b.gain, b.low, b.high, b.n, b.trust
FROM best_of AS b JOIN runs AS r USING (run_id) WHERE b.role = 'long-tpe' AND b.task = $task
ORDER BY search <> 'harvest', search
