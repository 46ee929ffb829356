-- One row per proposed child program, refused ones too.
SELECT child_id, coalesce(parent_ids, []) AS parent_ids, operator, model, tokens, usd, accepted, reason,
    coalesce(evidence_ids, []) AS evidence_ids, generation, attempt, meta_program_id,
    call, repairs, written_at AS proposed_at
FROM recorded.mutation
ORDER BY place
