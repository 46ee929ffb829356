-- What trying each directive of this program did to the script: the experiments that cite it, kept or not, and how many
-- of them runs of search and confirmation kept, with their median gain then. A directive may have a stronger row about
-- having it (directive_credit).
WITH tried AS (
    SELECT r.task, unnest(list_distinct(e.directive_ids)) AS directive_id, e.decision = 'keep' AS kept,
        e.gain - p.gain AS gain
    FROM runs AS r JOIN matches AS m USING (match_id) JOIN experiments AS e USING (run_id)
        LEFT JOIN experiments AS p ON p.run_id = e.run_id AND p.number = e.parent_number
    WHERE e.number > 0 AND e.fraction = 1 AND e.status <> 'fault' AND m.purpose NOT IN ('ablation', 'reserve')),
used AS (
    SELECT task, directive_id, count(*) AS tries, count(*) FILTER (kept) AS kept, median(gain) FILTER (kept) AS kept_gain
    FROM tried GROUP BY ALL)
SELECT d.directive_id, d.kind, d.text, c.credit_id, c.method, c.design,
    greatest(coalesce(c.device_seconds, 0), 1e-9) / c.n AS factor,
    c.estimate * factor AS estimate, c.low * factor AS low, c.high * factor AS high,
    c.n, c.q, replace(c.unit, ' per device-second', ' per experiment') AS unit, c.causal, c.task,
    coalesce(u.tries, 0) AS tries, coalesce(u.kept, 0) AS kept, u.kept_gain
FROM directives AS d JOIN credit AS c ON c.directive_id = d.directive_id AND c.method = 'directive'
    LEFT JOIN used AS u ON u.directive_id = d.directive_id AND u.task = c.task
WHERE d.program_id = $program AND c.estimate IS NOT NULL
ORDER BY d.position, c.n DESC, c.credit_id
