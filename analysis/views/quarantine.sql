-- One row per line of an imported log that is no row, or that could not be read; nothing is dropped in silence.
WITH recorded AS (
    SELECT place, unnest(from_json(record, '{
        "import_id": "VARCHAR", "path": "VARCHAR", "line": "BIGINT", "reason": "VARCHAR", "text": "VARCHAR"}'))
    FROM events WHERE kind = 'quarantine')
SELECT import_id, path, line, reason, text
FROM recorded
ORDER BY place
