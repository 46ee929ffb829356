-- One row per turn of a chat researcher that led to no experiment; repeats by a resumed run are merged.
SELECT run_id, number, after, role, fate, title, reason, directive_ids, written_at
FROM recorded.turn
ORDER BY place
