-- By program and directive that it cites: in how many runs it was tried and kept, and the median gain over the source that
-- it was tried on, under the same seed. A program whose runs cite nothing has one row without a directive. Shortened
-- trainings, and trainings of a candidate again, are left out.
WITH own AS (
    SELECT run_id, program_id, experiments FROM runs
    WHERE task = $task AND experiments > 1 AND NOT coalesce(list_contains($exclude, match_id), false)),
sizes AS (SELECT program_id, count(*) AS runs, median(experiments) AS experiments FROM own GROUP BY program_id),
tried AS (
    SELECT o.program_id, o.run_id, e.decision = 'keep' AS kept, e.gain - (
            SELECT avg(p.gain) FROM experiments AS p WHERE p.run_id = e.run_id AND p.source_id = e.parent_source_id
                AND p.seed = e.seed AND p.fraction = 1) AS gain,
        unnest(list_distinct(e.directive_ids)) AS directive_id
    FROM own AS o JOIN experiments AS e USING (run_id)
    WHERE e.number > 0 AND e.status <> 'fault' AND e.fraction = 1 AND e.source_id IS DISTINCT FROM e.parent_source_id)
SELECT s.program_id, t.directive_id, s.runs, s.experiments, count(DISTINCT t.run_id) AS tried,
    count(DISTINCT t.run_id) FILTER (t.kept) AS kept,
    median(t.gain) AS gain
FROM sizes AS s LEFT JOIN tried AS t USING (program_id)
GROUP BY s.program_id, t.directive_id, s.runs, s.experiments
ORDER BY s.program_id, t.directive_id
