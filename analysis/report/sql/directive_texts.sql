-- What the directives that experiments cite say.
SELECT directive_id, left(any_value(text ORDER BY program_id), 160) AS text, any_value(kind ORDER BY program_id) AS kind
FROM directives
GROUP BY directive_id
ORDER BY directive_id
LIMIT 3000
