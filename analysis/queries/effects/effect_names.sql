-- Every knob and value that an experiment of the task held against its untouched source.
SELECT id, knob, value FROM helper.setting_names WHERE task = $task ORDER BY id
