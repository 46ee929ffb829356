-- The standings of the matches of this report, the latest first; gains are verified, claimed is the runs' own claim.
SELECT s.match_id, m.label, m.purpose, m.generation, m.stream, s.task, m.unit, s.arm_id, s.program_id, s.name, s.role, s.n, s.runs,
    s.gain, s.se, s.low, s.high, s.claimed, s.rank_low, s.rank_high, s.words, s.trust, s.failed_seeds,
    s.device_seconds_charged
FROM standings AS s JOIN matches AS m USING (match_id)
WHERE list_contains($matches, s.match_id)
ORDER BY m.started_at DESC, s.match_id, s.gain IS NULL, s.gain DESC, s.arm_id
