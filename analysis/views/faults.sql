-- Failures of our own infrastructure, in experiments and verifications: retried, never charged to a run.
SELECT run_id, record ->> 'reason' AS reason, written_at, record ->> 'stream' AS stream,
    (record ->> 'seed')::BIGINT AS seed
FROM events WHERE kind = 'fault'
ORDER BY place
