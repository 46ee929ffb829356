-- The tries of single changes in numbers, in no order. One measurement counts once: the same source tried from the same
-- parent with the same seed in another run came out of the cache and is no new evidence.
-- A loss counts as at most the best gains seen, as in joint_rows.sql: one diverged script would hide all other tries.
WITH bound AS (
    SELECT nullif(quantile_cont(greatest(gain, 0.0), 0.99), 0.0) AS headroom FROM experiments
    WHERE task = $task AND status = 'ok' AND coalesce(fraction, 1.0) = 1.0
        AND NOT coalesce(list_contains($exclude, match_id), false)),
told AS (
    SELECT v.id, r.run, e.number, e.delta, e.status <> 'ok' AS failed, coalesce(e.proposer, '') <> 'random' AS chosen,
        coalesce(e.device_seconds_charged, 0.0) AS seconds, e.source_id, e.parent_source_id, e.seed
    FROM edits AS e JOIN single_values AS v ON v.key = lower(e.knob) AND v.value_text = e.value_json::VARCHAR
        JOIN task_runs AS r ON r.run_id = e.run_id
    WHERE task = $task AND single AND delta IS NOT NULL AND NOT coalesce(list_contains($exclude, match_id), false)
    QUALIFY row_number() OVER (PARTITION BY source_id, parent_source_id, seed ORDER BY r.run, e.number) = 1)
SELECT id, run, number, greatest(delta, coalesce(-headroom, delta)) AS earned, failed, chosen, seconds FROM told, bound
