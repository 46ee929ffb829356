-- Per single change (knob, value): what its tries earned, a list entry per run. One measurement counts once: the same
-- source tried from the same parent with the same seed in another run came out of the cache and is no new evidence.
-- A loss counts as at most the best gains seen, as in joint_rows.sql: one diverged script would hide all other tries.
WITH bound AS (
    SELECT nullif(quantile_cont(greatest(gain, 0.0), 0.99), 0.0) AS headroom FROM experiments
    WHERE task = $task AND status = 'ok' AND coalesce(fraction, 1.0) = 1.0
        AND NOT coalesce(list_contains($exclude, match_id), false)),
counted AS (
    SELECT * FROM edits
    WHERE task = $task AND single AND delta IS NOT NULL AND NOT coalesce(list_contains($exclude, match_id), false)
    QUALIFY row_number() OVER (PARTITION BY source_id, parent_source_id, seed ORDER BY run_id, number) = 1),
by_run AS (
    SELECT lower(knob) AS key, min(knob) AS knob, value_json::VARCHAR AS value_text, bool_or(kind = 'apply') AS patch,
        run_id, sum(greatest(delta, coalesce(-headroom, delta)) ORDER BY number) AS earned, count(*) AS tries,
        count(*) FILTER (status <> 'ok') AS failures,
        count(*) FILTER (coalesce(proposer, '') <> 'random') AS chosen,
        sum(coalesce(device_seconds_charged, 0.0) ORDER BY number) AS seconds
    FROM counted, bound GROUP BY lower(knob), value_json::VARCHAR, run_id)
SELECT key, min(knob) AS knob, value_text::JSON AS value, bool_or(patch) AS patch,
    list(earned ORDER BY run_id) AS earned, list(tries ORDER BY run_id) AS tries, sum(failures)::BIGINT AS failures,
    sum(chosen)::BIGINT AS chosen, sum(seconds ORDER BY run_id) AS seconds
FROM by_run GROUP BY key, value_text
ORDER BY key, value_text
