-- The matches that the verdict is made from, or the last match.
SELECT s.name AS program, s.role, s.gain, s.low, s.high, s.n AS runs, s.claimed AS claimed_gain, s.words,
    s.device_seconds_charged AS device_seconds, s.trust, s.task, m.unit, s.arm_id AS id,
    CASE WHEN m.purpose IN ('confirmation', 'reserve') THEN '' WHEN s.rank_low = s.rank_high
        THEN s.rank_low::VARCHAR ELSE s.rank_low || '–' || s.rank_high END AS ranks
FROM standings AS s JOIN matches AS m USING (match_id)
WHERE s.gain IS NOT NULL AND list_contains($deciding, s.match_id) AND m.purpose NOT IN ('ablation', 'night')
ORDER BY s.task, s.gain DESC, s.arm_id
