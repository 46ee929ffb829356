-- Every source that a run tried for each directive, once: a source that was screened first, or trained again, is one
-- change. Run (place in run_starts) and number of its first training that counts for the model, else of its first one.
SELECT r.place AS run, e.number, e.directive_id
FROM (SELECT *, unnest(list_distinct(directive_ids)) AS directive_id FROM experiments
      WHERE task = $task AND number > 0 AND status <> 'fault' AND NOT coalesce(list_contains($exclude, match_id), false))
    AS e JOIN run_starts AS r USING (run_id)
QUALIFY row_number() OVER (PARTITION BY e.directive_id, e.run_id, e.source_id
    ORDER BY e.status <> 'ok' OR e.gain IS NULL OR e.config IS NULL, e.number) = 1
ORDER BY e.directive_id, e.run_id, e.number
