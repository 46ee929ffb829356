-- Programs with their gain in the search (a macro over runs and scales). If there are many: the champion with its
-- ancestors, then the best.
WITH RECURSIVE ancestors AS (
    SELECT program_id, parent_ids FROM programs WHERE program_id = $champion
    UNION
    SELECT p.program_id, p.parent_ids FROM ancestors AS a JOIN programs AS p ON list_contains(a.parent_ids, p.program_id)),
chosen AS (
    SELECT p.*, s.n, s.gain, s.se, s.df FROM programs AS p LEFT JOIN program_scores($stock) AS s USING (program_id)
    WHERE coalesce(p.operator, '') NOT IN ('without-ideas', 'ablation')
    QUALIFY row_number() OVER (ORDER BY p.program_id NOT IN (SELECT program_id FROM ancestors), s.gain IS NULL,
        coalesce(s.gain, 0) DESC, p.program_id) <= $most)
SELECT program_id, name, coalesce(generation, 0) AS generation, operator, parent_ids, words, n, gain, se, df, text,
    (SELECT m.reason FROM mutations AS m WHERE m.child_id = c.program_id AND m.accepted LIMIT 1) AS reason
FROM chosen AS c
ORDER BY generation, gain DESC NULLS LAST, program_id
