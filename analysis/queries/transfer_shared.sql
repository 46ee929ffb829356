-- Which programs behave like another one on a task, and were not run there: they share its figures.
SELECT DISTINCT record ->> 'task' AS task, record ->> 'stream' AS stream, record ->> 'program_id' AS program_id,
    record ->> 'like_id' AS like_id
FROM events WHERE kind = 'alike' ORDER BY ALL
