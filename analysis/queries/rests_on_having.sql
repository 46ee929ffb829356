-- The children that hold the directive where a parent does not, or the other way round, with their row of credit.
WITH held AS (SELECT DISTINCT program_id FROM directives WHERE directive_id = $directive_id),
family AS (
    SELECT DISTINCT child_id, parent_ids, unnest(parent_ids) AS parent_id FROM mutations
    WHERE accepted AND child_id IS NOT NULL),
changed AS (
    SELECT child_id, any_value(parent_ids) AS parent_ids, child_id IN (FROM held) AS held FROM family
    GROUP BY child_id
    HAVING avg((parent_id IN (FROM held))::INT) <> (child_id IN (FROM held))::INT)
SELECT f.child_id, f.parent_ids, f.held, c.credit_id, c.estimate, c.se, c.n, c.design
FROM changed AS f LEFT JOIN credit AS c ON c.child_id = f.child_id AND c.method = 'mutation' AND c.task = $task
ORDER BY f.child_id
