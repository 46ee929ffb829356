-- The tries that made this change to their parent, alone (single) or with others; the model reads all experiments. $texts:
-- the value as the tries wrote it. As in edit_tries, one measurement counts once.
SELECT experiment_id, run_id, number, single, delta, status, decision, proposer FROM edits
WHERE task = $task AND delta IS NOT NULL AND lower(knob) = lower($knob) AND list_contains($texts, value_json::VARCHAR)
    AND coalesce(match_id NOT IN (SELECT match_id FROM after_search()), true)
QUALIFY row_number() OVER (PARTITION BY source_id, parent_source_id, seed ORDER BY run_id, number) = 1
ORDER BY run_id, number
