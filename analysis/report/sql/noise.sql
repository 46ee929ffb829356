-- Spread of the metric over training seeds of one unchanged script, by task: the untouched source on the same data.
SELECT task, sd, trainings FROM seed_noise() ORDER BY task
