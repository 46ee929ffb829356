-- Each verified run of the planned factorial ablations, with which of the factors its program held, and what they say
-- as the first program that has them words it.
WITH planned AS (
    SELECT match_id, any_value(program_id) AS program_id, any_value(factors) AS factors FROM ablations
    WHERE method = 'factorial' AND task = $task AND NOT coalesce(list_contains($exclude, match_id), false)
    GROUP BY match_id),
texts AS (
    SELECT match_id, list(coalesce(text, directive_id) ORDER BY position) AS texts
    FROM (SELECT match_id, unnest(factors) AS directive_id, generate_subscripts(factors, 1) AS position FROM planned)
        LEFT JOIN (SELECT directive_id, first(text ORDER BY place) AS text
            FROM directives JOIN (SELECT program_id, row_number() OVER () AS place FROM programs) USING (program_id)
            GROUP BY directive_id) USING (directive_id)
    GROUP BY match_id),
held AS (SELECT program_id, list(DISTINCT directive_id) AS directives FROM directives GROUP BY program_id)
SELECT p.match_id, p.program_id, p.factors, t.texts, r.run_id, r.run_seed, r.verified_gain AS gain,
    list_intersect(p.factors, coalesce(h.directives, [])) AS held
FROM planned AS p JOIN texts AS t USING (match_id) JOIN verified_runs() AS r USING (match_id) LEFT JOIN held AS h ON h.program_id = r.program_id
WHERE r.task = $task
ORDER BY p.match_id, r.run_id
