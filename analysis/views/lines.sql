-- Every record of every segment, with the fields of experiments and decisions. A torn line, which is no JSON, is left out.
SELECT parse_filename(filename) AS segment, json AS record, unnest(from_json(json, getvariable('line')))
FROM read_ndjson_objects(getvariable('segments'), filename = true, ignore_errors = true, hive_partitioning = false)
WHERE json IS NOT NULL
