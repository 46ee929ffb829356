-- All other matches, the latest first.
SELECT coalesce(nullif(m.label, ''), m.purpose) AS match, m.generation, s.task, s.name AS program, s.role, s.gain, s.low, s.high,
    m.unit, s.n AS runs, s.claimed AS claimed_gain, s.trust
FROM standings AS s JOIN matches AS m USING (match_id)
WHERE s.gain IS NOT NULL AND NOT list_contains($deciding, s.match_id) AND m.purpose NOT IN ('ablation', 'night')
ORDER BY m.started_at DESC, s.match_id, s.gain DESC, s.arm_id LIMIT 300
