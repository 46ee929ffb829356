-- Helper of the views: the lines of all segments; one that is no JSON, as a torn one, is left out.
SELECT parse_filename(filename) AS segment, json AS record
FROM read_ndjson_objects(getvariable('segments'), filename = true, ignore_errors = true)
WHERE json IS NOT NULL
