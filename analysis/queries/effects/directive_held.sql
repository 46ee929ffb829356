-- Per directive that an experiment cites: its text, the programs that hold it, their runs with a try, and of its tries
-- (as in directive_use) their number, failures, device-seconds and runs; experiments: the tries of all of these runs.
-- Those of the programs come first, in their order.
WITH tried AS (
    SELECT run_id, number, match_id, source_id, source_id IS DISTINCT FROM parent_source_id AS changed,
        status <> 'ok' AS failed, coalesce(device_seconds_charged, 0.0) AS seconds, directive_ids
    FROM experiments WHERE task = $task AND number > 0 AND status <> 'fault'),
sizes AS (SELECT run_id, count(DISTINCT source_id) FILTER (changed) AS experiments FROM tried GROUP BY run_id),
by_source AS (
    SELECT directive_id, run_id, bool_or(failed) AS failed, sum(seconds ORDER BY number) AS seconds, min(number) AS number
    FROM (SELECT *, unnest(list_distinct(directive_ids)) AS directive_id FROM tried
          WHERE NOT coalesce(list_contains($exclude, match_id), false))
    GROUP BY directive_id, run_id, source_id HAVING bool_or(changed)),
by_run AS (
    SELECT directive_id, run_id, count(*) AS n, count(*) FILTER (failed) AS failures, sum(seconds ORDER BY number) AS seconds
    FROM by_source GROUP BY directive_id, run_id),
cited AS (
    SELECT directive_id, sum(n)::BIGINT AS n, sum(failures)::BIGINT AS failures, sum(seconds ORDER BY run_id) AS seconds,
        count(*) AS runs_cited, sum(experiments)::BIGINT AS experiments
    FROM by_run JOIN sizes USING (run_id) GROUP BY directive_id),
held AS (
    SELECT d.directive_id, first(d.text ORDER BY p.place) AS text, first(d.heading ORDER BY p.place) AS heading,
        first(d.kind ORDER BY p.place) AS kind, list(DISTINCT d.program_id ORDER BY d.program_id) AS program_ids,
        count(DISTINCT r.run_id) AS runs, min(p.place) AS place, min(d.position) AS position
    FROM directives AS d JOIN runs AS r USING (program_id)
        JOIN (SELECT program_id, row_number() OVER () AS place FROM programs) AS p USING (program_id)
    WHERE r.task = $task AND r.experiments > 1 AND NOT coalesce(list_contains($exclude, r.match_id), false)
    GROUP BY d.directive_id)
SELECT directive_id, coalesce(text, directive_id) AS text, coalesce(heading, '') AS heading, coalesce(kind, '') AS kind,
    coalesce(program_ids, []) AS program_ids, coalesce(runs, 0) AS runs, n, failures, seconds, runs_cited, experiments
FROM held RIGHT JOIN cited USING (directive_id)
ORDER BY place NULLS LAST, position, directive_id
