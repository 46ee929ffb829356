-- Every run that plays in a match, with the trust of its verification.
SELECT r.*, v.trust
FROM runs AS r LEFT JOIN (
    SELECT run_id, stream, string_agg(DISTINCT trust, '/' ORDER BY trust) AS trust FROM verifications GROUP BY ALL
) AS v ON v.run_id = r.run_id AND v.stream = r.score_stream
WHERE r.match_id IS NOT NULL
ORDER BY r.match_id, r.arm_id, r.run_id
