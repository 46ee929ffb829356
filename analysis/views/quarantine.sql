-- One row per line of an imported log that is no row, or that could not be read; nothing is dropped in silence.
SELECT record ->> 'import_id' AS import_id, record ->> 'path' AS path, try_cast(record ->> 'line' AS BIGINT) AS line,
    record ->> 'reason' AS reason, record ->> 'text' AS text
FROM events WHERE kind = 'quarantine'
ORDER BY place
