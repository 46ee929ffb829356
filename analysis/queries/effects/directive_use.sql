-- Every source that a run tried for each directive, once: a source that was screened first, or trained again, is one
-- try; one that was only trained again is none. Run (place in run_starts) and number of a training that failed, else of
-- the first that changed its parent and counts for the model.
SELECT r.place AS run, e.number, e.directive_id
FROM (SELECT *, unnest(list_distinct(directive_ids)) AS directive_id FROM experiments
      WHERE task = $task AND number > 0 AND status <> 'fault' AND NOT coalesce(list_contains($exclude, match_id), false))
    AS e JOIN run_starts AS r USING (run_id)
QUALIFY row_number() OVER (PARTITION BY e.directive_id, e.run_id, e.source_id
    ORDER BY e.status = 'ok', e.source_id IS NOT DISTINCT FROM e.parent_source_id, e.gain IS NULL OR e.config IS NULL,
        e.number) = 1
    AND bool_or(e.source_id IS DISTINCT FROM e.parent_source_id) OVER (PARTITION BY e.directive_id, e.run_id, e.source_id)
ORDER BY e.directive_id, e.run_id, e.number
