-- Migrates the board of an older contest, which was one JSON value, to one row per entry.
INSERT INTO board (number, arm_id, gain, above, below, "row")
SELECT r.value ->> 'number', r.value ->> 'arm_id', r.value ->> 'gain', (r.value ->> 'rank_low') - 1,
    (SELECT count(*) FROM json_each(f.value, '$.rows') AS o WHERE o.value ->> 'gain' IS NOT NULL)
        - (r.value ->> 'rank_high'), r.value
FROM facts AS f, json_each(f.value, '$.rows') AS r
WHERE f.name = 'board' AND r.value ->> 'gain' IS NOT NULL;
