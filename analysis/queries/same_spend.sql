-- Device-seconds charged to the runs on one task and spent to measure them, without those that measure best-of-N for
-- the same spend; and the budget of a run there.
WITH played AS (
    SELECT run_id, device_seconds_charged, device_seconds_budget, purpose FROM runs
    WHERE task = $task AND NOT is_apart(purpose) AND stream IS DISTINCT FROM 'reserve'
)
SELECT coalesce((SELECT sum(device_seconds_charged ORDER BY run_id) FROM played), 0.0)
    + coalesce((SELECT sum(device_seconds_spent ORDER BY run_id, seed) FROM verifications
        WHERE run_id IN (SELECT run_id FROM played)), 0.0)
    + coalesce((SELECT sum(device_seconds_charged ORDER BY stage, number) FROM harvest_experiments
        WHERE task = $task AND search IN ('harvest', 'headroom')), 0.0)
    + coalesce((SELECT sum((record ->> 'device_seconds_spent')::DOUBLE ORDER BY place) FROM events
        WHERE kind = 'baseline' AND record ->> 'task' = $task), 0.0) AS spent,
    (SELECT max(device_seconds_budget) FROM played) AS run_budget
