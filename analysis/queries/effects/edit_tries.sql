-- Every edit that was tried, alone or with others: how often, in how many runs, how often it failed, what it was charged,
-- and whether anything but the proposer `random` ever chose it, or a stranger says so. $keys: the edit of each of the
-- $knobs and $texts of edit_values. One measurement counts once: the same source tried from the same parent with the same
-- seed in another run came out of the cache.
WITH written AS (
    SELECT unnest($knobs::VARCHAR[]) AS knob, unnest($texts::VARCHAR[]) AS value_text, unnest($keys::VARCHAR[]) AS key),
tried AS (
    SELECT w.key, w.value_text, e.knob, e.kind = 'apply' AS patch, e.run_id, e.status <> 'ok' AS failed,
        coalesce(e.proposer, '') <> 'random' OR e.run_id IN (SELECT run_id FROM experiments WHERE trust = 'self-reported')
            AS chosen, coalesce(e.device_seconds_charged, 0.0) AS seconds, e.number
    FROM edits AS e JOIN written AS w ON w.knob = e.knob AND w.value_text = e.value_json::VARCHAR
    WHERE e.task = $task AND e.delta IS NOT NULL AND NOT coalesce(list_contains($exclude, e.match_id), false)
    QUALIFY row_number() OVER (
        PARTITION BY w.key, e.source_id, e.parent_source_id, e.seed ORDER BY e.run_id, e.number) = 1)
SELECT min(value_text) AS value_text, min(knob) AS knob, bool_or(patch) AS patch, count(*) AS tries,
    count(DISTINCT run_id) AS runs,
    count(*) FILTER (failed) AS failures, bool_or(chosen) AS chosen, sum(seconds ORDER BY run_id, number) AS seconds
FROM tried GROUP BY key ORDER BY key
