-- By directive and task: the experiments that cite it, as in `credit` those of the search, against the script that each
-- changed. A script that was trained again, and a shortened training, say nothing of a change.
WITH tried AS (
    SELECT unnest(list_distinct(e.directive_ids)) AS directive_id, e.task, e.gain - p.gain AS change
    FROM experiments AS e JOIN experiments AS p ON p.run_id = e.run_id AND p.number = e.parent_number
        JOIN matches AS m ON m.match_id = e.match_id
    WHERE e.number > 0 AND e.status <> 'fault' AND e.fraction = 1 AND p.fraction = 1
        AND e.source_id <> p.source_id AND m.stream NOT IN ('confirmation', 'reserve'))
SELECT t.directive_id, t.task, d.kind, d.text, count(change) AS n, coalesce(sum(change), 0.0) AS total,
    count(*) - count(change) AS failed
FROM tried AS t JOIN (SELECT directive_id, any_value(kind) AS kind, any_value(text) AS text FROM directives
    GROUP BY directive_id) AS d USING (directive_id)
GROUP BY ALL
ORDER BY t.directive_id, t.task
