-- One row per turn of a chat researcher that led to no experiment; repeats by a resumed run are merged.
WITH recorded AS (
    SELECT place, written_at, unnest(from_json(record, '{
        "run_id": "VARCHAR", "number": "BIGINT", "after": "BIGINT", "role": "VARCHAR", "fate": "VARCHAR",
        "title": "VARCHAR", "reason": "VARCHAR", "directive_ids": ["VARCHAR"]}'))
    FROM events WHERE kind = 'turn')
SELECT run_id, number, after, role, fate, title, reason, directive_ids, written_at
FROM recorded
QUALIFY row_number() OVER (PARTITION BY run_id, number, fate ORDER BY place) = 1
ORDER BY place
