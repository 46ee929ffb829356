-- The experiments that cite each directive (numbered by `cited_directives`), in no order: run, number there, source,
-- whether it failed and what it was charged.
SELECT c.id, r.run, e.number, hash(e.source_id) >> 1 AS source, e.failed, e.seconds
FROM cited AS e JOIN cited_directives AS c USING (directive_id) JOIN task_runs AS r USING (run_id)
