-- Per directive: what the experiments that cite it cost, and what the kept ones earned over their parents, a list entry
-- per run.
WITH cited AS (
    SELECT run_id, experiment_id, number, status, device_seconds_charged, unnest(list_distinct(directive_ids)) AS directive_id
    FROM experiments
    WHERE task = $task AND number > 0 AND status <> 'fault'
        AND NOT coalesce(list_contains($exclude, match_id), false)),
kept AS (SELECT DISTINCT run_id, experiment_id, delta FROM edits WHERE decision = 'keep' AND status = 'ok'),
by_run AS (
    SELECT directive_id, run_id, count(*) AS experiments, count(*) FILTER (status <> 'ok') AS failures,
        coalesce(sum(delta ORDER BY number), 0.0) AS kept_gain,
        sum(coalesce(device_seconds_charged, 0.0) ORDER BY number) AS seconds
    FROM cited LEFT JOIN kept USING (run_id, experiment_id)
    GROUP BY directive_id, run_id
    HAVING seconds > 0)
SELECT directive_id, sum(experiments)::BIGINT AS experiments, sum(failures)::BIGINT AS failures,
    list(kept_gain ORDER BY run_id) AS gains, list(seconds ORDER BY run_id) AS seconds
FROM by_run
GROUP BY directive_id
ORDER BY directive_id
