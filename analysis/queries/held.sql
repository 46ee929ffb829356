-- Directives that may matter, per program that ran on the task: a scripted researcher reads the charter and the ideas
-- only. The order of a list changes with each of its ideas, so its own effect is not identified.
WITH ran AS (
    SELECT program_id, bool_and(researcher = 'scripted') AS scripted FROM run_starts WHERE task = $task GROUP BY ALL)
SELECT DISTINCT d.program_id, d.directive_id
FROM directives AS d JOIN ran USING (program_id)
WHERE d.kind <> 'order' AND (NOT ran.scripted OR d.kind IN ('charter', 'idea'))
ORDER BY d.program_id, d.directive_id
