-- What planned ablations estimated: directives of a program switched on and off, kept commits trained with and without.
-- A commit that others need was left out with them: it is named first.
WITH needing AS (
    SELECT r.run_id, list_filter(a.factors, lambda f: NOT list_contains(r.commits, f))[1] AS experiment_id,
        any_value(list_transform(r.skipped, lambda s: CAST(a.plan -> 'labels' AS VARCHAR[])[list_position(a.factors, s)])) AS labels
    FROM replays AS r JOIN ablations AS a USING (ablation_id)
    WHERE len(r.commits) = len(a.factors) - 1 AND len(r.skipped) > 0 GROUP BY ALL)
SELECT left(c.label, 160) || coalesce(', and what needs it: ' || array_to_string(n.labels, '; '), '') AS change, c.estimate, c.low, c.high, c.unit, c.n, c.q, c.design, c.credit_id AS id,
    c.significant,
    CASE c.method WHEN 'factorial' THEN 'directives of ' || coalesce(p.name, c.program_id)
        ELSE 'kept commits of run ' || left(c.run_id, 7) END AS of
FROM credit AS c LEFT JOIN programs AS p USING (program_id)
    LEFT JOIN needing AS n ON c.method = 'leave-one-out' AND n.run_id = c.run_id AND n.experiment_id = c.experiment_id
WHERE c.method IN ('factorial', 'leave-one-out') AND c.estimate IS NOT NULL
ORDER BY c.method, of, c.estimate DESC, c.credit_id
