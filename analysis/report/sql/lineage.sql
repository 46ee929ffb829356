-- Programs with their verified gain over all finished runs but those of the confirmation. Where there are many: the
-- champion with its ancestors, then the best.
WITH RECURSIVE scores AS (
    SELECT program_id, count(*) AS n, avg(verified_gain ORDER BY run_id) AS gain,
        stddev_samp(verified_gain) / sqrt(count(*)) AS se
    FROM runs
    WHERE state = 'finished' AND verified_gain IS NOT NULL AND stream IS DISTINCT FROM 'confirmation' AND purpose IS DISTINCT FROM 'ablation'
    GROUP BY program_id),
ancestors AS (
    SELECT program_id, parent_ids FROM programs WHERE program_id = $champion
    UNION
    SELECT p.program_id, p.parent_ids FROM ancestors AS a JOIN programs AS p ON list_contains(a.parent_ids, p.program_id)),
chosen AS (
    SELECT p.*, s.n, s.gain, s.se FROM programs AS p LEFT JOIN scores AS s USING (program_id)
    WHERE coalesce(p.operator, '') NOT IN ('without-ideas', 'ablation')
    QUALIFY row_number() OVER (ORDER BY p.program_id NOT IN (SELECT program_id FROM ancestors), s.gain IS NULL,
        s.gain DESC, p.program_id) <= $most)
SELECT program_id, name, coalesce(generation, 0) AS generation, operator, parent_ids, words, n, gain, se, text,
    (SELECT m.reason FROM mutations AS m WHERE m.child_id = c.program_id AND m.accepted LIMIT 1) AS reason
FROM chosen AS c
ORDER BY generation, gain DESC NULLS LAST, program_id
