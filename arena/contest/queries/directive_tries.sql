-- By key and task: the experiments that cite a directive of this key, against the script that each changed: first those
-- of the search, as in `credit`, then those of the race, which `credit` leaves out (raced, race_total, race_failed,
-- race_kept, race_lines). A script that was trained again, and a shortened training, say nothing of a change. One
-- measurement counts once: the same source tried from the same parent with the same seed in another run came out of the
-- cache. lines: how many directives they cite.
WITH named AS (SELECT unnest($ids) AS directive_id, unnest($keys) AS key),
citing AS (
    SELECT run_id, number, unnest(list_distinct(directive_ids)) AS directive_id FROM experiments
    WHERE number > 0 AND status <> 'fault' AND fraction = 1),
tried AS (
    SELECT n.key, c.directive_id, e.task, e.run_id, e.number, e.source_id, p.source_id AS parent_id, e.seed,
        e.gain - p.gain AS change, e.decision = 'keep' AS kept, m.stream = 'confirmation' AS racing
    FROM citing AS c JOIN named AS n USING (directive_id) JOIN experiments AS e USING (run_id, number)
        JOIN experiments AS p ON p.run_id = e.run_id AND p.number = e.parent_number
        JOIN matches AS m ON m.match_id = e.match_id
    WHERE p.fraction = 1 AND e.source_id <> p.source_id AND m.stream <> 'reserve'),
once AS (
    SELECT * FROM tried
    QUALIFY row_number() OVER (PARTITION BY key, task, racing, source_id, parent_id, seed
        ORDER BY change IS NULL, run_id, number) = 1),
cited AS (
    SELECT key, task, list(DISTINCT directive_id ORDER BY directive_id) FILTER (NOT racing) AS lines,
        list(DISTINCT directive_id ORDER BY directive_id) FILTER (racing) AS race_lines
    FROM tried GROUP BY ALL)
SELECT key, task, count(change) FILTER (NOT racing) AS n,
    coalesce(sum(change ORDER BY change) FILTER (NOT racing), 0.0) AS total,
    count(*) FILTER (NOT racing AND change IS NULL) AS failed, coalesce(any_value(lines), []) AS lines,
    count(change) FILTER (racing) AS raced, coalesce(sum(change ORDER BY change) FILTER (racing), 0.0) AS race_total,
    count(*) FILTER (racing AND change IS NULL) AS race_failed, count(*) FILTER (racing AND kept) AS race_kept,
    coalesce(any_value(race_lines), []) AS race_lines
FROM once JOIN cited USING (key, task)
GROUP BY ALL
ORDER BY key, task
