-- The text of one program.
SELECT program_id, name, generation, operator, parent_ids, words, text FROM programs WHERE program_id = $program
