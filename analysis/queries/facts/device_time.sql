-- Where the device time went: what runs were charged, by what became of it, and what the arena paid. Charged counts
-- cached outcomes in full; spent is what this machine really did.
device_time() AS TABLE
WITH used AS (
    SELECT CASE decision WHEN 'screen' THEN 'screens (shortened trainings)' WHEN 'replicate' THEN 'repeats with other seeds'
            WHEN 'confirm' THEN 're-measurements inside runs' WHEN 'baseline' THEN 'untouched script, once per run'
            ELSE CASE WHEN status <> 'ok' THEN 'experiments that failed' WHEN decision = 'keep' THEN
            'experiments that were kept' WHEN decision = 'undecided' THEN 'experiments that were not resolved'
            ELSE 'experiments that were discarded' END END AS what,
        count(*) AS n, round(sum(device_seconds_charged), 6) AS charged, round(sum(device_seconds_spent), 6) AS spent
    FROM experiments WHERE status IS DISTINCT FROM 'fault' AND device_seconds_spent IS NOT NULL GROUP BY what)
SELECT what, n AS times, coalesce(charged, 0.0) AS charged_seconds, coalesce(spent, 0.0) AS spent_seconds, 'run' AS paid_by
FROM used
UNION ALL
SELECT 'unused rest of the budgets', count(*) FILTER (forfeited > 0), coalesce(sum(forfeited ORDER BY run_id), 0.0), 0.0::DOUBLE, 'run' FROM runs
UNION ALL
SELECT 'agents'' own processes', count(*) FILTER (sandbox > 0), coalesce(sum(sandbox ORDER BY run_id), 0.0),
    coalesce(sum(sandbox ORDER BY run_id), 0.0), 'run' FROM runs
UNION ALL
SELECT 'verification of the final scripts', count(*), NULL, coalesce(sum(device_seconds_spent ORDER BY run_id, seed), 0.0), 'arena'
FROM verifications
UNION ALL
SELECT 'shared baselines', count(*), NULL,
    coalesce(sum((record ->> 'device_seconds_spent')::DOUBLE ORDER BY place), 0.0), 'arena'
FROM events WHERE kind = 'baseline'
UNION ALL
SELECT 'last search for a train.py', count(*), NULL,
    coalesce(sum(device_seconds_spent ORDER BY stage, number), 0.0), 'arena'
FROM harvest_experiments GROUP BY search
UNION ALL
SELECT 'kept commits, trained again', count(*), NULL, coalesce(sum(device_seconds_spent ORDER BY ablation_id, seed, commits), 0.0), 'arena'
FROM replays
UNION ALL
SELECT 'audits (metaloop verify)', count(*), NULL, coalesce(sum(device_seconds_spent ORDER BY audit_id), 0.0), 'arena' FROM audits
