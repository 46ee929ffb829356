-- The train.py that the harvest on a task ended with.
SELECT device_seconds_charged AS seconds, experiments, gain, low, high, n, trust, drift FROM harvest
WHERE task = $task AND search = 'harvest'
