-- The ideas of a program that made scripts significantly worse when they were tried, on average, and that at most one
-- experiment of search and confirmation kept. A row about having an idea does not show that: a run discards what made its
-- script worse. The effect of an idea that runs kept again and again depends on the script.
WITH used AS (
    SELECT task, directive_id, count(*) AS tries, count(*) FILTER (decision = 'keep') AS kept
    FROM (SELECT r.task, e.decision, unnest(list_distinct(e.directive_ids)) AS directive_id
        FROM experiments AS e JOIN runs AS r USING (run_id) JOIN matches AS m ON m.match_id = r.match_id
        WHERE e.number > 0 AND e.fraction = 1 AND e.status <> 'fault'
            AND e.source_id IS DISTINCT FROM e.parent_source_id
            AND m.purpose IS DISTINCT FROM 'ablation' AND m.purpose IS DISTINCT FROM 'reserve')
    GROUP BY ALL)
SELECT d.directive_id, d.text, -c.estimate AS loss, -c.high AS low, -c.low AS high, c.unit, u.tries, u.kept
FROM directives AS d JOIN credit AS c ON c.directive_id = d.directive_id AND c.method = 'directive'
    JOIN used AS u ON u.directive_id = d.directive_id AND u.task = c.task
WHERE d.program_id = $program AND d.kind = 'idea' AND c.significant AND c.estimate < 0 AND u.kept <= 1
ORDER BY d.position
