-- The tries that made this change to their parent, alone (single) or with others; the model reads all experiments.
SELECT experiment_id, run_id, number, single, delta, status, decision, proposer FROM edits
WHERE task = $task AND delta IS NOT NULL AND lower(knob) = lower($knob)
    AND (value = $value OR abs(try_cast(value AS DOUBLE) - try_cast($value AS DOUBLE))
        <= 1e-5 * abs(try_cast($value AS DOUBLE)))
    AND match_id NOT IN (SELECT match_id FROM matches WHERE stream IN ('confirmation', 'reserve') AND purpose <> 'night')
ORDER BY run_id, number
