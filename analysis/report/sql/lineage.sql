-- Programs with their gain in the search, each below its first parent. If there are many: the champion with its
-- ancestors, then the best. change: directives that a program added to its parent's and left out.
WITH RECURSIVE ancestors AS (
    SELECT program_id, parent_ids FROM programs WHERE program_id = $champion
    UNION
    SELECT p.program_id, p.parent_ids FROM ancestors AS a JOIN programs AS p ON list_contains(a.parent_ids, p.program_id)),
scored AS (
    SELECT p.*, s.n, s.gain, s.se, s.df, row_number() OVER (ORDER BY p.program_id NOT IN (SELECT program_id FROM ancestors),
        s.gain IS NULL, s.gain DESC, p.program_id) AS place
    FROM programs AS p LEFT JOIN program_scores() AS s USING (program_id)
    WHERE coalesce(p.operator, '') NOT IN ('without-ideas', 'ablation') QUALIFY place <= 40),
chosen AS (
    SELECT s.*, list_filter(parent_ids, lambda x: x <> program_id AND list_contains(known.ids, x))[1] AS parent,
        row_number() OVER (ORDER BY gain DESC NULLS LAST, program_id) AS rank
    FROM scored AS s, (SELECT list(program_id) AS ids FROM scored) AS known),
tree AS (
    SELECT program_id, 0 AS depth, [rank] AS path FROM chosen WHERE parent IS NULL
    UNION ALL SELECT c.program_id, depth + 1, list_append(path, c.rank) FROM tree JOIN chosen AS c ON c.parent = tree.program_id),
texts AS (
    SELECT p.program_id, coalesce(list(d.directive_id) FILTER (d.kind <> 'order'), []) AS ids
    FROM programs AS p LEFT JOIN directives AS d USING (program_id) GROUP BY p.program_id)
SELECT c.name AS program, p.name AS parent, c.operator, c.generation, c.gain, c.se, c.df, c.n AS runs,
    CASE WHEN p.program_id IS NOT NULL THEN '+' || len(list_filter(t.ids, lambda x: NOT list_contains(o.ids, x))) || ' −'
        || len(list_filter(o.ids, lambda x: NOT list_contains(t.ids, x))) ELSE '' END AS change,
    (SELECT any_value(m.reason) FROM mutations AS m WHERE m.child_id = c.program_id AND m.accepted) AS reason,
    c.program_id AS id, c.parent_ids AS parents, tree.depth, c.program_id = $champion AS champion
FROM tree JOIN chosen AS c USING (program_id) LEFT JOIN programs AS p ON p.program_id = c.parent
    LEFT JOIN texts AS t ON t.program_id = c.program_id LEFT JOIN texts AS o ON o.program_id = c.parent
WHERE (SELECT count(*) FROM chosen WHERE parent IS NOT NULL) > 0
ORDER BY tree.path
