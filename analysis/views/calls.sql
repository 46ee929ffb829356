-- One row per call of a model, by a run or by the outer loop. tokens and usd are of all its attempts; usd is NULL where
-- no price is known.
WITH recorded AS (
    SELECT place, run_id, written_at, unnest(from_json(record, '{
        "number": "BIGINT", "purpose": "VARCHAR", "model": "VARCHAR", "status": "VARCHAR", "tokens": "BIGINT",
        "lost_tokens": "BIGINT", "usd": "DOUBLE", "wall_seconds": "DOUBLE", "attempts": "BIGINT",
        "faults": ["VARCHAR"], "lost_usd": "DOUBLE", "reason": "VARCHAR", "request": "VARCHAR", "tokens_in": "BIGINT",
        "tokens_out": "BIGINT", "tokens_cached": "BIGINT", "finish": "VARCHAR", "text": "VARCHAR"}'))
    FROM events WHERE kind = 'call')
SELECT run_id, number, purpose, model, status, tokens, usd, wall_seconds, attempts, faults, reason, tokens_in,
    tokens_out, tokens_cached, lost_tokens, lost_usd, finish, request, text, written_at
FROM recorded
ORDER BY place
