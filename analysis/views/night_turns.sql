-- One row per turn of a program in a night; repeats by a resumed run are merged.
WITH recorded AS (
    SELECT place, unnest(from_json(record, '{
        "run_id": "VARCHAR", "number": "BIGINT", "block": "BIGINT", "program_id": "VARCHAR", "first": "BIGINT",
        "count": "BIGINT", "main": "BIGINT", "kept": "BIGINT", "gain": "DOUBLE", "device_seconds_charged": "DOUBLE"}'))
    FROM events WHERE kind = 'night_turn')
SELECT run_id, number, block, program_id, first AS first_experiment, "count" AS experiments, main, kept, gain,
    device_seconds_charged
FROM recorded
QUALIFY row_number() OVER (PARTITION BY run_id, number ORDER BY place) = 1
ORDER BY run_id, number
