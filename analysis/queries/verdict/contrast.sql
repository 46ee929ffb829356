-- The gains of the two programs of a match that were named first; of a single one, stock's beside it.
WITH entered AS (
    SELECT e.record ->> 'match_id' AS match_id, e.record -> 'arms' -> i ->> 'arm_id' AS arm_id, min(i) AS i
    FROM events AS e, range(json_array_length(e.record -> 'arms')::BIGINT) AS t(i) WHERE e.kind = 'match' GROUP BY ALL),
ranked AS (
    SELECT s.arm_id, s.program_id, coalesce(s.name, s.program_id) AS name, m.unit,
        row_number() OVER (ORDER BY s.role IN ('control', 'one-line'), i, s.arm_id) AS place, s.role
    FROM standings AS s JOIN matches AS m USING (match_id) JOIN entered AS e USING (match_id, arm_id)
    WHERE s.match_id = $match AND s.role <> 'a/a' AND s.gain IS NOT NULL)
SELECT a.program_id, a.name, a.unit, list(r.verified_gain ORDER BY r.run_id) AS gains
FROM ranked AS a JOIN verified_runs() AS r USING (arm_id)
WHERE place < 3
    AND EXISTS (FROM ranked WHERE place = 1 AND role NOT IN ('control', 'one-line'))
GROUP BY ALL ORDER BY any_value(place)
