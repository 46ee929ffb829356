-- How busy the workers were while runs were going on: wall seconds of the runs, and of the experiments inside them.
SELECT sum(wall_seconds ORDER BY run_id) AS run_wall, sum(experiment_wall_seconds ORDER BY run_id) AS experiment_wall,
    sum(cached_seconds ORDER BY run_id) AS cached_seconds, sum(overshoot ORDER BY run_id) AS overshoot,
    epoch(max(ended_at) - least(min(started_at), (SELECT min(started_at) FROM matches))) AS wall
FROM runs
