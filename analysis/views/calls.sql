-- One row per call of a model, by a run or by the outer loop. tokens and usd are of all its attempts; usd is NULL where
-- no price is known. A turn of a chat researcher has three numbers, of its call and of two repairs; the programs of a
-- night count their turns one after the other, in the order of the plan.
WITH night AS (SELECT coalesce(max(seats), []) AS seats FROM (
    SELECT from_json(config -> 'plan' -> 'turns', '["VARCHAR"]') AS seats FROM studies
    UNION ALL SELECT from_json(plan -> 'seats', '["VARCHAR"]') FROM recorded.ablation)),
turned AS (SELECT *, CASE WHEN run_id IS NOT NULL AND purpose IN ('turn', 'repair') THEN number // 3 END AS turn
    FROM recorded.call)
SELECT run_id, number, purpose, turn,
    CASE WHEN turn IS NOT NULL AND len(seats) > 0 THEN seats[turn % len(seats) + 1] ELSE program_id END AS program_id, model, status, tokens, usd, wall_seconds, attempts, faults, reason, tokens_in,
    tokens_out, tokens_cached, lost_tokens, lost_usd, finish, request, text, written_at
FROM turned CROSS JOIN night LEFT JOIN (SELECT run_id, any_value(program_id) AS program_id FROM run_starts GROUP BY run_id) USING (run_id)
ORDER BY place
