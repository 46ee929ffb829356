-- Programs without their idea lists, each with the program that it was made from.
WITH made AS (
    SELECT program_id, parent_ids[1] AS of_program FROM programs
    WHERE operator = 'without-ideas' AND len(parent_ids) > 0
), beside AS (
    SELECT a.program_id, b.program_id AS of_program
    FROM arms AS a JOIN arms AS b ON b.match_id = a.match_id AND b.role = 'champion'
    WHERE a.role = 'without-ideas'
)
SELECT program_id, any_value(of_program) AS of_program FROM (
    FROM made UNION ALL FROM beside WHERE program_id NOT IN (SELECT program_id FROM made)
) GROUP BY program_id ORDER BY program_id
