-- The verified runs on a task, without the matches excluded, at the budget and on the hardware of the latest match: only
-- those can be compared.
scored_runs(of_task, excluded) AS TABLE
WITH latest AS (
    SELECT m.run_budget, m.hardware_class FROM runs AS r JOIN matches AS m USING (match_id)
    WHERE r.task = of_task AND NOT coalesce(list_contains(excluded, r.match_id), false)
    ORDER BY m.started_at DESC LIMIT 1)
SELECT v.* FROM verified_runs() AS v JOIN latest AS l ON l.run_budget IS NOT DISTINCT FROM v.run_budget
    AND l.hardware_class IS NOT DISTINCT FROM v.hardware_class
WHERE v.task = of_task AND NOT coalesce(list_contains(excluded, v.match_id), false)
