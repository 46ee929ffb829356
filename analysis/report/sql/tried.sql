-- What was tried, by category of what was changed: tries, kept, failed, measured gain of the kept ones over their
-- parents (over several tasks in units of stock's gain on each), and the device time of all tries. An experiment that changes several categories counts as such.
WITH known(knob, category) AS (VALUES $groups),
changed AS (
    SELECT e.run_id, e.experiment_id, e.single, e.status, e.decision, e.delta / coalesce(s.size, 1.0) AS delta, e.device_seconds_charged AS seconds,
        coalesce(k.category, $other) AS category
    FROM edits AS e LEFT JOIN known AS k ON k.knob = e.knob LEFT JOIN scales AS s
        ON s.task = e.task AND (SELECT count(*) FROM scales) > 1
    WHERE (SELECT count(*) FROM scales) < 2 OR s.task IS NOT NULL),
tries AS (
    SELECT category, status, decision, delta, seconds FROM changed WHERE single
    UNION ALL
    SELECT CASE WHEN count(DISTINCT category) > 1 THEN 'several at once' ELSE min(category) END, any_value(status),
        any_value(decision), any_value(delta), any_value(seconds)
    FROM changed WHERE NOT single GROUP BY run_id, experiment_id)
SELECT category, count(*) AS tried, count(*) FILTER (decision = 'keep') AS kept, count(*) FILTER (status <> 'ok') AS failed,
    round(coalesce(sum(delta) FILTER (decision = 'keep' AND status = 'ok'), 0.0), 6) AS gain,
    round(coalesce(sum(seconds), 0.0), 6) AS device_seconds
FROM tries
GROUP BY category
ORDER BY tried DESC, category
