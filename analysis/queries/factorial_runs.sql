-- Each verified run of the planned factorial ablations, with which of the factors its program held.
WITH planned AS (
    SELECT match_id, any_value(program_id) AS program_id, any_value(factors) AS factors FROM ablations
    WHERE method = 'factorial' AND task = $task AND NOT coalesce(list_contains($exclude, match_id), false)
    GROUP BY match_id),
held AS (SELECT program_id, list(DISTINCT directive_id) AS directives FROM directives GROUP BY program_id)
SELECT p.match_id, p.program_id, p.factors, r.run_id, r.run_seed, r.verified_gain AS gain,
    list_intersect(p.factors, coalesce(h.directives, [])) AS held
FROM planned AS p JOIN runs AS r USING (match_id) LEFT JOIN held AS h ON h.program_id = r.program_id
WHERE r.task = $task AND r.state = 'finished' AND r.verified_gain IS NOT NULL
ORDER BY p.match_id, r.run_id
