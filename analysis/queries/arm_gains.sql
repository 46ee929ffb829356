-- Verified gains per arm of each match, and what such a run cost with its verification, in device-seconds.
WITH checked AS (
    SELECT run_id, sum(device_seconds_spent ORDER BY seed) AS spent FROM verifications GROUP BY run_id)
SELECT r.match_id, m.task, m.purpose, m.generation, m.stream, m.run_budget, m.hardware_class, m.unit,
    r.arm_id, r.program_id, any_value(r.name) AS name, any_value(r.role) AS role,
    list(r.verified_gain ORDER BY r.run_id) AS gains,
    sum(r.device_seconds_charged + coalesce(c.spent, 0.0) ORDER BY r.run_id) AS device_seconds
FROM runs AS r JOIN matches AS m USING (match_id) LEFT JOIN checked AS c USING (run_id)
WHERE r.state = 'finished' AND r.verified_gain IS NOT NULL
GROUP BY ALL
ORDER BY min(r.started_at), r.match_id, r.arm_id
