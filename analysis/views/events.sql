-- Every record of every segment, in the order in which a study reads them: oldest first, within a segment as written, even
-- where the clock was set back. record holds it whole. A torn line, which is no JSON, is left out. Only the keys are
-- sorted: place is joined to the text, which would not go into the memory.
WITH lines AS NOT MATERIALIZED (
    SELECT parse_filename(filename) AS segment, json AS record
    FROM read_ndjson_objects(getvariable('segments'), filename = true, ignore_errors = true,
        hive_partitioning = false)
    WHERE json IS NOT NULL),
places AS (
    SELECT segment, seq, row_number() OVER (ORDER BY reached, segment, seq) AS place
    FROM (SELECT segment, seq, max("at") OVER (PARTITION BY segment ORDER BY seq) AS reached
          FROM (SELECT segment, unnest(from_json(record, '{"seq": "BIGINT", "at": "TIMESTAMP"}')) FROM lines))),
parsed AS (
    SELECT segment, record, unnest(from_json(record, '{"seq": "BIGINT", "at": "TIMESTAMP", "kind": "VARCHAR",
        "run_id": "VARCHAR", "match_id": "VARCHAR", "schema": "BIGINT"}'))
    FROM lines)
SELECT place, "at" AS written_at, segment, seq, kind, run_id, match_id, "schema", record
FROM parsed JOIN places USING (segment, seq)
