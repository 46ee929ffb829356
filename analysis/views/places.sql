-- The order of the records: oldest first, within a segment as written, even where the clock was set back.
SELECT segment, seq, row_number() OVER (ORDER BY reached, segment, seq) AS place
FROM (SELECT segment, seq, max("at") OVER (PARTITION BY segment ORDER BY seq) AS reached FROM recorded.lines)
