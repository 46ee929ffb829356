-- The figures that decide which caveats apply.
WITH claiming AS (  -- over several tasks in units of stock's gain on each
    SELECT run_id, claimed_gain / coalesce(size, 1.0) AS claimed_gain, verified_gain / coalesce(size, 1.0) AS verified_gain
    FROM runs LEFT JOIN scales AS s ON s.task = runs.task AND (SELECT count(*) FROM scales) > 1
    WHERE verified_gain IS NOT NULL AND claimed_gain IS NOT NULL
        AND ((SELECT count(*) FROM scales) < 2 OR s.task IS NOT NULL))
SELECT
    (SELECT count(*) FROM runs WHERE state = 'running') AS running,
    (SELECT count(*) FROM runs WHERE state = 'stopped') AS stopped,
    (SELECT count(*) FROM runs WHERE verified_gain IS NULL AND state = 'finished') AS unscored,
    (SELECT coalesce(sum(failed_seeds), 0)::BIGINT FROM runs) AS failed_seeds,
    (SELECT count(*) FROM runs WHERE failed_seeds > 0) AS runs_failed,
    (SELECT count(*) FROM faults) AS faults,
    (SELECT sum(forfeited ORDER BY run_id) / nullif(sum(device_seconds_charged ORDER BY run_id), 0) FROM runs) AS forfeited,
    (SELECT sum(overshoot ORDER BY run_id) / nullif(sum(device_seconds_charged ORDER BY run_id), 0) FROM runs) AS overshoot,
    (SELECT avg((status IN ('crash', 'timeout', 'oom', 'invalid'))::INT) FROM experiments) AS failures,
    (SELECT count(DISTINCT hardware_class) FROM matches) AS hardware_classes,
    (SELECT count(DISTINCT task) FROM runs) AS tasks,
    (SELECT avg(claimed_gain - verified_gain ORDER BY run_id) FROM claiming) AS overclaim,
    (SELECT avg(verified_gain ORDER BY run_id) FROM claiming) AS mean_gain,
    (SELECT count(*) FROM claiming) AS compared
