-- Finished, verified runs of every task but those of ablations and of void entries, at the budget and on the hardware of
-- the latest match there: only those can be compared. touched: the share of a run's verifications that were held against
-- the baseline.
WITH acts AS (
    SELECT place, record ->> 'what' AS what, unnest(CAST(record -> 'arm_ids' AS VARCHAR[])) AS arm_id
    FROM events WHERE kind = 'act'
), void AS (
    SELECT arm_id FROM acts GROUP BY arm_id HAVING arg_max(what, place) = 'void'
), held AS (
    SELECT run_id, stream, avg((status = 'ok')::INT ORDER BY seed) AS touched FROM verifications GROUP BY ALL
), played AS (
    SELECT r.task, r.program_id, coalesce(r.role, 'program') AS role, r.score_stream AS stream, r.match_id, r.run_id,
        r.run_seed, r.verified_gain AS gain, r.trust, coalesce(r.name, r.program_id) AS name, m.unit, m.run_budget,
        m.hardware_class, m.started_at, coalesce(h.touched, 0.0) AS touched
    FROM runs AS r JOIN matches AS m USING (match_id)
        LEFT JOIN held AS h ON h.run_id = r.run_id AND h.stream = r.score_stream
    WHERE r.state = 'finished' AND r.verified_gain IS NOT NULL AND r.task IS NOT NULL
        AND m.purpose IS DISTINCT FROM 'ablation'
        AND r.arm_id NOT IN (SELECT arm_id FROM void WHERE arm_id IS NOT NULL)
), latest AS (
    SELECT DISTINCT ON (task) task, run_budget, hardware_class FROM played
    ORDER BY task, started_at DESC NULLS LAST, match_id
)
SELECT p.* EXCLUDE (run_budget, hardware_class, started_at) FROM played AS p JOIN latest AS l ON l.task = p.task
    AND l.run_budget IS NOT DISTINCT FROM p.run_budget AND l.hardware_class IS NOT DISTINCT FROM p.hardware_class
ORDER BY p.task, p.stream, p.program_id, p.run_id
