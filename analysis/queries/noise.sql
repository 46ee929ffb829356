-- SD of one training of the untouched source of this task.
SELECT any_value(sd) AS sd FROM seed_noise() WHERE task = $task
