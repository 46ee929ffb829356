-- What planned ablations estimated: directives of a program switched on and off, kept commits trained with and without.
SELECT left(c.label, 160) AS change, c.estimate, c.low, c.high, c.unit, c.n, c.q, c.design, c.credit_id AS id,
    coalesce(c.q < 0.05 AND (c.low > 0 OR c.high < 0), false) AS significant,
    CASE c.method WHEN 'factorial' THEN 'directives of ' || coalesce(p.name, c.program_id)
        ELSE 'kept commits of run ' || left(c.run_id, 7) END AS of
FROM credit AS c LEFT JOIN programs AS p USING (program_id)
WHERE c.method IN ('factorial', 'leave-one-out') AND c.estimate IS NOT NULL
ORDER BY c.method, of, c.estimate DESC, c.credit_id
