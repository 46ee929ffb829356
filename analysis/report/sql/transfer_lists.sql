-- A program and itself without its ideas, run by run on the same run seed.
SELECT a.task, a.name, a.run_seed, a.verified_gain AS gain, b.verified_gain AS gain_without,
    a.verified_gain - b.verified_gain AS difference
FROM runs AS a JOIN runs AS b USING (task, match_id, run_seed) JOIN programs AS p ON p.program_id = b.program_id
WHERE b.role = 'without-ideas' AND a.role <> 'a/a'
    AND (list_contains(p.parent_ids, a.program_id) OR a.role = 'champion')
ORDER BY ALL
