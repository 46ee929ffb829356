-- Of each child that ran, beside one of its parents: the gains of both, and their differences on the run seeds of a match
-- that both had. The parent: of those that ran beside it on two seeds or more, the one with the highest mean gain in
-- earlier matches without the child; without such matches, or if none ran beside it, the first one that ran.
WITH own AS (SELECT * FROM family_runs WHERE child),
compared AS (
    SELECT f.child_id, list(f.gain ORDER BY f.match_id, f.run_seed) AS parents,
        coalesce(list(o.gain - f.gain ORDER BY f.match_id, f.run_seed) FILTER (o.gain IS NOT NULL), []) AS pairs
    FROM family_runs AS f
        LEFT JOIN own AS o ON o.child_id = f.child_id AND o.match_id = f.match_id AND o.run_seed = f.run_seed
        LEFT JOIN (SELECT DISTINCT child_id, match_id FROM own) AS m
            ON m.child_id = f.child_id AND m.match_id = f.match_id
    WHERE NOT f.child
    GROUP BY f.child_id, f.program_id
    QUALIFY row_number() OVER (PARTITION BY f.child_id ORDER BY count(o.gain) < 2,
        CASE WHEN count(o.gain) >= 2 THEN avg(f.gain ORDER BY f.match_id, f.run_seed)
            FILTER (f.is_earlier AND m.match_id IS NULL) END DESC NULLS LAST,
        list_position(any_value(f.parent_ids), f.program_id)) = 1)
SELECT child_id, coalesce(any_value(o.operator), '') AS operator, any_value(o.name) AS name,
    any_value(o.parent_ids) AS parent_ids, list(o.gain ORDER BY o.match_id, o.run_seed) AS children,
    any_value(c.parents) AS parents, any_value(c.pairs) AS pairs
FROM own AS o JOIN compared AS c USING (child_id)
GROUP BY child_id
ORDER BY child_id
