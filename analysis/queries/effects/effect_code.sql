-- Experiments of researchers that write code whose source was changed by more lines than their edit sets constants.
-- The CASEs, always true, depend on the join, so that lines are counted after it: for most studies it is empty.
WITH coded AS (
    SELECT run_id, place FROM run_starts WHERE task = $task AND coalesce(researcher, 'scripted') <> 'scripted'),
tried AS (
    SELECT place AS run, number, CASE WHEN place >= 0 THEN edit END AS edit, CASE WHEN place >= 0 THEN diff END AS diff
    FROM experiments JOIN coded USING (run_id)
    WHERE status = 'ok' AND number > 0 AND diff IS NOT NULL)
SELECT run, number FROM tried
WHERE len(from_json(edit -> 'apply', '["VARCHAR"]')) = 0
    AND len(regexp_extract_all(diff, '(?m)^\+[^+]')) > len(map_keys(from_json(edit -> 'set', '"MAP(VARCHAR, JSON)"')))
