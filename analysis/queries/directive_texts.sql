-- What each directive says, as the first program that held it words it.
SELECT directive_id, first(text ORDER BY p.place) AS text
FROM directives JOIN (SELECT program_id, row_number() OVER () AS place FROM programs) AS p USING (program_id)
GROUP BY directive_id
