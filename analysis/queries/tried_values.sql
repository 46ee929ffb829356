-- Of all tries that made a change, alone or with others, the share that ran.
SELECT lower(knob) AS key, value_json, avg((status = 'ok')::INT) AS ran
FROM edits
WHERE task = $task AND NOT coalesce(list_contains($exclude, match_id), false)
GROUP BY ALL
