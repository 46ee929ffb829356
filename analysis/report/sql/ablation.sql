-- What planned ablations estimated: directives of a program switched on and off, kept commits trained with and without.
SELECT c.credit_id, c.program_id, coalesce(p.name, c.program_id) AS program, c.run_id, c.directive_id, c.label, c.method,
    c.design, c.estimate, c.se, c.low, c.high, c.n, c.q, c.unit, c.task
FROM credit AS c LEFT JOIN programs AS p USING (program_id)
WHERE c.method IN ('factorial', 'leave-one-out') AND c.estimate IS NOT NULL
ORDER BY c.method, c.program_id, c.run_id, c.estimate DESC, c.credit_id
