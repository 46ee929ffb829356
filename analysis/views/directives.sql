-- One row per directive of a program, in order of its text.
WITH listed AS (
    SELECT place, program_id, unnest(from_json(directives, '[{"directive_id": "VARCHAR", "heading": "VARCHAR",
        "kind": "VARCHAR", "text": "VARCHAR", "position": "BIGINT"}]'), recursive := true)
    FROM recorded.program)
SELECT program_id, directive_id, heading, kind, text, position
FROM listed
ORDER BY place, position
