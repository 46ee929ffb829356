-- One row per proposed child program, refused ones too.
WITH recorded AS (
    SELECT place, written_at, unnest(from_json(record, '{
        "child_id": "VARCHAR", "parent_ids": ["VARCHAR"], "operator": "VARCHAR", "model": "VARCHAR",
        "tokens": "BIGINT", "usd": "DOUBLE", "accepted": "BOOLEAN", "reason": "VARCHAR",
        "evidence_ids": ["VARCHAR"], "generation": "BIGINT", "attempt": "BIGINT",
        "meta_program_id": "VARCHAR", "call": "BIGINT", "repairs": "VARCHAR"}'))
    FROM events WHERE kind = 'mutation')
SELECT child_id, coalesce(parent_ids, []) AS parent_ids, operator, model, tokens, usd, accepted, reason,
    coalesce(evidence_ids, []) AS evidence_ids, generation, attempt, meta_program_id,
    call, repairs, written_at AS proposed_at
FROM recorded
QUALIFY row_number() OVER (PARTITION BY generation, attempt, child_id, parent_ids, operator ORDER BY place) = 1
ORDER BY place
