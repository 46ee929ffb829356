-- Best-of-N: the best script of an arm's runs by what they saw, trained again with fresh seeds; not used for ranking.
SELECT b.match_id, b.arm_id, b.program_id, coalesce(p.name, b.program_id) AS name, b."of", b.gain, b.low, b.high,
    b.se, b.n, b.claimed_gain AS claimed, b.trust, b.device_seconds_spent, p.words
FROM best_of AS b LEFT JOIN programs AS p USING (program_id)
WHERE list_contains($matches, b.match_id)
ORDER BY b.gain DESC, b.arm_id
