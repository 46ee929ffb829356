-- The tries that made this change to their parent, alone (single) or with others; the model reads all experiments. As in
-- edit_tries, one measurement counts once.
SELECT experiment_id, run_id, number, single, delta, status, decision, proposer FROM edits
WHERE task = $task AND delta IS NOT NULL AND lower(knob) = lower($knob)
    AND (value = $value OR abs(try_cast(value AS DOUBLE) - try_cast($value AS DOUBLE))
        <= 1e-5 * abs(try_cast($value AS DOUBLE)))
    AND NOT coalesce(match_id IN (SELECT match_id FROM matches
        WHERE stream IN ('confirmation', 'reserve') AND purpose IS DISTINCT FROM 'night'), false)
QUALIFY row_number() OVER (PARTITION BY source_id, parent_source_id, seed ORDER BY run_id, number) = 1
ORDER BY run_id, number
