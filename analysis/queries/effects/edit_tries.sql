-- Every change (knob, value) that was tried, alone or with others: how often, in how many runs, how often it failed, what
-- it was charged, and whether anything but the proposer `random` ever chose it, or a stranger says so. One measurement counts once: the same
-- source tried from the same parent with the same seed in another run came out of the cache.
WITH tried AS (
    SELECT lower(knob) AS key, value_json::VARCHAR AS value_text,
        coalesce(format('{:.12g}', try_cast(value_json::VARCHAR AS DOUBLE)), value_json::VARCHAR) AS same, knob,
        kind = 'apply' AS patch, run_id, status <> 'ok' AS failed,
        coalesce(proposer, '') <> 'random' OR run_id IN (SELECT run_id FROM experiments WHERE trust = 'self-reported')
            AS chosen, coalesce(device_seconds_charged, 0.0) AS seconds, number
    FROM edits
    WHERE task = $task AND delta IS NOT NULL AND NOT coalesce(list_contains($exclude, match_id), false)
    QUALIFY row_number() OVER (
        PARTITION BY lower(knob), same, source_id, parent_source_id, seed ORDER BY run_id, number) = 1)
SELECT key, min(value_text) AS value_text, min(knob) AS knob, bool_or(patch) AS patch, count(*) AS tries,
    count(DISTINCT run_id) AS runs,
    count(*) FILTER (failed) AS failures, bool_or(chosen) AS chosen, sum(seconds ORDER BY run_id, number) AS seconds
FROM tried GROUP BY key, same ORDER BY key, same
