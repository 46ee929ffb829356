-- Per directive: its text, which programs hold it and how many of their runs there are; runs without a try left out.
SELECT d.directive_id, first(d.text ORDER BY p.place) AS text, first(d.heading ORDER BY p.place) AS heading,
    first(d.kind ORDER BY p.place) AS kind, list(DISTINCT d.program_id ORDER BY d.program_id) AS program_ids,
    count(DISTINCT r.run_id) AS runs
FROM directives AS d JOIN runs AS r USING (program_id)
    JOIN (SELECT program_id, row_number() OVER () AS place FROM programs) AS p USING (program_id)
WHERE r.task = $task AND r.experiments > 1 AND NOT coalesce(list_contains($exclude, r.match_id), false)
GROUP BY d.directive_id
ORDER BY min(p.place), min(d.position), d.directive_id
