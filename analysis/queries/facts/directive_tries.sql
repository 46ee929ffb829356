-- Every source that a run on a task tried for each directive, once: a source that was screened first, or trained again, is
-- one try; one that was only trained again is none. The row is a training that failed, else the first that changed its
-- parent and counts for the model. run: its place in run_starts.
directive_tries(of_task, excluded) AS TABLE
SELECT e.*, r.place AS run
FROM (SELECT *, unnest(list_distinct(directive_ids)) AS directive_id FROM experiments
      WHERE task = of_task AND number > 0 AND status <> 'fault' AND NOT coalesce(list_contains(excluded, match_id), false))
    AS e JOIN run_starts AS r USING (run_id)
QUALIFY row_number() OVER (PARTITION BY e.directive_id, e.run_id, e.source_id
    ORDER BY e.status = 'ok', e.source_id IS NOT DISTINCT FROM e.parent_source_id, e.gain IS NULL OR e.config IS NULL,
        e.number) = 1
    AND bool_or(e.source_id IS DISTINCT FROM e.parent_source_id) OVER (PARTITION BY e.directive_id, e.run_id, e.source_id)
