-- Experiments of researchers that write code whose source was changed by more lines than their edit sets constants.
SELECT run, number FROM (
    SELECT t.run, e.number, len(map_keys(from_json(e.edit -> 'set', '"MAP(VARCHAR, JSON)"'))) AS constants,
        len(from_json(e.edit -> 'apply', '["VARCHAR"]')) AS patches,
        len(regexp_extract_all(e.diff, '(?m)^\+[^+]')) AS lines
    FROM experiments AS e JOIN task_runs AS t USING (run_id)
        JOIN (SELECT run_id FROM run_starts WHERE task = $task AND coalesce(researcher, 'scripted') <> 'scripted')
            USING (run_id)
    WHERE e.status = 'ok' AND e.number > 0 AND e.diff IS NOT NULL)
WHERE patches = 0 AND lines > constants
