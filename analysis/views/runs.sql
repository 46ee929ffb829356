-- One row per run. verified_gain: mean over the seeds of its verifications.
-- trust: the weakest of those that were scored at all, or ran unsandboxed; what was imported is self-reported.
-- (Sums are ordered, so that a resumed study gives the same bits whatever order its records came in.)
WITH begun AS (SELECT run_id, max(place) AS resumed FROM events WHERE kind = 'run_started' GROUP BY ALL),
ended AS (  -- of two ends of one run the first finished one counts, else the last, unless the run was resumed after it
    SELECT e.* FROM recorded.run_ended AS e LEFT JOIN begun USING (run_id) WHERE state = 'finished' OR (place < resumed) IS NOT TRUE
    QUALIFY row_number() OVER (PARTITION BY run_id ORDER BY coalesce(state, '') <> 'finished',
        CASE WHEN state = 'finished' THEN place ELSE -place END) = 1),
tried AS (
    SELECT run_id, count(*) AS experiments, count(*) FILTER (decision = 'keep') AS kept,
        sum(device_seconds_charged ORDER BY number) AS charged, sum(device_seconds_spent ORDER BY number) AS spent
    FROM experiments GROUP BY run_id),
called AS (  -- while a run is under way, and before its end was written
    SELECT run_id, count(*) AS calls, sum(tokens)::BIGINT AS tokens,
        CASE WHEN bool_and(usd IS NOT NULL) THEN sum(usd ORDER BY number) END AS usd
    FROM calls WHERE run_id IS NOT NULL GROUP BY run_id),
scored AS (
    SELECT run_id, any_value(stream) AS stream, avg(gain ORDER BY seed) AS gain, count(*) AS seeds,
        count(*) FILTER (status NOT IN ('ok', 'baseline')) AS failed,
        arg_min(nullif(trust, ''), coalesce(list_position(['unverified', 'self-reported', 'scored', 'verified'], trust), 0))
            FILTER (status = 'ok' OR trust = 'unverified') AS trust
    FROM verifications GROUP BY run_id)
SELECT run_id, match_id, arm_id, r.program_id, task, run_seed, r.stream, researcher,
    coalesce(state, 'running') AS state, device_seconds_budget,
    coalesce(ended.charged, tried.charged, CASE WHEN state IS DISTINCT FROM 'imported' THEN 0.0 END)
        AS device_seconds_charged,
    coalesce(ended.spent, tried.spent, CASE WHEN state IS DISTINCT FROM 'imported' THEN 0.0 END)
        AS device_seconds_spent,
    CASE WHEN ended.tokens IS NULL THEN called.tokens ELSE ended.tokens END AS tokens,
    CASE WHEN ended.tokens IS NULL THEN called.usd ELSE ended.usd END AS usd, claimed_best, scored.gain AS verified_gain, claimed_gain, scored.stream AS score_stream,
    coalesce(scored.seeds, 0) AS verified_seeds, coalesce(scored.failed, 0) AS failed_seeds,
    coalesce(tried.experiments, 0) AS experiments, coalesce(tried.kept, 0) AS kept,
    cached_seconds, forfeited, overshoot, final_source_id, wall_seconds, experiment_wall_seconds,
    coalesce(ended.calls, called.calls, 0) AS calls, reason,
    CASE WHEN wall_seconds > 0 THEN experiment_wall_seconds / wall_seconds END AS utilization,
    role, purpose, r.generation, direction, coalesce(names, name) AS name, words, r.started_at,
    CASE WHEN state IS DISTINCT FROM 'imported' THEN ended.written_at END AS ended_at,
    coalesce(scored.trust, CASE WHEN state = 'imported' THEN 'self-reported' END) AS trust, sandbox
FROM run_starts AS r LEFT JOIN ended USING (run_id) LEFT JOIN tried USING (run_id) LEFT JOIN scored USING (run_id)
    LEFT JOIN called USING (run_id)
    LEFT JOIN programs AS p ON p.program_id = r.program_id
ORDER BY r.place
