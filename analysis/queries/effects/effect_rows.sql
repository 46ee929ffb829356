-- Every experiment that ran: its run (place in run_starts), its number there and that of its parent, the number of its
-- seed (each run's own where it is not known) and of its fraction (0: full), its outcome (higher is better), its gain
-- over the run's own baseline, and whether it is the first training of its source under that seed.
SELECT r.place AS run, e.number, coalesce(e.parent_number, -2147483648)::BIGINT AS parent,
    dense_rank() OVER (ORDER BY e.seed, unknown) - 1 AS seed,
    dense_rank() OVER (ORDER BY share DESC) - (max(share) OVER () = 1)::BIGINT AS short,
    dense_rank() OVER (ORDER BY e.source_id) - 1 AS source,
    CASE WHEN e.direction = 'higher' THEN e.metric ELSE -e.metric END AS outcome, e.gain,
    row_number() OVER (PARTITION BY e.source_id, share, e.seed, unknown ORDER BY e.run_id, e.number) = 1 AS is_first
FROM (SELECT *, coalesce(fraction, 1.0) AS share, CASE WHEN seed IS NULL THEN run_id END AS unknown FROM experiments) AS e
    JOIN run_starts AS r USING (run_id)
WHERE e.task = $task AND e.status = 'ok' AND e.gain IS NOT NULL AND e.config IS NOT NULL
    AND NOT coalesce(list_contains($exclude, e.match_id), false)
ORDER BY e.run_id, e.number
