-- Per directive and run: what the tries that cite it earned over their parents, kept or not, a failure 0, and how many
-- there were. One measurement counts once a directive, and a loss as at most the best gains seen, as in single_edits.sql.
WITH bound AS (
    SELECT nullif(quantile_cont(greatest(gain, 0.0), 0.99), 0.0) AS headroom FROM experiments
    WHERE task = $task AND status = 'ok' AND coalesce(fraction, 1.0) = 1.0
        AND NOT coalesce(list_contains($exclude, match_id), false)),
tried AS (
    SELECT DISTINCT run_id, experiment_id, number, delta, source_id, parent_source_id, seed FROM edits
    WHERE task = $task AND delta IS NOT NULL AND NOT coalesce(list_contains($exclude, match_id), false)),
cited AS (
    SELECT run_id, experiment_id, unnest(list_distinct(directive_ids)) AS directive_id FROM experiments
    WHERE task = $task),
once AS (
    SELECT * FROM tried JOIN cited USING (run_id, experiment_id)
    QUALIFY row_number() OVER (PARTITION BY directive_id, source_id, parent_source_id, seed
        ORDER BY run_id, number) = 1)
SELECT directive_id, run_id, sum(greatest(delta, coalesce(-headroom, delta)) ORDER BY number) AS earned,
    count(*) AS tries
FROM once, bound GROUP BY directive_id, run_id ORDER BY directive_id, run_id
