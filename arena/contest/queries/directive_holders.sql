-- Each directive with the programs that have it.
SELECT directive_id, any_value(kind) AS kind, any_value(text) AS text, list(DISTINCT program_id) AS program_ids
FROM directives GROUP BY directive_id ORDER BY directive_id
