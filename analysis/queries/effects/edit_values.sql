-- Every knob and value that was tried, as the tries wrote them.
SELECT DISTINCT knob, value_json::VARCHAR AS value FROM edits WHERE task = $task ORDER BY knob, value
