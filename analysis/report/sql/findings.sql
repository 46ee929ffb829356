-- What the referee noticed, by kind, with one example each.
SELECT kind, count(*) AS n, first(text ORDER BY written_at) AS example
FROM findings
GROUP BY kind
ORDER BY kind
