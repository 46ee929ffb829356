-- One row per turn of a program in a night; repeats by a resumed run are merged.
SELECT run_id, number, block, program_id, first AS first_experiment, "count" AS experiments, main, kept, gain,
    device_seconds_charged
FROM recorded.night_turn
ORDER BY run_id, number
