-- The experiment that each run that can be compared ended with. run: its place in run_starts.
SELECT r.run_id, n.place AS run, min(e.number) AS number, r.verified_gain AS gain
FROM scored_runs($task, $exclude) AS r JOIN (SELECT run_id, place FROM run_starts) AS n USING (run_id)
    JOIN experiments AS e ON e.run_id = r.run_id AND e.source_id = r.final_source_id AND e.status = 'ok'
GROUP BY r.run_id, n.place, r.verified_gain
ORDER BY r.run_id
