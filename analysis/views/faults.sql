-- Failures of our own infrastructure: retried, never charged to a run.
SELECT run_id, record ->> 'reason' AS reason, written_at
FROM events WHERE kind = 'fault'
ORDER BY place
