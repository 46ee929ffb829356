-- Every record of every segment, oldest first; record holds it whole. A torn line reads as NULL and is left out.
WITH lines AS (
    SELECT parse_filename(filename) AS segment, json AS record
    FROM read_ndjson_objects(?, filename = true, ignore_errors = true) WHERE json IS NOT NULL),
told AS (
    SELECT segment, record, unnest(from_json(record, '{
        "seq": "BIGINT", "at": "TIMESTAMP", "schema": "BIGINT", "kind": "VARCHAR", "run_id": "VARCHAR",
        "match_id": "VARCHAR"}'))
    FROM lines)
SELECT row_number() OVER (ORDER BY "at", segment, seq) AS place, "at" AS written_at, segment, seq, kind, run_id,
    match_id, "schema", record
FROM told
ORDER BY place
