-- One row per directive of a program, in order of its text.
WITH first_told AS (
    SELECT place, record, record ->> 'program_id' AS program_id FROM events WHERE kind = 'program'
    QUALIFY row_number() OVER (PARTITION BY record ->> 'program_id' ORDER BY place) = 1),
recorded AS (
    SELECT place, program_id,
        unnest(from_json(record -> 'directives', '[{"directive_id": "VARCHAR", "heading": "VARCHAR",
            "kind": "VARCHAR", "text": "VARCHAR", "position": "BIGINT"}]'), recursive := true)
    FROM first_told)
SELECT program_id, directive_id, heading, kind, text, position
FROM recorded
ORDER BY place, position
