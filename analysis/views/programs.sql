-- One row per program; the first record holds (a program is immutable).
WITH recorded AS (
    SELECT place, unnest(from_json(record, '{
        "program_id": "VARCHAR", "name": "VARCHAR", "generation": "BIGINT", "operator": "VARCHAR",
        "parent_ids": ["VARCHAR"], "words": "BIGINT", "text": "VARCHAR"}'))
    FROM events WHERE kind = 'program')
SELECT program_id, name, generation, operator, coalesce(parent_ids, []) AS parent_ids, words, text
FROM recorded
QUALIFY row_number() OVER (PARTITION BY program_id ORDER BY place) = 1
ORDER BY place
