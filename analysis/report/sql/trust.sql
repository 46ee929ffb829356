-- How far the scores can be trusted, by what they are for.
SELECT 'experiment' AS what, coalesce(trust, 'unknown') AS trust, count(*) AS n FROM experiments GROUP BY ALL
UNION ALL
SELECT 'verification', coalesce(trust, 'unknown'), count(*) FROM verifications
WHERE status = 'ok' OR trust = 'unverified' GROUP BY ALL
ORDER BY what, trust
