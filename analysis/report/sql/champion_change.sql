-- The gain of this program over its parent (of several, one of them), once for each directive that its first parent lacks.
SELECT c.task, c.method, c.design, c.estimate, c.low, c.high, c.unit, len(p.parent_ids) AS parents, d.directive_id
FROM credit AS c JOIN programs AS p ON p.program_id = c.child_id JOIN directives AS d ON d.program_id = c.child_id
WHERE c.method = 'mutation' AND c.child_id = $program AND d.directive_id NOT IN (
    SELECT directive_id FROM directives WHERE program_id = p.parent_ids[1])
ORDER BY c.task, d.position
