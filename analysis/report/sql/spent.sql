-- Where the device time went: what runs were charged, by what became of it, and what the arena paid. Charged counts
-- cached outcomes in full; spent is what this machine really did.
WITH used AS (
    SELECT CASE WHEN decision IN ('screen', 'replicate', 'confirm', 'baseline') THEN decision
            WHEN status <> 'ok' THEN 'failed' WHEN decision = 'keep' THEN 'keep' ELSE 'discard' END AS what,
        count(*) AS n, round(sum(device_seconds_charged), 6) AS charged, round(sum(device_seconds_spent), 6) AS spent
    FROM experiments WHERE status IS DISTINCT FROM 'fault' GROUP BY what)
SELECT what, n, coalesce(charged, 0.0) AS charged, coalesce(spent, 0.0) AS spent, 'run' AS payer FROM used
UNION ALL
SELECT 'forfeited', count(*) FILTER (forfeited > 0), coalesce(sum(forfeited ORDER BY run_id), 0.0), 0.0::DOUBLE, 'run' FROM runs
UNION ALL
SELECT 'sandbox', count(*) FILTER (sandbox > 0), coalesce(sum(sandbox ORDER BY run_id), 0.0),
    coalesce(sum(sandbox ORDER BY run_id), 0.0), 'run' FROM runs
UNION ALL
SELECT 'verification', count(*), NULL, coalesce(sum(device_seconds_spent ORDER BY run_id, seed), 0.0), 'arena'
FROM verifications
UNION ALL
SELECT 'shared baselines', count(*), NULL,
    coalesce(sum((record ->> 'device_seconds_spent')::DOUBLE ORDER BY place), 0.0), 'arena'
FROM events WHERE kind = 'baseline'
UNION ALL
SELECT 'harvest', count(*), NULL,
    coalesce(sum(device_seconds_spent ORDER BY stage, number), 0.0), 'arena'
FROM harvest_experiments GROUP BY search
UNION ALL
SELECT 'replays', count(*), NULL, coalesce(sum(device_seconds_spent ORDER BY ablation_id, seed, commits), 0.0), 'arena'
FROM replays
UNION ALL
SELECT 'audits', count(*), NULL, coalesce(sum(device_seconds_spent ORDER BY audit_id), 0.0), 'arena' FROM audits
ORDER BY payer, what
