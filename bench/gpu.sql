-- What bench/gpu.sh shows of its short study.
SELECT number, status, round(metric, 4) AS metric, round(device_seconds_charged, 1) AS charged,
    round(wall_seconds, 1) AS wall, round(peak_memory_mb) AS peak_mb, round(utilization, 2) AS utilization, description
FROM experiments ORDER BY run_id, number
