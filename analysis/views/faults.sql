-- Failures of our own infrastructure, in experiments and verifications: retried, never charged to a run.
SELECT run_id, reason, written_at, stream, seed
FROM recorded.fault
ORDER BY place
