-- What a log says against itself, by kind; and why lines were set aside.
SELECT 'contradiction' AS what, contradiction AS kind, count(*) AS n, NULL AS example
FROM import_rows WHERE contradiction IS NOT NULL AND contradiction <> '' GROUP BY contradiction
UNION ALL
SELECT 'set aside', reason, count(*), first(parse_filename(path) || ':' || line ORDER BY path, line)
FROM quarantine GROUP BY reason
ORDER BY what, n DESC, kind
LIMIT 40
