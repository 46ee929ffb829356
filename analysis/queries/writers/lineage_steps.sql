-- From the oldest ancestor of a program to itself, by first parents: each step with its credit, child minus parent.
WITH RECURSIVE line AS (
    SELECT program_id, parent_ids[1] AS parent_id, 0 AS back FROM programs WHERE program_id = $program
    UNION ALL SELECT p.program_id, p.parent_ids[1], back + 1 FROM line JOIN programs AS p ON p.program_id = parent_id AND back < 100)
SELECT p.program_id AS parent_id, p.name AS parent, c.name AS child, coalesce(m.operator, c.operator) AS operator,
    m.reason, e.credit_id, e.task, e.estimate, e.low, e.high, e.unit, e.n, e.q
FROM line JOIN programs AS c USING (program_id) JOIN programs AS p ON p.program_id = line.parent_id
    LEFT JOIN mutations AS m ON m.child_id = line.program_id AND m.accepted
    LEFT JOIN credit AS e ON e.method = 'mutation' AND e.child_id = line.program_id
QUALIFY row_number() OVER (PARTITION BY line.program_id, e.task ORDER BY e.credit_id) = 1
ORDER BY back DESC, e.task
