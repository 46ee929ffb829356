-- How many records do not come right after the one before them, by time, segment and number.
WITH placed AS (
    SELECT place, written_at, segment, seq, lag(place) OVER () AS last_place, lag(written_at) OVER () AS last_at,
        lag(segment) OVER () AS last_segment, lag(seq) OVER () AS last_seq
    FROM records)
SELECT count(*) FROM placed
WHERE written_at IS NULL OR seq IS NULL OR place <> coalesce(last_place, 0) + 1
    OR (last_place IS NOT NULL AND (written_at, segment, seq) <= (last_at, last_segment, last_seq))
