-- Programs with their verified gain over all finished runs but those of the confirmation, over several tasks in units of
-- stock's gain on each; over families, whose tasks change from stage to stage, 1 plus the mean lead over stock on the
-- same tasks. If there are many: the champion with its ancestors, then the best.
WITH RECURSIVE on_tasks AS (
    SELECT program_id, task, count(*) AS n, avg(verified_gain ORDER BY run_id) / coalesce(any_value(size), 1) AS gain,
        stddev_samp(verified_gain) / sqrt(count(*)) / coalesce(any_value(size), 1) AS se
    FROM runs LEFT JOIN (SELECT task, size FROM scales WHERE (SELECT count(*) FROM scales) > 1) USING (task)
    WHERE state = 'finished' AND verified_gain IS NOT NULL AND coalesce(stream, '') NOT IN ('confirmation', 'reserve')
        AND purpose IS DISTINCT FROM 'ablation'
    GROUP BY program_id, task),
scores AS (
    SELECT o.program_id, sum(o.n)::BIGINT AS n, avg(o.gain ORDER BY task) AS gain,
        sqrt(sum(o.se * o.se ORDER BY task)) / count(*) AS se, 1 + avg(o.gain - s.gain ORDER BY task) AS led,
        greatest(coalesce(stddev_samp(o.gain - s.gain) / sqrt(count(*)), 0), sqrt(sum(o.se * o.se + if(o.program_id = s.program_id, 0, s.se * s.se))) / count(*)) AS led_se
    FROM on_tasks AS o LEFT JOIN (FROM on_tasks WHERE program_id = $stock) AS s USING (task)
    GROUP BY o.program_id HAVING count(*) >= (SELECT count(*) FROM scales) OR (SELECT count(family) FROM scales) > 0),
ancestors AS (
    SELECT program_id, parent_ids FROM programs WHERE program_id = $champion
    UNION
    SELECT p.program_id, p.parent_ids FROM ancestors AS a JOIN programs AS p ON list_contains(a.parent_ids, p.program_id)),
chosen AS (
    SELECT p.*, s.n, if((SELECT count(family) FROM scales) > 0, led, s.gain) AS gain,
        if((SELECT count(family) FROM scales) > 0, led_se, s.se) AS se
    FROM programs AS p LEFT JOIN scores AS s USING (program_id)
    WHERE coalesce(p.operator, '') NOT IN ('without-ideas', 'ablation')
    QUALIFY row_number() OVER (ORDER BY p.program_id NOT IN (SELECT program_id FROM ancestors), s.gain IS NULL,
        coalesce(if((SELECT count(family) FROM scales) > 0, led, s.gain), 0) DESC, p.program_id) <= $most)
SELECT program_id, name, coalesce(generation, 0) AS generation, operator, parent_ids, words, n, gain, se, text,
    (SELECT m.reason FROM mutations AS m WHERE m.child_id = c.program_id AND m.accepted LIMIT 1) AS reason
FROM chosen AS c
ORDER BY generation, gain DESC NULLS LAST, program_id
