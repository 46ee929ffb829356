-- Every single change (knob, value) that was tried, numbered.
SELECT key, value_text, min(knob) AS knob, bool_or(patch) AS patch, row_number() OVER (ORDER BY key, value_text) - 1 AS id
FROM (
    SELECT lower(knob) AS key, value_json::VARCHAR AS value_text, knob, kind = 'apply' AS patch FROM edits
    WHERE task = $task AND single AND delta IS NOT NULL AND NOT coalesce(list_contains($exclude, match_id), false))
GROUP BY key, value_text
