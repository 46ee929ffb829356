-- One row per program; the first record holds (a program is immutable).
SELECT program_id, name, generation, operator, coalesce(parent_ids, []) AS parent_ids, words, text
FROM recorded.program
ORDER BY place
