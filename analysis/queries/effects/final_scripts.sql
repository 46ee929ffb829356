-- The experiment that each finished, verified run ended with. run: its place in run_starts. Only runs at the budget and
-- on the hardware of the latest match can be compared.
WITH latest AS (
    SELECT m.run_budget, m.hardware_class FROM runs AS r JOIN matches AS m USING (match_id)
    WHERE r.task = $task AND NOT coalesce(list_contains($exclude, r.match_id), false)
    ORDER BY m.started_at DESC LIMIT 1)
SELECT r.run_id, n.place AS run, min(e.number) AS number, r.verified_gain AS gain
FROM runs AS r JOIN (SELECT run_id, place FROM run_starts) AS n USING (run_id) JOIN matches AS m USING (match_id)
    JOIN latest AS l ON l.run_budget IS NOT DISTINCT FROM m.run_budget
        AND l.hardware_class IS NOT DISTINCT FROM m.hardware_class
    JOIN experiments AS e ON e.run_id = r.run_id AND e.source_id = r.final_source_id AND e.status = 'ok'
WHERE r.task = $task AND r.state = 'finished' AND r.verified_gain IS NOT NULL
    AND NOT coalesce(list_contains($exclude, r.match_id), false)
GROUP BY r.run_id, n.place, r.verified_gain
ORDER BY r.run_id
