-- What kept changes claimed when they were kept, a row per set of changes. noise: what keep-if-better expects the same
-- steps to show if nothing had an effect, in sd of one training: $steps holds it by how many sources had been tried in
-- full before, the baseline among them.
WITH steps AS (
    SELECT run_id, experiment_id, decision,
        count(*) FILTER (status = 'ok') OVER (PARTITION BY run_id ORDER BY number
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
    FROM experiments
    WHERE task = $task AND status <> 'fault' AND coalesce(fraction, 1.0) = 1.0
        AND coalesce(decision, '') NOT IN ('replicate', 'confirm', 'screen')
        AND NOT coalesce(list_contains($exclude, match_id), false)),
kept AS (
    SELECT e.run_id, e.experiment_id, any_value(e.delta) AS delta,
        string_agg(CASE WHEN e.kind = 'apply' THEN '+' || e.knob
            ELSE lower(e.knob) || '=' || coalesce(format('{:.6g}', try_cast(e.value AS DOUBLE)), e.value) END,
            ' ' ORDER BY e.kind DESC, e.knob) AS label
    FROM edits AS e
    WHERE e.task = $task AND e.decision = 'keep' AND e.status = 'ok' AND e.delta IS NOT NULL
        AND NOT coalesce(list_contains($exclude, e.match_id), false)
    GROUP BY e.run_id, e.experiment_id)
SELECT label, list(delta ORDER BY run_id, experiment_id) AS deltas, count(DISTINCT run_id) AS runs,
    avg($steps[greatest(1, least(before, len($steps)))] ORDER BY run_id, experiment_id) AS noise
FROM kept JOIN steps USING (run_id, experiment_id)
GROUP BY label
ORDER BY label
