-- Per single change (knob, value) and run: what its tries earned. One measurement counts once: the same source tried
-- from the same parent with the same seed in another run came out of the cache and is no new evidence.
WITH counted AS (
    SELECT e.*, x.source_id, x.parent_source_id, x.seed
    FROM edits AS e JOIN experiments AS x USING (run_id, experiment_id)
    WHERE e.task = $task AND e.single AND e.delta IS NOT NULL
        AND NOT coalesce(list_contains($exclude, e.match_id), false)
    QUALIFY row_number() OVER (
        PARTITION BY x.source_id, x.parent_source_id, x.seed, e.knob, e.value ORDER BY e.run_id, e.number) = 1)
SELECT lower(knob) AS key, min(knob) AS knob, value_json, bool_or(kind = 'apply') AS patch, run_id,
    sum(delta) AS earned, count(*) AS tries, count(*) FILTER (status <> 'ok') AS failures,
    count(*) FILTER (coalesce(proposer, '') <> 'random') AS chosen, sum(coalesce(device_seconds_charged, 0.0)) AS seconds
FROM counted
GROUP BY lower(knob), value_json, run_id
ORDER BY key, value_json, run_id
