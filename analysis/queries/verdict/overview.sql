-- What there is, and what it cost. Seconds spent are on this machine's clock of device time, cached outcomes at 0.
SELECT
    (SELECT count(*) FROM runs) AS runs,
    (SELECT count(*) FROM runs WHERE state = 'finished') AS finished,
    (SELECT count(*) FROM runs WHERE verified_gain IS NOT NULL) AS verified,
    (SELECT count(*) FROM programs WHERE coalesce(operator, '') NOT IN ('without-ideas', 'ablation')
        AND program_id IN (SELECT program_id FROM arms)) AS programs, -- that were run
    (SELECT coalesce(sum(experiments), 0)::BIGINT FROM runs) AS experiments,
    (SELECT coalesce(sum(kept), 0)::BIGINT FROM runs) AS kept,
    (SELECT coalesce(sum(device_seconds_spent ORDER BY run_id), 0.0) FROM runs) AS research_seconds,
    (SELECT coalesce(sum(device_seconds_spent ORDER BY run_id, seed), 0.0) FROM verifications)
        + coalesce((SELECT sum((record ->> 'device_seconds_spent')::DOUBLE ORDER BY place) FROM events
            WHERE kind = 'baseline'), 0.0)
        + (SELECT coalesce(sum(device_seconds_spent ORDER BY task, search, stage, number), 0.0) FROM harvest_experiments)
        + (SELECT coalesce(sum(device_seconds_spent ORDER BY audit_id), 0.0) FROM audits)
        + (SELECT coalesce(sum(device_seconds_spent ORDER BY ablation_id, seed, commits), 0.0) FROM replays) AS verification_seconds,
    (SELECT sum(device_seconds_charged ORDER BY run_id) FROM runs) AS charged_seconds,
    (SELECT sum(tokens)::BIGINT FROM runs) AS tokens,
    (SELECT sum(usd ORDER BY run_id) FROM runs) AS usd,
    (SELECT sum(tokens)::BIGINT FROM mutations) AS mutation_tokens,
    (SELECT sum(usd ORDER BY generation, attempt) FROM mutations) AS mutation_usd,
    (SELECT min(started_at) FROM runs) AS first_run_at,
    (SELECT max(coalesce(ended_at, started_at)) FROM runs) AS last_run_at
