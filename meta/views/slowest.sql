-- The experiments that took longest by the clock, with their runs and programs.
SELECT e.wall_seconds, e.device_seconds_charged, e.status, e.description, r.name, e.experiment_id
FROM experiments AS e LEFT JOIN runs AS r USING (run_id) WHERE e.wall_seconds IS NOT NULL
ORDER BY e.wall_seconds DESC LIMIT 20
