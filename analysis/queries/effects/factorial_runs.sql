-- Each verified run of the planned factorial ablations, or each turn where the variants took turns (`scored_turns`),
-- with which of the factors its program held, and what they say as the first program that has them words it.
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
held AS (SELECT program_id, list(DISTINCT directive_id) AS directives FROM directives GROUP BY program_id),
units AS (
    SELECT match_id, run_id, 0 AS number, program_id, run_seed::VARCHAR AS block, verified_gain AS gain, [] AS behaviour
    FROM verified_runs() WHERE task = $task AND match_id NOT IN (SELECT match_id FROM scored_turns)
    UNION ALL
    SELECT match_id, run_id, number, program_id, concat(run_id, ' ', block), score, behaviour FROM scored_turns)
SELECT p.match_id, p.program_id, p.factors, t.texts, u.block, u.gain, u.behaviour,
    list_intersect(p.factors, coalesce(h.directives, [])) AS held
FROM planned AS p JOIN texts AS t USING (match_id) JOIN units AS u USING (match_id) LEFT JOIN held AS h ON h.program_id = u.program_id
ORDER BY p.match_id, u.run_id, u.number
